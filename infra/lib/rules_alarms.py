"""Rules about each alarm: it watches a metric that exists, goes off when it should, and tells somebody.

No tool notices an alarm that watches nothing: CloudWatch takes any name.
"""

import functools
import re

import metrics
from graph import dead_letter_queues, is_ours, main_queues
from metrics import AGE, BAD, GOOD, LEVEL, TIME
from model import items, mapping, number, truth
from rules import rule
from rules_queues import retention, timeout

ABOVE = ("GreaterThanThreshold", "GreaterThanOrEqualToThreshold")
BELOW = ("LessThanThreshold", "LessThanOrEqualToThreshold")
# In which unit a metric is kept, where that is not Count.
UNITS = {
    "ApproximateAgeOfOldestMessage": "Seconds",
    "Duration": "Milliseconds",
    "IntegrationLatency": "Milliseconds",
    "IteratorAge": "Milliseconds",
    "LagSecs": "Seconds",
    "Latency": "Milliseconds",
    "SuccessfulRequestLatency": "Milliseconds",
}
# What is no metric in an expression.
FUNCTIONS = set("FILL SUM MAX MIN AVG IF RATE ABS METRICS REPEAT LINEAR AND OR DIFF PERIOD m".split())


class Watched:
    """A metric that an alarm watches, with the statistic."""

    def __init__(self, namespace, name, dimensions, statistic, period):
        self.namespace, self.name, self.statistic, self.period = namespace, name, statistic, number(period)
        self.dimensions = {mapping(each).get("Name"): mapping(each).get("Value") for each in items(dimensions)}
        self.metric = metrics.look_up(namespace, name)
        self.kind = self.metric.kind if self.metric else None


@functools.lru_cache(maxsize=256)
def watched(alarm):
    """The metrics that an alarm watches."""
    if alarm.get("MetricName") is not None or alarm.get("Metrics") is None:
        statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic")
        return [
            Watched(
                alarm.get("Namespace"), alarm.get("MetricName"), alarm.get("Dimensions"), statistic, alarm.get("Period")
            )
        ]
    found = []
    for query in map(mapping, items(alarm.get("Metrics"))):
        stat = mapping(query.get("MetricStat"))
        metric = mapping(stat.get("Metric"))
        if stat:
            found.append(
                Watched(
                    metric.get("Namespace"),
                    metric.get("MetricName"),
                    metric.get("Dimensions"),
                    stat.get("Stat"),
                    stat.get("Period"),
                )
            )
    return found


def kinds(alarm):
    """What the values of an alarm's metrics are."""
    return {each.kind for each in watched(alarm)} - {None}


def is_silence(alarm):
    """Whether an alarm is one that goes off when good things stay away."""
    return kinds(alarm) == {GOOD} and alarm.get("ComparisonOperator") in BELOW


def window(alarm):
    """The longest period of an alarm, how many periods it looks at, and how many must be bad."""
    periods = [each.period for each in watched(alarm) if each.period]
    evaluated = number(alarm.get("EvaluationPeriods")) or 1
    needed = number(alarm.get("DatapointsToAlarm")) or evaluated
    return max(periods, default=60), evaluated, needed


@rule("alarms watch metrics that exist, of resources that exist")
def exists(stack):
    for alarm in stack.of("CloudWatch::Alarm"):
        for each in watched(alarm):
            for problem in metrics.problems(stack, each.namespace, each.name, each.dimensions):
                yield alarm.id, problem
        queues = {queue.name for queue in dead_letter_queues(stack)}
        main = {queue.name for queue in main_queues(stack)}
        for each in watched(alarm):
            queue = each.dimensions.get("QueueName")
            if (
                each.name == "ApproximateNumberOfMessagesVisible"
                and queue in main
                and number(alarm.get("Threshold")) == 0
            ):
                yield alarm.id, (
                    f"goes off for each message that waits in {queue}, where messages belong; watch the dead-letter"
                    " queue"
                )
            if each.name == "ApproximateAgeOfOldestMessage" and queue in queues - main:
                yield (
                    alarm.id,
                    "watches the age of dead letters, which wait for somebody; watch the age in the queue itself",
                )


@rule("alarms use the statistic that suits the metric")
def statistics(stack):
    for alarm in stack.of("CloudWatch::Alarm"):
        if alarm.get("Statistic") and alarm.get("ExtendedStatistic"):
            yield alarm.id, "has both Statistic and ExtendedStatistic"
        for each in watched(alarm):
            statistic, limit = str(each.statistic), number(alarm.get("Threshold"))
            percentile = re.fullmatch(r"p(\d{1,2}(\.\d+)?|100)", statistic)
            rate = each.name in ("4xx", "5xx") and statistic == "Average" and limit is not None and 0 < limit < 1
            if each.kind in (BAD, GOOD) and statistic != "Sum" and not rate:
                yield alarm.id, f"the statistic of {each.name} is {statistic}; events are counted by Sum"
            elif each.kind in (LEVEL, AGE) and statistic != "Maximum":
                yield alarm.id, f"the statistic of {each.name} is {statistic}, which hides a peak; use Maximum"
            elif each.kind == TIME and statistic != "Maximum" and not (percentile and float(percentile.group(1)) >= 90):
                yield alarm.id, (
                    f"the statistic of {each.name} is {statistic}, which hides the slow ones; use"
                    " ExtendedStatistic p99"
                )


