"""The ground that scenarios stand on, and how they are counted.

Knows the stack's resources by their names in the template; not what a scenario shows.
"""

import json
import os
import time

from .deliveries import Api, show

# Machines are slow and noisy: a deadline ends what would never end, and judges no speed.
PATIENCE_SECS = 120
# Where several scenarios failed, the others fail sooner.
HOPELESS = 3
HOPELESS_SECS = 20
TAIL_LINES = 12


class Failed(Exception):
    """Something does not hold; the text says what."""


def require(holds, reason):
    """Fails with this reason where something does not hold."""
    if not holds:
        raise Failed(reason)


class Counter:
    """Runs scenarios one after the other, prints a line for each, and counts."""

    def __init__(self):
        self.started = time.monotonic()
        self.passed = 0
        self.failed = []

    def run(self, name, scenario, ground):
        """Runs one."""
        mark = time.time()
        began = time.monotonic()
        try:
            note = scenario(ground)
        except Exception as error:  # Whatever it is, the others still have something to say.
            reason = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            self.failed.append(name)
            self._print("FAIL", name, began, reason)
            ground.print_logs_since(mark)
            if len(self.failed) >= HOPELESS:
                ground.patience = HOPELESS_SECS
        else:
            self.passed += 1
            self._print("PASS", name, began, note)

    def skip(self, name, reason):
        """Notes one that cannot be run."""
        print(f"SKIPPED: {name}: {reason}", flush=True)
        if os.environ.get("BILLHOOK_REQUIRE_ALL") == "1":
            self.failed.append(name)

    def _print(self, verdict, name, began, note):
        now = time.monotonic()
        note = f": {note}" if note else ""
        print(f"{verdict} {now - self.started:5.1f} s (+{now - began:.1f}) {name}{note}", flush=True)


