"""Signing secrets: put after the stack was made, rolled, and unreadable for a while. No genuine delivery is refused."""

import json
import os
import signal
import time

from .run import body, customer_event, require

# An environment that found no match asks for the secrets again when its last attempt is this old.
DOUBTED_SECS = 30

OLD = "whsec_e2e_old_5c6f1d"
NEW = "whsec_e2e_new_9a27b0"
BEARBILLING = "bbsec_e2e_44e0d1"
API_KEY = "rk_test_e2e_71c08b"

EARLY = body(customer_event("evt_e2e_early", "cus_e2e_early", 1794000000, "early@example.test"))


def put(ground, logical, value):
    """Puts a secret's value, as an operator does."""
    ground.planted.update([OLD, NEW, BEARBILLING, API_KEY])
    text = value if isinstance(value, str) else json.dumps({"secrets": value})
    ground.client("secretsmanager").put_secret_value(SecretId=ground.id(logical), SecretString=text)


def missing(ground):
    """Without a secret the route says that the event is fine and the stack is not."""
    status, answer = ground.api.stripe(EARLY, [OLD])
    require((status, answer) == (500, {"error": "config_error"}), f"without a secret: {status} {answer}")
    status, answer = ground.api.bearbilling(b"{}", BEARBILLING)
    require((status, answer) == (400, {"error": "signature_mismatch"}), f"with a secret nobody knows: {status} {answer}")
    require(ground.depth("EventsQueue") == 0, "something was enqueued")


def arrives(ground):
    """A secret that is put is used by the environments that run, which look again after some seconds."""
    put(ground, "StripeWebhookSecret", [OLD])
    put(ground, "BearBillingWebhookSecret", BEARBILLING)
    put(ground, "StripeApiKeySecret", API_KEY)
    ground.plant_emails(EARLY)
    seen = []

    def taken():
        seen.append(ground.api.stripe(EARLY, [OLD]))
        return seen[-1][0] == 200

    ground.wait(taken, lambda: f"still {seen[-1]}")
    ground.signing = [OLD]
    ground.drain()
    require(ground.state("cus_e2e_early") is not None, "the event did not reach the state")
    return f"after {len(seen) - 1} answers of {sorted({status for status, _ in seen[:-1]})}"


def roll_begins(ground):
    """Stripe signs with both secrets; the environments know the old one, and both are put."""
    ground.deliver(customer_event("evt_e2e_roll_1", "cus_e2e_roll", 1794000001, "roll@example.test"))
    ground.signing = [NEW, OLD]
    ground.deliver(customer_event("evt_e2e_roll_2", "cus_e2e_roll", 1794000002, "roll@example.test"))
    put(ground, "StripeWebhookSecret", [NEW, OLD])
    ground.deliver(customer_event("evt_e2e_roll_3", "cus_e2e_roll", 1794000003, "roll@example.test"))


def roll_turns(ground):
    """Stripe signs with the new secret alone, which environments that know only the old one have to ask for."""
    wait_until_doubted(ground, "StripeWebhookSecret")
    asked = len(_reads(ground, "StripeWebhookSecret"))
    ground.signing = [NEW]
    for number in range(4):
        ground.deliver(customer_event(f"evt_e2e_turn_{number}", "cus_e2e_roll", 1794000010 + number, "roll@example.test"))
    require(len(_reads(ground, "StripeWebhookSecret")) > asked, "nobody asked, so everybody knew the new one already")
    return f"{len(ground.genuine)} genuine deliveries so far, none refused"


def outage(ground):
    """Secrets Manager answers nothing: the environments that run go on, and forgeries stay forgeries."""
    wait_until_doubted(ground, "StripeWebhookSecret")
    with ground.proxies["webhook"].failing("secretsmanager", "InternalServiceError", 500) as seen:
        for number in range(3):
            status, answer = ground.api.stripe(b'{"id":"evt_forged"}', ["whsec_forged"])
            require((status, answer) == (400, {"error": "signature_mismatch"}), f"a forgery: {status} {answer}")
            ground.deliver(customer_event(f"evt_e2e_out_{number}", "cus_e2e_roll", 1794000020 + number, "roll@example.test"))
        require(seen, "nobody asked Secrets Manager, so the outage showed nothing")
    ground.signing = [OLD]
    ground.deliver(customer_event("evt_e2e_late", "cus_e2e_roll", 1794000029, "roll@example.test"))
    ground.signing = [NEW]
    return f"{len(seen)} attempts failed"


def old_one_is_dropped(ground):
    """With the old secret out of the list, a new environment refuses what is signed with it."""
    put(ground, "StripeWebhookSecret", [NEW])
    for pid in ground.emulator.function_processes(ground.id("WebhookFunction")):
        os.kill(pid, signal.SIGKILL)
    event = body(customer_event("evt_e2e_old", "cus_e2e_old", 1794000030, "old@example.test"))
    answers = []

    def refused():
        answers.append(ground.api.stripe(event, [OLD]))
        return answers[-1] == (400, {"error": "signature_mismatch"})

    # Who was killed may take one delivery with it.
    ground.wait(refused, lambda: f"still {answers[-1]}")
    ground.deliver(customer_event("evt_e2e_new", "cus_e2e_roll", 1794000031, "roll@example.test"))


def wait_until_doubted(ground, logical):
    """Waits until every environment's last look at a secret is so old that a mismatch makes it look again."""
    # By its own deadline: this wait is meant to be so long.
    deadline = time.monotonic() + 3 * DOUBTED_SECS
    while time.time() - max(_reads(ground, logical), default=0) <= DOUBTED_SECS + 1:
        require(time.monotonic() < deadline, "somebody keeps asking for the secrets")
        time.sleep(0.2)


def _reads(ground, logical):
    """When the webhook asked for a secret."""
    calls = ground.proxies["webhook"].calls("secretsmanager:GetSecretValue")
    return [call.at for call in calls if ground.id(logical) in call.resource]