@rule("alarms look for the unit that the metric has")
def units(stack):
    for alarm in stack.of("CloudWatch::Alarm"):
        for name, unit in [(each.name, alarm.get("Unit")) for each in watched(alarm)] + [
            (
                mapping(mapping(query.get("MetricStat")).get("Metric")).get("MetricName"),
                mapping(query.get("MetricStat")).get("Unit"),
            )
            for query in map(mapping, items(alarm.get("Metrics")))
        ]:
            if unit not in (None, UNITS.get(name, "Count")):
                yield (
                    alarm.id,
                    f"looks for {name} in {unit}, but it is in {UNITS.get(name, 'Count')}: there are no data",
                )
        if alarm.get("EvaluateLowSampleCountPercentile") == "ignore":
            yield alarm.id, "EvaluateLowSampleCountPercentile is ignore: with few events it never goes off"


@rule("alarms go off in the right direction, also without data")
def direction(stack):
    for alarm in stack.of("CloudWatch::Alarm"):
        operator, missing = alarm.get("ComparisonOperator"), alarm.get("TreatMissingData")
        limit = number(alarm.get("Threshold"))
        if not kinds(alarm):
            continue
        if is_silence(alarm):
            if missing != "breaching":
                yield (
                    alarm.id,
                    f"TreatMissingData is {missing}; where nothing comes there are no data, so it must be breaching",
                )
            if limit is None or limit < 0 or operator == "LessThanThreshold" and limit == 0:
                yield alarm.id, f"goes off below {limit}, which never is"
            continue
        if operator not in ABOVE:
            yield alarm.id, f"ComparisonOperator is {operator}: it goes off while all is well, and not when it is not"
        if missing != "notBreaching" and (is_ours(stack) or missing == "breaching"):
            yield (
                alarm.id,
                f"TreatMissingData is {missing}; no data means that nothing happened, so it must be notBreaching",
            )
        if alarm.get("ThresholdMetricId") is None and (
            limit is None or limit < 0 or operator == ABOVE[1] and limit == 0
        ):
            yield alarm.id, f"Threshold is {alarm.get('Threshold')} with {operator}: it is always on"


@rule("alarms have thresholds that are reached when something is wrong")
def thresholds(stack):
    for alarm in stack.of("CloudWatch::Alarm"):
        limit = number(alarm.get("Threshold"))
        if limit is None or is_silence(alarm):
            continue
        for each in watched(alarm):
            yield from (
                (alarm.id, problem) for problem in too_high(stack, each, limit, alarm.get("ComparisonOperator"))
            )


def too_high(stack, each, limit, operator):
    """What is wrong with a threshold for this metric."""
    first = limit + (0 if operator == ABOVE[1] else 1)
    queue = stack.by("SQS::Queue", each.dimensions.get("QueueName"), "name")
    function = stack.by("Lambda::Function", each.dimensions.get("FunctionName"), "name")
    if queue in dead_letter_queues(stack) and queue not in main_queues(stack) and each.kind == LEVEL and first > 1:
        yield f"Threshold is {limit}: the first dead letter is one too many; it must be 0"
    if each.name in ("Parked", "NeedsRefetch") and first > 1:
        yield f"Threshold is {limit}: each {each.name} needs a look; it must be 0"
    if each.kind == BAD and first > 100 and each.name != "4xx":
        yield f"Threshold is {limit}: nobody hears of the first hundred {each.name}"
    if each.name == "ApproximateAgeOfOldestMessage" and queue:
        if limit > 3600 and stack.is_default or limit >= (retention(queue) or 0):
            yield f"Threshold is {limit} s: events wait longer than an hour unseen"
        elif limit < 60:
            yield f"Threshold is {limit} s: a single retry sets it off"
    if each.name == "IteratorAge" and not 10_000 <= limit <= 6 * 3_600_000:
        yield f"Threshold is {limit} ms; the metric is in milliseconds: use some minutes"
    if each.name == "Duration" and function and limit >= 1000 * (timeout(function) or 0):
        yield f"Threshold is {limit} ms, not below the timeout of {function.id}: it is never reached"
    if each.name == "Duration" and limit < 100:
        yield f"Threshold is {limit} ms; the metric is in milliseconds: a first start takes longer"
    if each.name == "LagSecs" and not 10 <= limit <= 86400:
        yield f"Threshold is {limit} s; use some minutes"


