"""Access events: the product is told of each real change of a customer's access, and of nothing else.

Knows the form of an event on the bus; what gives access it takes from `billhook show`. The emulator plays the mapping of
the stream, its filter included; that a part of a batch is reported as failed it does not understand.
"""

import json

from .run import customer_event, require, subscription_event

QUEUE = "billhook-e2e-access-events"
SOURCE = "billhook"

GRANTED, REVOKED = "Access Granted", "Access Revoked"

# What a product can rely on in an event's detail.
MEMBERS = {
    "version", "customer", "source", "livemode", "account", "granted", "reason", "until", "subscription", "previous",
    "sequence", "changed_at",
}


class Listener:
    """A product's own queue on the bus."""

    def __init__(self, ground):
        sqs, events = ground.client("sqs"), ground.client("events")
        self.ground = ground
        self.queue = sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.put_rule(Name=QUEUE, EventPattern=json.dumps({"source": [SOURCE]}))
        events.put_targets(Rule=QUEUE, Targets=[{"Id": "queue", "Arn": arn}])
        self.told = []

    def receive(self):
        """Takes what came and returns all so far, each once, in its order."""
        sqs = self.ground.client("sqs")
        known = {event["id"] for event in self.told}
        while messages := sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                event = json.loads(message["Body"])
                if event["id"] not in known:
                    known.add(event["id"])
                    self.told.append(event)
                sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return self.told

    def about(self, customer):
        """The events about a customer."""
        return [event for event in self.receive() if event["detail"]["customer"] == customer]


def listen(ground):
    """Has a queue of the harness's own take what is put on the bus."""
    ground.listener = Listener(ground)


def told(ground):
    """A customer is created, subscribes, changes, comes twice, leaves and returns: three events."""
    customer, second = "cus_e2e_acc", 1794001500
    created = subscription_event("evt_e2e_acc_1", customer, second + 1, "active", kind="customer.subscription.created")
    steps = [
        customer_event("evt_e2e_acc_0", customer, second, "acc@example.test"),
        created,
        subscription_event("evt_e2e_acc_2", customer, second + 2, "active"),
        created,
        subscription_event("evt_e2e_acc_3", customer, second + 3, "canceled", "active", "customer.subscription.deleted"),
        subscription_event("evt_e2e_acc_4", customer, second + 4, "active", "canceled"),
    ]
    for step in steps:
        ground.deliver(step)
        ground.drain()
        pass_by(ground, step["id"])
    told_of = ground.listener.about(customer)
    kinds = [event["detail-type"] for event in told_of]
    require(kinds == [GRANTED, REVOKED, GRANTED], f"told were {kinds}")
    details = [event["detail"] for event in told_of]
    missing = [sorted(MEMBERS - detail.keys()) for detail in details if MEMBERS - detail.keys()]
    require(not missing, f"members are missing: {missing}")
    granted = [(detail["granted"], detail["sequence"]) for detail in details]
    require(granted == [(True, 1), (False, 2), (True, 3)], f"granted and sequence are {granted}")
    require(details[0]["previous"] is None and details[1]["previous"]["granted"] is True, "previous is something else")


def pass_by(ground, name):
    """Waits until the stream was read up to now: until a customer who comes now is told of."""
    customer = f"cus_after_{name}"
    ground.deliver(
        subscription_event(f"evt_after_{name}", customer, 1794001600, "active", kind="customer.subscription.created")
    )
    ground.wait(lambda: ground.listener.about(customer), f"{customer} is not told of")


def agree(ground):
    """What was told last of each customer of the lives is what the state says; granted and revoked take turns."""
    wrong = []
    for customer in ground.expected_lives:
        events = ground.listener.about(customer)
        turns = [event["detail-type"] for event in events if event["detail-type"] in (GRANTED, REVOKED)]
        if any(left == right for left, right in zip(turns, turns[1:])):
            wrong.append(f"{customer}: {turns}")
        granted = ground.state(customer)["access"]["granted"]
        if granted != (turns[-1:] == [GRANTED]):
            wrong.append(f"{customer}: access is {granted}, told last was {turns[-1:]}")
    require(not wrong, "; ".join(wrong))
    return f"{len(ground.listener.told)} events in all"
