"""Rules about what must be watched: each way to lose or delay events has its alarm."""

from graph import consumers, dead_letter_queues, environment, is_ours, main_queues, program, programs
from model import items, mapping
from rules import rule
from rules_alarms import is_silence, watched

# What of this project's must be watched: by program, the metrics and, where it counts, the reason.
OWN = {
    "webhook": [
        # Of Stripe's own: what strangers can bring about is on the dashboard and wakes nobody.
        ("RefusedFromStripe", "signature_mismatch"),
        ("RefusedFromStripe", "body_too_large"),
        # Genuine signatures, so no stranger's.
        ("Refused", "timestamp_too_old"),
        ("Refused", "timestamp_in_future"),
        ("SecretRefreshFailures", None),
        ("OldSecretOnly", None),
    ],
    "consumer": [("OtherMode", None), ("Parked", None), ("NeedsRefetch", None), ("LagSecs", None), ("RefetchFailed", None)],
}
# What is counted only where a function has this variable.
ONLY_WITH = {"RefetchFailed": "STRIPE_API_KEY_SECRET_ARN"}


def seen(stack, silence=False):
    """Everything that alarms watch which tell somebody, as (name space, metric, dimensions)."""
    return [
        (each.namespace, each.name, each.dimensions)
        for alarm in stack.of("CloudWatch::Alarm")
        if items(alarm.get("AlarmActions"))
        for each in watched(alarm)
        if is_silence(alarm) == silence
    ]


def is_watched(stack, namespace, names, **dimensions):
    """Whether an alarm watches one of these metrics with these dimensions."""
    return any(
        namespace == own and name in names and dimensions.items() <= found.items() for own, name, found in seen(stack)
    )


def applies(stack):
    """Whether the stack means to watch at all: one with alarms, or ours as it is by default."""
    return bool(stack.of("CloudWatch::Alarm")) or is_watched_over(stack)


def is_watched_over(stack):
    """Whether it is one of our stacks, with alarms. They can be turned off, and are not by default."""
    return is_ours(stack) and (stack.is_default or bool(stack.of("CloudWatch::Alarm")))


@rule("every dead-letter queue has an alarm")
def dead_letters(stack):
    for queue in dead_letter_queues(stack) if applies(stack) else ():
        if not is_watched(stack, "AWS/SQS", {"ApproximateNumberOfMessagesVisible"}, QueueName=queue.name):
            yield (
                queue.id,
                "no alarm watches its ApproximateNumberOfMessagesVisible: what is set aside there expires unseen",
            )


@rule("every queue that feeds a function has an alarm on its age")
def queue_age(stack):
    for queue in main_queues(stack) if is_watched_over(stack) else ():
        if not is_watched(stack, "AWS/SQS", {"ApproximateAgeOfOldestMessage"}, QueueName=queue.name):
            yield (
                queue.id,
                "no alarm watches its ApproximateAgeOfOldestMessage: a consumer that does not run goes unseen",
            )


@rule("every function has alarms on errors and throttles")
def functions(stack):
    for function in stack.of("Lambda::Function") if is_watched_over(stack) else ():
        wanted = ["Errors", "Throttles"] if program(function) in ("webhook", "consumer") else ["Errors"]
        for metric in wanted:
            if not is_watched(stack, "AWS/Lambda", {metric}, FunctionName=function.name):
                yield function.id, f"no alarm watches its {metric}"
        also = {"access": "IteratorAge", "webhook": "Duration"}.get(program(function))
        if also and not is_watched(stack, "AWS/Lambda", {also}, FunctionName=function.name):
            yield function.id, f"no alarm watches its {also}: that it falls behind goes unseen"


@rule("every API has an alarm on server errors")
def apis(stack):
    for api in stack.of("ApiGatewayV2::Api") if is_watched_over(stack) else ():
        if not is_watched(stack, "AWS/ApiGateway", {"5xx"}, ApiId=api.ref):
            yield api.id, "no alarm watches its 5xx"


@rule("every table and index has an alarm on throttles")
def tables(stack):
    for table in stack.of("DynamoDB::Table") if is_watched_over(stack) else ():
        if is_watched(stack, "AWS/DynamoDB", {"ThrottledRequests"}, TableName=table.name):
            continue
        for metric in ("WriteThrottleEvents", "ReadThrottleEvents"):
            if not any(
                (namespace, name) == ("AWS/DynamoDB", metric) and found == {"TableName": table.name}
                for namespace, name, found in seen(stack)
            ):
                yield table.id, f"no alarm watches its {metric}"
        for index in items(table.get("GlobalSecondaryIndexes")):
            name = mapping(index).get("IndexName")
            if not is_watched(
                stack, "AWS/DynamoDB", {"WriteThrottleEvents"}, TableName=table.name, GlobalSecondaryIndexName=name
            ):
                yield (
                    table.id,
                    f"no alarm watches the WriteThrottleEvents of its index {name}, which hold up the table's writes",
                )


@rule("every rule has an alarm on what it cannot deliver")
def rules(stack):
    for each in stack.of("Events::Rule") if is_watched_over(stack) else ():
        if not is_watched(stack, "AWS/Events", {"FailedInvocations", "InvocationsSentToDlq"}, RuleName=each.name):
            yield each.id, "no alarm watches its FailedInvocations"


@rule("what the functions count as trouble has alarms")
def own(stack):
    for function, name in programs(stack) if is_watched_over(stack) else ():
        for metric, reason in OWN.get(name, ()):
            if metric in ONLY_WITH and not environment(function).get(ONLY_WITH[metric]):
                continue
            dimensions = {"Reason": reason} if reason else {}
            whole = not reason and any(
                own == "billhook" and found_name == metric and set(found) == {"Stack"}
                for own, found_name, found in seen(stack)
            )
            if not whole and not (reason and is_watched(stack, "billhook", {metric}, **dimensions)):
                yield function.id, f"no alarm watches {metric}" + (f" with the reason {reason}" if reason else "")


@rule("in live mode silence is told")
def silence(stack):
    for function, name in programs(stack) if is_watched_over(stack) else ():
        live = function.get("Environment", "Variables", "STRIPE_MODE") == "live"
        if (
            name == "consumer"
            and live
            and ("billhook", "StripeEvents") not in {(own, metric) for own, metric, _ in seen(stack, silence=True)}
        ):
            yield function.id, (
                "in live mode no alarm goes off when StripeEvents stay away: that Stripe has disabled the endpoint"
                " goes unseen"
            )


@rule("there is somebody to tell")
def topics(stack):
    if stack.of("CloudWatch::Alarm") and is_ours(stack):
        if not stack.of("SNS::Topic"):
            yield "template", "has alarms, but no topic"
        for queue in main_queues(stack):
            if not consumers(stack, queue):
                yield queue.id, "feeds a function that is not in this template"
