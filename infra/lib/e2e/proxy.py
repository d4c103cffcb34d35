"""A proxy between one function and AWS: notes what the function calls, and lets calls fail or wait.

Knows how AWS's protocols name an operation and a resource; not which of them a function should use.
"""

import contextlib
import http.client
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}

# The IAM prefix where it is not the name that requests are signed for.
PREFIXES = {"monitoring": "cloudwatch"}

# What the parts of a DynamoDB transaction are to IAM.
TRANSACTION_PARTS = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
    "Get": "dynamodb:GetItem",
}


class Call:
    """A call as IAM would see it: an action, and the name of what it is on."""

    def __init__(self, action, resource, at):
        self.action = action
        self.resource = resource
        self.at = at

    def __repr__(self):
        return f"{self.action} on {self.resource}"


class Proxy:
    """A running proxy on 127.0.0.1."""

    def __init__(self, name, upstream_port=None):
        self.name = name
        self.upstream_port = upstream_port
        self._calls = []
        self._lock = threading.Lock()
        self._faults = []
        self._holds = []
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()

    def stop(self):
        """Stops taking calls."""
        self._server.shutdown()
        self._server.server_close()

    def calls(self, action=None):
        """All calls so far, or those of one action."""
        with self._lock:
            return [call for call in self._calls if action is None or call.action == action]

    def note(self, calls):
        """Notes calls."""
        with self._lock:
            self._calls.extend(calls)

    @contextlib.contextmanager
    def failing(self, service, code, status=400):
        """Has every call to a service fail with this error for a while. Yields how often that happened, as a list."""
        fault = (service, code, status, [])
        with self._lock:
            self._faults.append(fault)
        try:
            yield fault[3]
        finally:
            with self._lock:
                self._faults.remove(fault)

    @contextlib.contextmanager
    def holding(self, action, resource):
        """Holds the calls of an action on a resource back for a while. Yields an event that is set once there is one."""
        hold = ((action, resource), threading.Event(), threading.Event())
        with self._lock:
            self._holds.append(hold)
        try:
            yield hold[1]
        finally:
            with self._lock:
                self._holds.remove(hold)
            hold[2].set()

    def fault_for(self, actions):
        """The error that a call with these actions has to get now, if any."""
        with self._lock:
            for service, code, status, seen in self._faults:
                if any(action.split(":")[0] == service for action in actions):
                    seen.append(code)
                    return code, status
        return None

    def wait_where_held(self, calls):
        """Waits as long as one of these calls is held back."""
        held = {(call.action, call.resource) for call in calls}
        with self._lock:
            holds = [hold for hold in self._holds if hold[0] in held]
        for _, reached, released in holds:
            reached.set()
            released.wait(timeout=120)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Says nothing of a function that is gone: some are killed on purpose."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Takes one connection's requests, over a connection of its own to AWS."""

    protocol_version = "HTTP/1.1"
    # Answers are small and written in two parts: without this each would wait for the other side's acknowledgement.
    disable_nagle_algorithm = True
    owner = None
    upstream = None

    def log_message(self, *_):
        """Says nothing."""

    def do_POST(self):
        """Takes a call."""
        body = self._body()
        calls = _calls(self.headers, self.path, body)
        self.owner.note(calls)
        names = {call.action for call in calls}
        self.owner.wait_where_held(calls)
        fault = self.owner.fault_for(names)
        if fault:
            code, status = fault
            self._answer(status, [], json.dumps({"__type": code, "message": "made to fail"}).encode())
            return
        status, headers, answer = self._forward(body)
        if names == {"secretsmanager:GetSecretValue"} and _is_empty_secret(answer):
            # Before a value is put, AWS answers so; the emulator makes an empty one.
            status, headers = 400, []
            answer = json.dumps({"__type": "ResourceNotFoundException", "Message": "no value AWSCURRENT"}).encode()
        self._answer(status, headers, answer)

    def do_GET(self):
        """Answers what opens a connection, by which nothing is called."""
        if self.headers.get("Authorization"):
            self.do_POST()
        else:
            self._answer(200, [], b"")

    def _body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _forward(self, body):
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_HEADERS}
        headers["Host"] = f"127.0.0.1:{self.owner.upstream_port}"
        for attempt in (1, 2):
            if self.upstream is None:
                self.upstream = http.client.HTTPConnection("127.0.0.1", self.owner.upstream_port, timeout=60)
            try:
                self.upstream.request(self.command, self.path, body, headers)
                response = self.upstream.getresponse()
                answer = response.read()
                return response.status, response.getheaders(), answer
            except (http.client.RemoteDisconnected, ConnectionError, http.client.CannotSendRequest):
                # An idle connection may have been closed; anything else shows again on a new one.
                self.upstream.close()
                self.upstream = None
                if attempt == 2:
                    raise

    def _answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)


def _calls(headers, path, body):
    """What a request calls, as IAM would see it."""
    now = time.time()
    signed_for = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", headers.get("Authorization", ""))
    service = PREFIXES.get(signed_for.group(1), signed_for.group(1)) if signed_for else "unsigned"
    target = headers.get("X-Amz-Target", "")
    if not target:
        return [Call(f"{service}:{path}", None, now)]
    operation = target.rsplit(".", 1)[-1]
    request = json.loads(body or b"{}")
    if operation in ("TransactWriteItems", "TransactGetItems"):
        parts = [(kind, part) for item in request["TransactItems"] for kind, part in item.items()]
        return [Call(TRANSACTION_PARTS[kind], part["TableName"], now) for kind, part in parts]
    if operation in ("BatchGetItem", "BatchWriteItem"):
        return [Call(f"dynamodb:{operation}", table, now) for table in request["RequestItems"]]
    if operation == "PutEvents":
        buses = {entry.get("EventBusName", "default") for entry in request["Entries"]}
        return [Call("events:PutEvents", bus, now) for bus in sorted(buses)]
    if operation == "SendMessageBatch":
        operation = "SendMessage"
    return [Call(f"{service}:{operation}", _resource(request), now)]


def _resource(request):
    if "IndexName" in request:
        return f"{request['TableName']}/index/{request['IndexName']}"
    name = request.get("TableName") or request.get("SecretId") or request.get("QueueUrl")
    return name.rsplit("/", 1)[-1] if name else None


def _is_empty_secret(answer):
    try:
        return json.loads(answer).get("SecretString") == ""
    except ValueError:
        return False
