"""Which metrics there are: of AWS's services by name and set of dimensions, and of this project's by its code.

For each it is told what its values are, for that decides which statistic and which comparison make sense.
"""

import functools
from dataclasses import dataclass

import sources
from model import STACK_NAME

# What the values of a metric are.
BAD, GOOD, LEVEL, AGE, TIME = "bad events", "good events", "a level", "an age", "a time"
# The dimension that names a resource, with its type and what of it is the value.
DIMENSIONS = {
    "ApiId": ("ApiGatewayV2::Api", "ref"),
    "EventBusName": None,
    "FunctionName": ("Lambda::Function", "name"),
    "QueueName": ("SQS::Queue", "name"),
    "RuleName": ("Events::Rule", "name"),
    "TableName": ("DynamoDB::Table", "name"),
    "TopicName": ("SNS::Topic", "name"),
}


@dataclass(frozen=True)
class Metric:
    """A metric: what its values are, and the sets of dimensions under which it is kept."""

    kind: str
    dimensions: tuple


def _named(kind, names, *dimensions):
    return {name: Metric(kind, tuple(map(frozenset, dimensions))) for name in names.split()}


_TABLE, _INDEX, _OPERATION = {"TableName"}, {"TableName", "GlobalSecondaryIndexName"}, {"TableName", "Operation"}
_FUNCTION = ({"FunctionName"}, {"FunctionName", "Resource"}, {"FunctionName", "Resource", "ExecutedVersion"})
_API = ({"ApiId"}, {"ApiId", "Stage"}, {"ApiId", "Stage", "Method", "Resource"})
_RULE = ({"RuleName"}, {"EventBusName", "RuleName"})
OF_AWS = {
    "AWS/SQS": (
        _named(
            LEVEL,
            "ApproximateNumberOfMessagesVisible ApproximateNumberOfMessagesNotVisible"
            " ApproximateNumberOfMessagesDelayed ApproximateNumberOfGroupsWithInflightMessages"
            " ApproximateNumberOfNoisyGroups SentMessageSize",
            {"QueueName"},
        )
        | _named(AGE, "ApproximateAgeOfOldestMessage", {"QueueName"})
        | _named(
            GOOD,
            "NumberOfMessagesSent NumberOfMessagesReceived NumberOfMessagesDeleted NumberOfEmptyReceives",
            {"QueueName"},
        )
    ),
    "AWS/Lambda": (
        _named(
            BAD,
            "Errors Throttles DeadLetterErrors DestinationDeliveryFailures ProvisionedConcurrencySpilloverInvocations"
            " AsyncEventsDropped RecursiveInvocationsDropped",
            *_FUNCTION,
        )
        | _named(GOOD, "Invocations AsyncEventsReceived", *_FUNCTION)
        | _named(AGE, "IteratorAge AsyncEventAge OffsetLag", *_FUNCTION)
        | _named(TIME, "Duration PostRuntimeExtensionsDuration", *_FUNCTION)
        | _named(LEVEL, "ConcurrentExecutions ProvisionedConcurrencyUtilization", *_FUNCTION, set())
        | _named(LEVEL, "UnreservedConcurrentExecutions ClaimedAccountConcurrency", set())
    ),
    "AWS/ApiGateway": (
        _named(BAD, "4xx 5xx", *_API)
        | _named(GOOD, "Count DataProcessed", *_API)
        | _named(TIME, "Latency IntegrationLatency", *_API)
    ),
    "AWS/DynamoDB": (
        _named(BAD, "ReadThrottleEvents WriteThrottleEvents", _TABLE, _INDEX)
        | _named(BAD, "ThrottledRequests SystemErrors", _OPERATION)
        | _named(BAD, "ConditionalCheckFailedRequests TransactionConflict", _TABLE)
        | _named(BAD, "UserErrors", set())
        | _named(GOOD, "ConsumedReadCapacityUnits ConsumedWriteCapacityUnits", _TABLE, _INDEX)
        | _named(GOOD, "TimeToLiveDeletedItemCount", _TABLE)
        | _named(GOOD, "ReturnedItemCount", _OPERATION)
        | _named(TIME, "SuccessfulRequestLatency", _OPERATION)
        | _named(LEVEL, "AccountMaxReads AccountMaxWrites AccountProvisionedReadCapacityUtilization", set())
    ),
    "AWS/Events": (
        _named(BAD, "FailedInvocations ThrottledRules InvocationsSentToDlq InvocationsFailedToBeSentToDlq", *_RULE)
        | _named(
            GOOD, "Invocations InvocationAttempts SuccessfulInvocationAttempts TriggeredRules MatchedEvents", *_RULE
        )
        | _named(TIME, "IngestionToInvocationStartLatency IngestionToInvocationSuccessLatency", *_RULE)
    ),
    "AWS/SNS": (
        _named(BAD, "NumberOfNotificationsFailed", {"TopicName"})
        | _named(GOOD, "NumberOfMessagesPublished NumberOfNotificationsDelivered", {"TopicName"})
    ),
}
# Services that this project has no use for; their metrics are not judged.
OTHERS = set(
    "AWS/ApplicationELB AWS/Billing AWS/CertificateManager AWS/CloudFront AWS/CodeBuild AWS/EBS AWS/EC2 AWS/ECS AWS/ES"
    " AWS/KMS AWS/Kinesis AWS/Logs AWS/NetworkELB AWS/RDS AWS/Route53 AWS/S3 AWS/SES AWS/States AWS/Usage AWS/WAFV2"
    " AWS/X-Ray".split()
)
OWN = "billhook"
# Of what this project counts: what is welcome. The rest is bad where it is watched.
_WELCOME = {
    "AccessChanged",
    "AccessGranted",
    "AccessRevoked",
    "Applied",
    "Duplicate",
    "Enqueued",
    "Ignored",
    "Stale",
    "StripeEvents",
}


