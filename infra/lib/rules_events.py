"""Rules about EventBridge: the second way of events to the queue."""

from graph import dead_letter_queues, is_ours, main_queues
from model import items, mapping, number
from rules import rule
from rules_mappings import matches

# Where the consumer looks for an event of Stripe's event destination, see crates/core/src/envelope.rs.
SOURCE = "aws.partner/stripe.com/ed_test_1"
TYPES = ("invoice.paid", "customer.subscription.updated", "charge.dispute.created")


@rule("rules hand every event of Stripe's to the queue, as it is")
def whole(stack):
    for rule_ in stack.of("Events::Rule"):
        queues = [stack.by("SQS::Queue", mapping(item).get("Arn"), "arn") for item in items(rule_.get("Targets"))]
        if rule_.get("State") not in (None, "ENABLED"):
            yield rule_.id, f"State is {rule_.get('State')}: nothing is delivered"
        if not items(rule_.get("Targets")):
            yield rule_.id, "has no targets"
        if not isinstance(rule_.get("EventPattern"), dict) and not rule_.get("ScheduleExpression"):
            yield rule_.id, "has no EventPattern"
        if not is_ours(stack):
            continue
        for queue in queues:
            if queue not in main_queues(stack):
                yield rule_.id, (
                    f"sends to {queue.id if queue else 'what is no queue of this template'}, not to the queue that"
                    " the consumer reads"
                )
        if rule_.bus == "default":
            yield rule_.id, "listens on the default bus; a partner's events come on its own"
        for kind in TYPES:
            event = {
                "version": "0",
                "account": "111122223333",
                "source": SOURCE,
                "detail-type": kind,
                "detail": {"id": "evt_1", "type": kind, "livemode": True},
            }
            if not matches(mapping(rule_.get("EventPattern")), event):
                yield rule_.id, f"its pattern does not let through {kind} from {SOURCE}: those events are lost"
        other = {
            "version": "0",
            "account": "111122223333",
            "source": "aws.s3",
            "detail-type": "Object Created",
            "detail": {},
        }
        if matches(mapping(rule_.get("EventPattern")), other):
            yield rule_.id, "its pattern lets through events of others, which the consumer would park"


@rule("what a rule cannot deliver is kept")
def undelivered(stack):
    for rule_ in stack.of("Events::Rule"):
        for item in map(mapping, items(rule_.get("Targets"))):
            queue = stack.by("SQS::Queue", mapping(item.get("DeadLetterConfig")).get("Arn"), "arn")
            if is_ours(stack) and queue not in dead_letter_queues(stack):
                yield rule_.id, (
                    "a target has no DeadLetterConfig with a dead-letter queue of this template: what cannot be"
                    " delivered for a day is lost"
                )
            for key in ("Input", "InputPath", "InputTransformer"):
                if item.get(key) is not None:
                    yield rule_.id, f"a target has {key}: the consumer reads the event as EventBridge made it"
            retry = mapping(item.get("RetryPolicy"))
            age, attempts = number(retry.get("MaximumEventAgeInSeconds")), number(retry.get("MaximumRetryAttempts"))
            if age is not None and age < 3600 or attempts is not None and attempts < 10:
                yield rule_.id, "RetryPolicy gives up sooner than a short outage ends; leave EventBridge's day"
