"""Events: lives in any order end in the right state, and nothing forged, unusable or repeated changes it."""

import glob
import json
import random
import time

from .deliveries import STRIPE, differences, stripe_signature
from .run import body, customer_event, require, subscription_event
from .secrets import API_KEY

SEED = 20261124
SOME = 0.25

# Where Stripe's API has the objects that lives are made of.
COLLECTIONS = {
    "charge": "charges",
    "checkout.session": "checkout/sessions",
    "credit_note": "credit_notes",
    "customer": "customers",
    "dispute": "disputes",
    "invoice": "invoices",
    "payment_intent": "payment_intents",
    "refund": "refunds",
    "subscription": "subscriptions",
}

# Ada's last period ends after this.
ADA_AT = 1795000000

MARK = "planted_payload_3f90"


def lives(ground):
    """Ten lives, all mixed, some events twice, over a few connections: each ends in the state of its true order."""
    expected, deliveries = {}, []
    for path in sorted(glob.glob(ground.samples("lives", "*.jsonl"))):
        with open(path, "rb") as file:
            lines = [line.rstrip(b"\n") for line in file if line.strip()]
        with open(path.removesuffix(".jsonl") + ".expected.json", encoding="utf-8") as file:
            want = json.load(file)
        expected.update(want["customers"] if "customers" in want else {want["customer"]: want})
        deliveries += lines
        for line in lines:
            # Asked meanwhile, Stripe would show the end.
            thing = json.loads(line)["data"]["object"]
            if thing.get("object") in COLLECTIONS and "id" in thing:
                ground.stripe_api.objects[f"/v1/{COLLECTIONS[thing['object']]}/{thing['id']}"] = thing
    rng = random.Random(SEED)
    doubled = [line for line in deliveries if rng.random() < SOME]
    deliveries += doubled
    rng.shuffle(deliveries)
    ground.deliver(*deliveries)
    ground.drain()
    check_lives(ground, expected)
    ground.expected_lives = expected
    return f"{len(expected)} customers, {len(deliveries)} deliveries, {len(doubled)} of them doubles"


def check_lives(ground, expected):
    """Compares the states of customers with what they must be."""
    found = []
    for customer, want in expected.items():
        got = ground.state(customer, at=ADA_AT if want.get("customer") else None)
        found += [f"{customer} is unknown"] if got is None else [f"{customer}{it}" for it in differences(want, got)]
    require(not found, f"{len(found)} differences: {found[:4]}")


def refusals(ground):
    """What was not signed, or not now, is refused, and so are other paths and methods; nothing is enqueued."""
    event = body(customer_event("evt_e2e_forged", "cus_e2e_forged", 1794000100, "forged@example.test"))
    api, secrets = ground.api, ground.signing
    sent = len(ground.proxies["webhook"].calls("sqs:SendMessage"))
    now = time.time()
    answers = {
        "forged": (api.stripe(event, ["whsec_nobody"]), 400, "signature_mismatch"),
        "changed": (
            api.request("POST", STRIPE, event + b" ", {"Stripe-Signature": stripe_signature(event, secrets)}),
            400,
            "signature_mismatch",
        ),
        "unsigned": (api.request("POST", STRIPE, event), 400, "missing_header"),
        "stale": (api.stripe(event, secrets, now - 3600), 400, "timestamp_too_old"),
        "from the future": (api.stripe(event, secrets, now + 3600), 400, "timestamp_in_future"),
        "too large": (api.stripe(b" " * (256 * 1024 + 1), secrets), 413, None),
    }
    for name, ((status, answer), wanted, error) in answers.items():
        require(status == wanted, f"{name}: {status} {answer}")
        require(error is None or answer == {"error": error}, f"{name}: {answer}")
    status, _ = api.request("GET", STRIPE)
    require(status in (404, 405), f"GET: {status}")
    status, _ = api.request("POST", "/elsewhere", event)
    require(status == 404, f"another path: {status}")
    require(len(ground.proxies["webhook"].calls("sqs:SendMessage")) == sent, "something was enqueued")
    require(ground.state("cus_e2e_forged") is None, "a refused event reached the state")