# How many there are, and not how often something happened.
_LEVELS = {"NeedsRefetch"}
_BY_REASON = {"RefetchFailed", "Refused", "RefusedFromStripe"}


@functools.cache
def of_own():
    """The metrics that the functions write."""
    by_stack = {"Stack"}
    found = {}
    for name, counts in sources.metrics().items():
        kind = TIME if not counts else GOOD if name in _WELCOME else LEVEL if name in _LEVELS else BAD
        sets = (by_stack, {"Stack", "Reason"}) if name in _BY_REASON else (by_stack,)
        found |= _named(kind, name, *sets)
    return found


def look_up(namespace, name):
    """The metric, or None where there is none of this name."""
    known = of_own() if namespace == OWN else OF_AWS.get(namespace, {})
    return known.get(name)


def problems(stack, namespace, name, dimensions):
    """What is wrong with naming this metric; `dimensions` is a dictionary."""
    made = {
        transformation.get("MetricNamespace")
        for each in stack.of("Logs::MetricFilter")
        for transformation in each.get("MetricTransformations") or []
        if isinstance(transformation, dict)
    }
    if namespace in OTHERS or namespace in made:
        return
    if namespace != OWN and namespace not in OF_AWS:
        yield f"nothing writes metrics to the name space {namespace}"
        return
    metric = look_up(namespace, name)
    if metric is None:
        yield f"there is no metric {name} in {namespace}"
        return
    if frozenset(dimensions) not in metric.dimensions:
        known = " or ".join("{" + ", ".join(sorted(each)) + "}" for each in metric.dimensions)
        yield (
            f"{namespace} keeps {name} by {known}, not by {{{', '.join(sorted(dimensions))}}}: it would never have data"
        )
    yield from _wrong_values(stack, namespace, dimensions)


def _wrong_values(stack, namespace, dimensions):
    for key, value in dimensions.items():
        kind = DIMENSIONS.get(key)
        if kind and not stack.by(kind[0], value, kind[1]):
            yield f"its {key} {value} is no {kind[0]} of this template: it would never have data"
    if namespace == OWN:
        if "Stack" in dimensions and dimensions["Stack"] != STACK_NAME:
            yield f"its Stack is {dimensions['Stack']}; the functions write metrics under AWS::StackName"
        if "Reason" in dimensions and dimensions["Reason"] not in sources.reasons():
            yield f"its Reason is {dimensions['Reason']}, which the webhook never gives"
    rule = stack.by("Events::Rule", dimensions.get("RuleName"), "name")
    if rule and dimensions.get("EventBusName", rule.bus) != rule.bus:
        yield f"its EventBusName {dimensions['EventBusName']} is not the rule's, {rule.bus}"
    if rule and rule.bus != "default" and "EventBusName" not in dimensions:
        yield "a rule of another bus than the default one needs the dimension EventBusName"
    table = stack.by("DynamoDB::Table", dimensions.get("TableName"), "name")
    index = dimensions.get("GlobalSecondaryIndexName")
    if table and index and index not in str(table.get("GlobalSecondaryIndexes")):
        yield f"{table.id} has no index {index}"
