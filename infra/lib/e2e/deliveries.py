"""What senders do: signed requests to the stack's API; and what a reader sees: a customer's state.

Knows both signature schemes and the stack's paths; not what becomes of an event.
"""

import concurrent.futures
import hashlib
import hmac
import http.client
import json
import os
import subprocess
import time

from .emulator import CREDENTIALS

STRIPE = "/webhooks/stripe"
BEARBILLING = "/webhooks/bearbilling"

# ministack's runtime interface looks for work ten times a second, so a few connections share what one would wait for.
CONNECTIONS = 4


class Api:
    """The stack's HTTP API."""

    def __init__(self, port, api_id):
        self.port = port
        self.prefix = f"/_aws/execute-api/{api_id}/$default"

    def request(self, method, path, body=b"", headers=None):
        """Sends a request and returns the status and the answer, read as JSON where it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, self.prefix + path, body, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        try:
            return response.status, json.loads(answer)
        except ValueError:
            return response.status, answer.decode(errors="replace")

    def stripe(self, body, secrets, at=None):
        """Delivers an event the way Stripe does: with a signature by each of its live secrets."""
        return self.request("POST", STRIPE, body, {"Stripe-Signature": stripe_signature(body, secrets, at)})

    def bearbilling(self, body, secret):
        """Delivers an event the way Bear Billing does."""
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return self.request("POST", BEARBILLING, body, {"X-BearBilling-Signature": signature})

    def stripe_all(self, bodies, secrets):
        """Delivers many, a few at a time. Returns their answers in order."""
        with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
            return list(pool.map(lambda body: self.stripe(body, secrets), bodies))


def stripe_signature(body, secrets, at=None):
    """The header `Stripe-Signature`."""
    time_text = str(int(time.time() if at is None else at))
    signed = time_text.encode() + b"." + body
    parts = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={time_text}", *(f"v1={part}" for part in parts)])


def show(program, endpoint, table, customer, source="stripe", at=None):
    """A customer's state as `billhook show` gives it; none where nothing is known."""
    command = [program, "show", customer, "--table", table, "--json", "--source", source]
    if at is not None:
        command += ["--at", str(at)]
    environment = {
        **CREDENTIALS,
        "AWS_REGION": CREDENTIALS["AWS_DEFAULT_REGION"],
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": endpoint,
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode == 1:
        return None
    if done.returncode != 0:
        raise RuntimeError(f"billhook show: {done.stderr.strip()}")
    return json.loads(done.stdout)


def differences(want, got, path=""):
    """Where a state is not the one that is wanted. What nobody asked for may be there, except for further objects."""
    if isinstance(want, dict) and isinstance(got, dict):
        for key, value in want.items():
            if key in got:
                yield from differences(value, got[key], f"{path}.{key}")
            elif value not in (None, {}, [], False, 0):
                yield f"{path}.{key} is missing"
        if path.rsplit(".", 1)[-1] in ("subscriptions", "invoices", "charges", "refunds", "disputes"):
            yield from (f"{path}.{key} should not be there" for key in sorted(got.keys() - want.keys()))
    elif isinstance(want, list) and isinstance(got, list) and path.endswith(".items"):
        want, got = (sorted(items, key=lambda item: str(item.get("price"))) for items in (want, got))
        if len(want) != len(got):
            yield f"{path} has {len(got)} entries, wanted {len(want)}"
        for number, (left, right) in enumerate(zip(want, got)):
            yield from differences(left, right, f"{path}[{number}]")
    elif isinstance(want, list) and isinstance(got, list):
        if sorted(map(json.dumps, want)) != sorted(map(json.dumps, got)):
            yield f"{path} is {json.dumps(got)[:80]}, wanted {json.dumps(want)[:80]}"
    elif want != got:
        yield f"{path} is {json.dumps(got)[:80]}, wanted {json.dumps(want)[:80]}"
