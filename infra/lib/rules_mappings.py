"""Rules about event source mappings: what hands messages and changes to functions."""

import json

from graph import failure_destination, is_ours, main_queues, mappings, program, redrive, target
from model import items, mapping, number, truth
from rules import rule

# What a filter may look at, at the top of a record.
RECORD_MEMBERS = {
    "AWS::SQS::Queue": {"attributes", "body", "eventSource", "eventSourceARN", "messageAttributes", "messageId"},
    "AWS::DynamoDB::Table": {
        "awsRegion",
        "dynamodb",
        "eventID",
        "eventName",
        "eventSource",
        "eventSourceARN",
        "eventVersion",
    },
}
# Rows that the access function must be told of, by the key that tells their kind: what access rests on.
ACCESS_ROWS = {
    "sk": ("customer#cus_1", "subscription#sub_1", "invoice#in_1", "access"),
    "csk": ("charge#ch_1", "dispute#dp_1", "checkout_session#cs_1", "invoice#in_1"),
}


@rule("event source mappings run, and read a queue or stream of this stack")
def wired(stack):
    for each, function, source in mappings(stack):
        if truth(each.get("Enabled")) is False:
            yield each.id, "is disabled: messages pile up and nothing reads them; set Enabled: true"
        if source is None:
            yield each.id, f"EventSourceArn {each.get('EventSourceArn')} is no queue or table stream of this template"
        elif any(redrive(queue).get("deadLetterTargetArn") == source.arn for queue in stack.of("SQS::Queue")):
            yield each.id, (
                f"reads the dead-letter queue {source.id}: what was set aside is tried again and lost; name the"
                " queue itself"
            )
        if function is None:
            yield each.id, f"FunctionName {each.get('FunctionName')} is no function of this template"
        elif target(stack, each.get("FunctionName"))[1] is None and aliases(stack, function):
            yield each.id, (
                f"calls {function.id} without its alias: a deployment reaches it at once instead of by and by, and "
                "cannot be rolled back; use the alias"
            )


@rule("each program is fed by the mapping it needs")
def fed(stack):
    for function in stack.of("Lambda::Function"):
        kinds = [source.type for _, own, source in mappings(stack) if own is function and source]
        needed = {"consumer": "AWS::SQS::Queue", "access": "AWS::DynamoDB::Table"}.get(program(function))
        if needed and kinds.count(needed) != 1:
            yield function.id, f"is fed by {kinds.count(needed)} event source mappings of a {needed}; it needs one"
        if program(function) and set(kinds) - {needed}:
            yield function.id, f"is fed by a {kinds[0]}, whose records it does not understand"


@rule("the webhook's queue is the one that is consumed")
def same_queue(stack):
    for function in stack.of("Lambda::Function"):
        if program(function) == "webhook":
            url = function.get("Environment", "Variables", "QUEUE_URL")
            if not any(queue.ref == url for queue in main_queues(stack)):
                yield (
                    function.id,
                    f"QUEUE_URL {url} is the URL of no queue that a function reads: events would never be applied",
                )


def aliases(stack, function):
    """The aliases of a function."""
    return [alias for alias in stack.of("Lambda::Alias") if stack.function_name(alias) == function.name]


@rule("a message that fails does not fail its batch")
def partial(stack):
    for each, _, source in mappings(stack):
        kinds = items(each.get("FunctionResponseTypes"))
        if kinds != ["ReportBatchItemFailures"]:
            yield each.id, (
                f"FunctionResponseTypes is {kinds}: one bad message makes its whole batch come again; it must be"
                " exactly [ReportBatchItemFailures]"
            )


@rule("mappings have the settings of their kind of source")
def settings(stack):
    of_streams = (
        "StartingPosition",
        "BisectBatchOnFunctionError",
        "MaximumRetryAttempts",
        "MaximumRecordAgeInSeconds",
        "ParallelizationFactor",
        "DestinationConfig",
        "TumblingWindowInSeconds",
    )
    for each, _, source in mappings(stack):
        if source:
            queue = source.type == "AWS::SQS::Queue"
            for name in of_streams if queue else ("ScalingConfig", "ProvisionedPollerConfig"):
                if each.get(name) is not None:
                    yield each.id, f"{name} is not for a {source.type}: Lambda refuses it"


@rule("batches are of a size that the source allows")
def batches(stack):
    for each, _, source in mappings(stack):
        queue = source is not None and source.type == "AWS::SQS::Queue"
        size = number(each.get("BatchSize") or (10 if queue else 100))
        window = number(each.get("MaximumBatchingWindowInSeconds") or 0)
        if size is None or not 1 <= size <= 10000:
            yield each.id, f"BatchSize is {size}; Lambda takes 1 to 10000"
        elif queue and size > 10 and (window or 0) < 1:
            yield each.id, (
                f"BatchSize is {size} without MaximumBatchingWindowInSeconds: Lambda refuses more than 10 without a"
                " window of at least 1 s"
            )
        elif queue and truth(source.get("FifoQueue")) and size > 10:
            yield each.id, f"BatchSize is {size}; a FIFO queue allows 10"
        if window is None or not 0 <= window <= (10 if is_ours(stack) else 300):
            yield each.id, f"MaximumBatchingWindowInSeconds is {window}: each event waits that long for others"