@rule("alarms look at periods that CloudWatch takes, and go off in time")
def periods(stack):
    for alarm in stack.of("CloudWatch::Alarm"):
        for each in watched(alarm):
            if each.period is None or each.period not in (10, 20, 30) and each.period % 60 or each.period <= 0:
                yield alarm.id, f"Period is {each.period}; CloudWatch takes 10, 20, 30 and multiples of 60"
                return
        period, evaluated, needed = window(alarm)
        if {each.period for each in watched(alarm)} - {period}:
            yield alarm.id, "its metrics have different periods, so their values do not belong together"
        if number(alarm.get("EvaluationPeriods")) is None or evaluated < 1:
            yield alarm.id, f"EvaluationPeriods is {alarm.get('EvaluationPeriods')}; it must be a number from 1"
        if needed > evaluated or needed < 1:
            yield alarm.id, f"DatapointsToAlarm {needed} must be from 1 to EvaluationPeriods, {evaluated}"
        if period * evaluated > (604800 if period >= 3600 else 86400):
            yield (
                alarm.id,
                f"looks at {period * evaluated} s; CloudWatch takes a day, or seven with periods of an hour and more",
            )
        if is_silence(alarm):
            if stack.is_default and period * evaluated < 3600:
                yield alarm.id, f"tells of silence after {period * evaluated} s, too soon for a quiet hour"
        # That good things stay away takes longer to see than that bad ones happen.
        elif kinds(alarm) and period * needed > (3600 if GOOD in kinds(alarm) else 1800):
            yield alarm.id, f"must be bad for {period * needed} s before it goes off: too late"


@rule("alarms by several metrics name each of them")
def expressions(stack):
    for alarm in stack.of("CloudWatch::Alarm"):
        queries = [mapping(query) for query in items(alarm.get("Metrics"))]
        if not queries:
            continue
        if alarm.get("MetricName") is not None:
            yield alarm.id, "has both Metrics and MetricName"
        ids = [str(query.get("Id")) for query in queries]
        returned = [query for query in queries if truth(query.get("ReturnData", True)) is not False]
        if len(returned) != 1:
            yield alarm.id, f"{len(returned)} of its Metrics have ReturnData; it must be one"
        for id in ids:
            if ids.count(id) > 1 or not re.fullmatch(r"[a-z]\w*", id):
                yield alarm.id, f"the Id {id} must begin with a small letter, and be there once"
        used = set()
        for query in queries:
            names = set(
                re.findall(r"\b[A-Za-z_]\w*", re.sub(r"""'[^']*'|"[^"]*\"""", "", str(query.get("Expression", ""))))
            )
            if "METRICS" in names:
                used |= set(ids)
            for name in sorted(names - FUNCTIONS - set(ids)):
                yield alarm.id, f"the expression names {name}, which is none of its Metrics"
            used |= names & set(ids)
            if (query.get("Expression") is None) == (query.get("MetricStat") is None):
                yield alarm.id, f"{query.get('Id')} must have either Expression or MetricStat"
        for query in queries:
            if query not in returned and query.get("Id") not in used:
                yield alarm.id, f"{query.get('Id')} is in no expression, so it is not watched"


@rule("alarms tell somebody")
def told(stack):
    topics = {topic.ref for topic in stack.of("SNS::Topic")}
    asked = {
        mapping(item).get("Name")
        for group in stack.of("CodeDeploy::DeploymentGroup")
        for item in items(group.get("AlarmConfiguration", "Alarms"))
    }
    for alarm in stack.of("CloudWatch::Alarm", "CloudWatch::CompositeAlarm"):
        actions = items(alarm.get("AlarmActions"))
        if truth(alarm.get("ActionsEnabled")) is False:
            yield alarm.id, "ActionsEnabled is false: nobody is told"
        # One that only a deployment asks may be silent: what it watches must be watched by another as well.
        if not actions and alarm.ref not in asked:
            yield alarm.id, "has no AlarmActions: nobody is told"
        for key in ("AlarmActions", "OKActions", "InsufficientDataActions"):
            for arn in map(str, items(alarm.get(key))):
                if arn not in topics and (is_ours(stack) or not arn.startswith("arn:")):
                    yield alarm.id, f"{key} names {arn}, which is no topic of this template"
        if len(str(alarm.get("AlarmDescription") or "")) < 40 and is_ours(stack):
            yield alarm.id, "its AlarmDescription does not say what is wrong and what to do"
        elif "first:" not in str(alarm.get("AlarmDescription")).lower() and is_ours(stack):
            yield alarm.id, 'its AlarmDescription does not say what to do: "First: …"'
    for topic in stack.of("SNS::Topic"):
        if truth(topic.get("FifoTopic")):
            yield topic.id, "is a FIFO topic, to which CloudWatch does not send alarms"
        if topic.get("KmsMasterKeyId") in ("alias/aws/sns", "aws/sns"):
            yield topic.id, "is encrypted with alias/aws/sns, with which CloudWatch cannot publish: no alarm arrives"
    for subscription in stack.of("SNS::Subscription"):
        if subscription.get("TopicArn") not in topics:
            yield subscription.id, f"TopicArn {subscription.get('TopicArn')} is no topic of this template"
        if subscription.get("FilterPolicy"):
            yield subscription.id, "has a FilterPolicy: alarms have no attributes, so none passes"
        if subscription.get("Protocol") == "email" and not subscription.get("Endpoint"):
            yield subscription.id, "has no Endpoint"
        if subscription.get("Protocol") == "http":
            yield subscription.id, "sends alarms in the clear"