class Ground:
    """A running stack and everything around it."""

    def __init__(self, root, program, emulator, proxies, stripe, stack, source):
        self.root = root
        self.program = program
        self.emulator = emulator
        self.proxies = proxies
        self.stripe_api = stripe
        self.stack = stack
        self.source = source
        self.clients = {}
        # What was planted in payloads, secrets and signatures, and must not come out in a log.
        self.planted = set()
        # Of every genuine delivery: when, its name, and the status of the answer.
        self.genuine = []
        # The secrets that Stripe signs with now.
        self.signing = []
        self.patience = PATIENCE_SECS
        # What the emulator could not show.
        self.gaps = set()

    # ---- what there is

    def client(self, service):
        """A client of a service, of the harness's own."""
        if service not in self.clients:
            self.clients[service] = self.emulator.client(service)
        return self.clients[service]

    @property
    def api(self):
        """The stack's API."""
        return Api(self.emulator.port, self.stack.ids["Api"])

    def id(self, logical):
        """The physical id of a resource; of a table that the stack is given, its name."""
        return self.stack.ids.get(logical) or self.stack.values[f"Existing{logical}"]

    def has(self, logical):
        """Whether the stack has a resource."""
        return logical in self.stack.ids

    def samples(self, *path):
        """The path of a sample."""
        return os.path.join(self.root, "events", *path)

    # ---- what senders do

    def deliver(self, *events):
        """Delivers genuine events of Stripe's, all of which must be taken."""
        bodies = [body(event) for event in events]
        for event in bodies:
            self.plant_emails(event)
        answers = self.api.stripe_all(bodies, self.signing)
        now = time.time()
        self.genuine += [(now, status) for status, _ in answers]
        refused = [answer for answer in answers if answer[0] != 200]
        require(not refused, f"{len(refused)} of {len(answers)} genuine deliveries were refused, with {refused[:1]}")

    def plant_emails(self, raw):
        """Notes every e-mail address in a body."""
        def walk(value):
            if isinstance(value, dict):
                for item in value.values():
                    walk(item)
            elif isinstance(value, list):
                for item in value:
                    walk(item)
            elif isinstance(value, str) and "@" in value and " " not in value:
                self.planted.add(value)

        try:
            walk(json.loads(raw))
        except ValueError:
            pass

    # ---- what there is to see

    def depth(self, queue):
        """How many messages a queue holds, received ones included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client("sqs").get_queue_attributes(QueueUrl=self.id(queue), AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def drain(self):
        """Waits until the queue is empty."""
        self.wait(lambda: self.depth("EventsQueue") == 0, lambda: f"the queue still holds {self.depth('EventsQueue')}")

    def wait(self, holds, reason):
        """Waits until something holds."""
        deadline = time.monotonic() + self.patience
        pause = 0.05
        while not holds():
            if time.monotonic() > deadline:
                raise Failed(f"{reason() if callable(reason) else reason} after {self.patience} s")
            time.sleep(pause)
            pause = min(pause * 1.3, 0.5)

    def state(self, customer, source="stripe", at=None):
        """A customer's state."""
        return show(self.program, self.emulator.endpoint, self.id("BillingTable"), customer, source, at)

    def items(self, table):
        """All items of a table, by their keys."""
        pages = self.client("dynamodb").get_paginator("scan").paginate(TableName=self.id(table))
        return {(item["pk"]["S"], item["sk"]["S"]): item for page in pages for item in page["Items"]}

    def parked(self, source="stripe"):
        """The parked events of a source, through the index."""
        pages = self.client("dynamodb").get_paginator("query").paginate(
            TableName=self.id("EventsTable"),
            IndexName="parked",
            KeyConditionExpression="parked = :partition",
            ExpressionAttributeValues={":partition": {"S": f"{source}#test"}},
        )
        return [item for page in pages for item in page["Items"]]

    def set_visibility(self, seconds):
        """Sets how soon an unfinished message comes again. The template's 90 seconds are too long to wait for."""
        self.client("sqs").set_queue_attributes(
            QueueUrl=self.id("EventsQueue"), Attributes={"VisibilityTimeout": str(seconds)}
        )

    def log_lines(self, group, since=0):
        """What the functions wrote to a log group, without what the platform writes around it."""
        pages = self.client("logs").get_paginator("filter_log_events").paginate(
            logGroupName=self.id(group), startTime=int(since * 1000)
        )
        lines = [event["message"] for page in pages for event in page["events"]]
        return [line for line in lines if not line.startswith(("START ", "END ", "REPORT "))]

    def print_logs_since(self, since):
        """Prints the ends of the functions' logs, for what failed."""
        for group in ("WebhookLogGroup", "ConsumerLogGroup", "AccessLogGroup"):
            if not self.has(group):
                continue
            try:
                lines = self.log_lines(group, since - 1)
            except Exception as error:
                lines = [f"no log: {error}"]
            for line in lines[-TAIL_LINES:]:
                print(f"    {group}: {line[:300]}")
        print(f"    ministack's log: {self.emulator.log_path}", flush=True)


def body(event):
    """The bytes of an event: those it has, or its JSON."""
    return event if isinstance(event, bytes) else json.dumps(event, separators=(",", ":")).encode()


def subscription_event(name, customer, second, status="active", before=None, kind="customer.subscription.updated"):
    """An event of a made-up subscription. `before` is the status that it had."""
    data = {
        "object": {
            "id": f"sub_{customer.removeprefix('cus_')}",
            "object": "subscription",
            "customer": customer,
            "status": status,
            "livemode": False,
            "created": second,
            "cancel_at_period_end": False,
            "items": {"object": "list", "data": []},
            "metadata": {},
        }
    }
    if before is not None:
        data["previous_attributes"] = {"status": before}
    return _event(name, kind, second, data)


def customer_event(name, customer, second, email, **more):
    """An event that makes a customer."""
    data = {"object": {"id": customer, "object": "customer", "email": email, "created": second, "livemode": False, **more}}
    return _event(name, "customer.created", second, data)


def _event(name, kind, second, data):
    return {
        "id": name,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": second,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
        "data": data,
    }