@rule("concurrency of queue mappings is bounded by the mapping")
def concurrency(stack):
    for each, function, source in mappings(stack):
        if source is None or source.type != "AWS::SQS::Queue":
            continue
        most = each.get("ScalingConfig", "MaximumConcurrency")
        pollers = each.get("ProvisionedPollerConfig")
        if most is None and pollers is None and is_ours(stack):
            yield each.id, (
                "has no ScalingConfig.MaximumConcurrency: a backlog may take all of the account's concurrency from"
                " the webhook"
            )
        if most is not None and pollers is not None:
            yield each.id, "has both ScalingConfig and ProvisionedPollerConfig; Lambda takes one of them"
        if most is not None and (number(most) is None or not 2 <= number(most) <= 1000):
            yield each.id, f"MaximumConcurrency is {most}; Lambda takes 2 to 1000"
        reserved = number(function.get("ReservedConcurrentExecutions")) if function else None
        if reserved is not None and number(most) is not None and reserved < number(most):
            yield each.id, (
                f"MaximumConcurrency {most} is above {function.id}'s reserved concurrency {reserved}: throttled"
                " batches use up their messages' receives"
            )


@rule("a stream's records are retried within bounds, and kept when given up")
def streams(stack):
    for each, _, source in mappings(stack):
        if source is None or source.type != "AWS::DynamoDB::Table":
            continue
        start, retries = each.get("StartingPosition"), number(each.get("MaximumRetryAttempts"))
        if start not in ("TRIM_HORIZON", "LATEST"):
            yield each.id, f"StartingPosition is {start}; a stream needs TRIM_HORIZON or LATEST"
        elif start == "LATEST" and is_ours(stack):
            yield (
                each.id,
                "StartingPosition LATEST misses the changes made while the mapping is created; use TRIM_HORIZON",
            )
        if (retries is None or not 3 <= retries <= 1000) and is_ours(stack):
            yield each.id, (
                f"MaximumRetryAttempts is {each.get('MaximumRetryAttempts')}: without a bound one bad record holds"
                " up its shard for a day, with too few a short outage loses changes; set about 10"
            )
        age = number(each.get("MaximumRecordAgeInSeconds"))
        if age is not None and age != -1 and age < 3600:
            yield each.id, f"MaximumRecordAgeInSeconds is {age}: changes older than that are given up, in any outage"
        if not stack.by("SQS::Queue", failure_destination(each), "arn") and not stack.by(
            "SNS::Topic", failure_destination(each)
        ):
            yield each.id, (
                "has no DestinationConfig.OnFailure that is a queue or topic of this template: what is given up is"
                " lost"
            )
        if truth(each.get("BisectBatchOnFunctionError")) is not True:
            yield each.id, (
                "BisectBatchOnFunctionError is not on: when the function dies, a whole batch is given up for one"
                " bad record"
            )
        if number(each.get("TumblingWindowInSeconds") or 0) != 0:
            yield each.id, "TumblingWindowInSeconds changes what the function is given; remove it"


@rule("filters are patterns that let through what they should")
def filters(stack):
    for each, function, source in mappings(stack):
        written = [mapping(item).get("Pattern") for item in items(mapping(each.get("FilterCriteria")).get("Filters"))]
        if source is None or not written:
            continue
        if source.type == "AWS::SQS::Queue":
            yield each.id, "filters a queue: Lambda deletes the messages that do not match, and those events are lost"
        patterns = []
        for text in written:
            pattern = parsed(text)
            if pattern is None:
                yield each.id, f"the filter {text!r} is no JSON object whose leaves are lists"
            elif set(pattern) - RECORD_MEMBERS.get(source.type, set()):
                yield each.id, (
                    f"the filter {text!r} looks at {sorted(set(pattern) - RECORD_MEMBERS[source.type])}, which no"
                    " record has: nothing passes"
                )
            else:
                patterns.append(pattern)
        if program(function) == "access" if function else False:
            for record in access_records():
                if len(patterns) == len(written) and not any(matches(pattern, record) for pattern in patterns):
                    yield each.id, (
                        f"no filter lets through a change of {record['dynamodb']['NewImage']}: the product is not"
                        " told of it"
                    )


def access_records():
    """A record for each kind of row that access rests on."""
    for key, values in ACCESS_ROWS.items():
        for value in values:
            for name in ("INSERT", "MODIFY"):
                yield {"eventName": name, "eventSource": "aws:dynamodb", "dynamodb": {"NewImage": {key: {"S": value}}}}


def parsed(text):
    """A pattern as a dictionary, or None where it is none."""
    try:
        pattern = json.loads(text)
    except (TypeError, ValueError):
        return None
    return pattern if isinstance(pattern, dict) and pattern and _has_lists(pattern) else None


def _has_lists(pattern):
    return all(
        _has_lists(value) if isinstance(value, dict) else isinstance(value, list) and value
        for value in pattern.values()
    )


def matches(pattern, event):
    """Whether an event matches an EventBridge pattern. Knows the operators that filters and rules use."""
    for key, wanted in pattern.items():
        if key == "$or":
            if not any(matches(choice, event) for choice in wanted):
                return False
        elif isinstance(wanted, dict):
            if not isinstance(mapping(event).get(key), dict) or not matches(wanted, event[key]):
                return False
        elif not any(_fits(one, mapping(event).get(key)) for one in wanted):
            return False
    return True


def _fits(wanted, value):
    if not isinstance(wanted, dict):
        return wanted == value
    for operator, operand in wanted.items():
        text = value if isinstance(value, str) else ""
        if operator == "prefix" and isinstance(operand, str):
            return text.startswith(operand) and isinstance(value, str)
        if operator == "suffix" and isinstance(operand, str):
            return text.endswith(operand) and isinstance(value, str)
        if operator == "exists":
            return (value is not None) == operand
        if operator == "equals-ignore-case":
            return text.lower() == str(operand).lower()
        if operator == "anything-but":
            return value is not None and not any(_fits(one, value) for one in items(operand))
        if operator == "wildcard":
            parts = str(operand).split("*")
            return text.startswith(parts[0]) and text.endswith(parts[-1]) and all(part in text for part in parts)
    return False
