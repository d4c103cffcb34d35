"""The other ways in: Stripe's event destination on EventBridge, and Bear Billing."""

import glob
import json

from .run import customer_event, require
from .secrets import BEARBILLING, wait_until_doubted

BUS = "aws.partner/stripe.com/ed_test_1"


def eventbridge(ground):
    """An event on the partner bus goes through the rule to the queue as it is, with its envelope, and to the state."""
    event = customer_event("evt_e2e_bus", "cus_e2e_bus", 1794000600, "bus@example.test")
    ground.plant_emails(json.dumps(event))
    rule = ground.id("StripeEventRule")
    targets = ground.client("events").list_targets_by_rule(Rule=rule, EventBusName=BUS)["Targets"]
    shaping = [key for target in targets for key in target if key.startswith("Input")]
    require(not shaping, f"the target does not get the envelope: {shaping}")
    client = ground.client("events")
    other = customer_event("evt_e2e_not", "cus_e2e_not", 1794000601, "not@example.test")
    entry = {"EventBusName": BUS, "Source": "elsewhere", "DetailType": event["type"], "Detail": json.dumps(other)}
    answer = client.put_events(Entries=[entry])
    require(answer["FailedEntryCount"] == 0, f"{answer['Entries']}")
    entry = {"Source": BUS, "DetailType": event["type"], "Detail": json.dumps(event)}
    answer = client.put_partner_events(Entries=[entry])
    require(answer["FailedEntryCount"] == 0, f"{answer['Entries']}")
    ground.wait(lambda: ground.state("cus_e2e_bus") is not None, "it did not reach the state")
    ground.drain()
    require(ground.state("cus_e2e_not") is None, "the rule took what is not from Stripe")


def bearbilling(ground):
    """Bear Billing's events go the same way, under their own secret."""
    wait_until_doubted(ground, "BearBillingWebhookSecret")
    paths = sorted(glob.glob(ground.samples("bearbilling", "*.json")))
    for path in paths:
        with open(path, "rb") as file:
            event = file.read()
        ground.plant_emails(event)
        status, answer = ground.api.bearbilling(event, ground.signing[0])
        require((status, answer) == (400, {"error": "signature_mismatch"}), f"with Stripe's secret: {status} {answer}")
        status, answer = ground.api.bearbilling(event, BEARBILLING)
        require(status == 200, f"{path}: {status} {answer}")
    ground.drain()
    state = ground.state("org_5kd82mqx", "bearbilling")
    require(state is not None, "the organization is unknown")
    require(state["access"]["granted"] is False, f"access: {state['access']}")
    require(state["paid_invoices_total"] == 4900, f"paid: {state['paid_invoices_total']}")
    require("18250" in json.dumps(state), "the usage is missing")
    return f"{len(paths)} events"