def poison(ground):
    """What is signed but is no event is taken, and waits in the ledger with a reason; the dead letters stay empty."""
    before = len(ground.parked())
    ground.planted.add(MARK)
    status, answer = ground.api.stripe(f"this is {MARK}, not JSON".encode(), ground.signing)
    require((status, answer) == (200, {"received": True, "id": None}), f"{status} {answer}")
    ground.wait(lambda: len(ground.parked()) == before + 1, lambda: f"{len(ground.parked())} are parked")
    item = max(ground.parked(), key=lambda item: int(item["received"]["N"]))
    require(item.get("reason", {}).get("S"), f"no reason: {sorted(item)}")
    ground.drain()
    require(ground.depth("DeadLetterQueue") == 0, "there are dead letters")
    return item["reason"]["S"]


def duplicates(ground):
    """Delivered again after the end, and the same message twice in the queue: nothing changes."""
    with open(ground.samples("lives", "ada.jsonl"), "rb") as file:
        lines = [line.strip() for line in file if line.strip()]
    before = ground.items("BillingTable"), ground.items("EventsTable")
    ground.deliver(*lines[:6])
    again = customer_event("evt_e2e_twice", "cus_e2e_twice", 1794000200, "twice@example.test")
    ground.deliver(again)
    ground.drain()
    state = ground.state("cus_e2e_twice")
    ground.deliver(again, again)
    ground.drain()
    require(ground.state("cus_e2e_twice") == state, "the state changed")
    after = ground.items("BillingTable"), ground.items("EventsTable")
    for old, new in zip(before, after):
        changed = [key for key, item in old.items() if new.get(key) != item]
        require(not changed, f"{len(changed)} items changed: {changed[:3]}")
        others = [key for key in new.keys() - old.keys() if "twice" not in str(key) + str(new[key])]
        require(not others, f"there are new items: {others[:3]}")


def forged_metrics(ground):
    """Texts in an event that look like a line of metrics stay texts. `logs` looks for them."""
    line = json.dumps({"_aws": {"Timestamp": 1, "CloudWatchMetrics": [{"Namespace": "forged", "Metrics": []}]}})
    for number, text in enumerate((line, "x\n" + line + "\n")):
        event = customer_event(f"evt_{text}", "cus_e2e_emf", 1794000300 + number, "emf@example.test")
        event["type"] = text
        ground.deliver(event)
        event = customer_event(f"evt_e2e_emf_{number}", f"cus_{text}", 1794000300 + number, "emf@example.test")
        ground.deliver(event)
    ground.drain()


def other_mode(ground):
    """An event of live mode changes nothing in a stack of test mode."""
    event = customer_event("evt_e2e_live", "cus_e2e_live", 1794000400, "live@example.test")
    event["livemode"] = True
    ground.deliver(event)
    ground.drain()
    items = [key for key in ground.items("BillingTable") if "cus_e2e_live" in str(key)]
    require(not items, f"it changed the state: {items}")


def refetch(ground):
    """What the events of a second leave open is read from Stripe, with the key of the secret."""
    second = 1794000500
    ground.stripe_api.objects["/v1/subscriptions/sub_e2e_tie"] = subscription_event(
        "evt", "cus_e2e_tie", second, "past_due"
    )["data"]["object"]
    # Of this one Stripe shows nothing that can be read, so it stays open and is counted.
    ground.stripe_api.objects["/v1/subscriptions/sub_e2e_open"] = {"id": "sub_e2e_open"}
    for customer in ("cus_e2e_tie", "cus_e2e_open"):
        ground.deliver(
            subscription_event(f"evt_{customer}_1", customer, second, "past_due", "active"),
            subscription_event(f"evt_{customer}_2", customer, second, "active", "past_due"),
        )
    ground.drain()
    asked = [key for key, path in ground.stripe_api.asked if path == "/v1/subscriptions/sub_e2e_tie"]
    require(asked, "Stripe was not asked")
    require(set(asked) == {API_KEY}, "with another key than the secret's")
    found = ground.state("cus_e2e_tie")["subscriptions"]["sub_e2e_tie"]
    require(found["status"] == "past_due", f"the state is {found['status']}")
    require(not found.get("needs_refetch"), "it is still marked")
    found = ground.state("cus_e2e_open")["subscriptions"]["sub_e2e_open"]
    require(found.get("needs_refetch"), "what Stripe does not tell is not marked")
