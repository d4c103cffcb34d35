"""When an alarm is on: CloudWatch's evaluation, as its user guide describes it, over data that come late.

- Once a minute the newest periods are looked at; a period is a window that ends now.
- M of N: with at least N data points in the range that is looked at, the N newest count; else missing ones are filled in
  as `TreatMissingData` says. The range is some periods longer than N
  (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html).
- In metric math a series that has no data point is 0 beside one that has; where none has, there is none. `FILL` makes a
  point where there is none, so for the newest minute always, while data are late
  (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html).
"""

import ast
import json
import math
import re

from model import items, mapping, number, truth

# How many periods more than N are looked at: assumed, the guide gives examples only.
MORE_PERIODS = 2
OK, ALARM, INSUFFICIENT = "OK", "ALARM", "INSUFFICIENT_DATA"
COMPARE = {
    "GreaterThanThreshold": lambda value, limit: value > limit,
    "GreaterThanOrEqualToThreshold": lambda value, limit: value >= limit,
    "LessThanThreshold": lambda value, limit: value < limit,
    "LessThanOrEqualToThreshold": lambda value, limit: value <= limit,
}


def series_key(namespace, name, dimensions):
    """What CloudWatch tells metrics apart by."""
    return namespace, name, frozenset(dimensions.items())


def emf_values(line):
    """The values of a line in the embedded metric format, as (key, values)."""
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = {name: line[name] for name in names}
            for metric in directive["Metrics"]:
                yield series_key(directive["Namespace"], metric["Name"], dimensions), items(line[metric["Name"]])


class Data:
    """What was measured, by series and minute."""

    def __init__(self):
        self.values = {}
        # How many minutes later than it happened a series is seen.
        self.late = {}

    def put(self, key, minute, *values):
        """Adds values of a minute."""
        self.values.setdefault(key, {}).setdefault(minute, []).extend(values)

    def put_line(self, line, minute, times=1):
        """Adds what a line of log says, so many times."""
        for key, values in emf_values(line):
            self.put(key, minute, *(values * times))

    def point(self, key, statistic, start, end, now):
        """The statistic of a window as it is known now, or None without data."""
        minutes, seen = self.values.get(key, {}), now - self.late.get(key, 0)
        found = [value for minute in range(start, min(end, seen)) for value in minutes.get(minute, ())]
        return aggregate(statistic, found) if found else None


def aggregate(statistic, values):
    """A statistic of some values."""
    if statistic == "Sum":
        return sum(values)
    if statistic == "Maximum":
        return max(values)
    if statistic == "Minimum":
        return min(values)
    if statistic == "Average":
        return sum(values) / len(values)
    if statistic == "SampleCount":
        return len(values)
    rank = math.ceil(float(str(statistic).removeprefix("p")) / 100 * len(values))
    return sorted(values)[max(rank, 1) - 1]


class Evaluation:
    """An alarm, ready to be asked whether it is on."""

    def __init__(self, alarm):
        queries = [mapping(query) for query in items(alarm.get("Metrics"))]
        if queries:
            self.series = {q["Id"]: _series(q["MetricStat"]) for q in queries if q.get("MetricStat")}
            returned = next(q for q in queries if truth(q.get("ReturnData", True)) is not False)
            self.expression = _parsed(returned.get("Expression") or returned["Id"])
            period = max(number(q["MetricStat"]["Period"]) for q in queries if q.get("MetricStat"))
        else:
            stat = alarm.get("ExtendedStatistic") or alarm.get("Statistic")
            self.series = {"m": (_key(alarm.get), stat)}
            self.expression, period = _parsed("m"), number(alarm.get("Period"))
        self.period = max(int(period) // 60, 1)
        self.evaluated = int(number(alarm.get("EvaluationPeriods")))
        self.needed = int(number(alarm.get("DatapointsToAlarm")) or self.evaluated)
        self.missing = alarm.get("TreatMissingData") or "missing"
        self.is_bad = COMPARE[alarm.get("ComparisonOperator")]
        self.limit = number(alarm.get("Threshold"))

    def state(self, data, now, before=OK):
        """The state at a minute, given the state before it."""
        points = [self._point(data, now, age) for age in range(self.evaluated + MORE_PERIODS)]
        real = [point for point in points if point is not None][: self.evaluated]
        bad = sum(self.is_bad(point, self.limit) for point in real)
        if not real and self.missing in ("missing", "ignore"):
            return INSUFFICIENT if self.missing == "missing" else before
        if self.missing == "breaching":
            bad += self.evaluated - len(real)
        return ALARM if bad >= self.needed else OK

    def _point(self, data, now, age):
        start, end = now - (age + 1) * self.period, now - age * self.period
        values = {id: data.point(key, stat, start, end, now) for id, (key, stat) in self.series.items()}
        return _value(self.expression, values)[0]


def _series(stat):
    return _key(mapping(stat["Metric"]).get), stat["Stat"]


def _key(get):
    dimensions = {mapping(each)["Name"]: mapping(each)["Value"] for each in items(get("Dimensions"))}
    return series_key(get("Namespace"), get("MetricName"), dimensions)


def _parsed(expression):
    text = re.sub(r"\bAND\b|&&", " and ", re.sub(r"\bOR\b|\|\|", " or ", expression))
    return ast.parse(text.strip(), mode="eval").body


def _value(node, values):
    """The value of an expression, or None, and whether it is a constant."""
    if isinstance(node, ast.Constant):
        return node.value, True
    if isinstance(node, ast.Name):
        return values[node.id], False
    if isinstance(node, ast.Call):
        return _call(node, values)
    if isinstance(node, ast.BoolOp):
        sides = [_value(each, values) for each in node.values]
        both = all if isinstance(node.op, ast.And) else any
        return _together(sides, lambda *parts: int(both(parts)))
    if isinstance(node, ast.Compare):
        return _together([_value(node.left, values), _value(node.comparators[0], values)], _operator(node.ops[0]))
    return _together([_value(node.left, values), _value(node.right, values)], _operator(node.op))


def _together(sides, operation):
    """What comes of several values; where no series has one, nothing does."""
    if all(constant for _, constant in sides):
        return operation(*(value for value, _ in sides)), True
    if all(value is None for value, constant in sides if not constant):
        return None, False
    return operation(*(0 if value is None else value for value, _ in sides)), False


def _call(node, values):
    if node.func.id == "FILL":
        value, _ = _value(node.args[0], values)
        return (_value(node.args[1], values)[0] if value is None else value), False
    if node.func.id == "IF":
        condition, _ = _value(node.args[0], values)
        if condition is None:
            return None, False
        return _value(node.args[1 if condition else 2], values)[0], False
    raise ValueError(f"a function {node.func.id}")


def _operator(op):
    return {
        ast.Add: lambda a, b: a + b,
        ast.Sub: lambda a, b: a - b,
        ast.Mult: lambda a, b: a * b,
        ast.Div: lambda a, b: a / b if b else 0,
        ast.Gt: lambda a, b: int(a > b),
        ast.GtE: lambda a, b: int(a >= b),
        ast.Lt: lambda a, b: int(a < b),
        ast.LtE: lambda a, b: int(a <= b),
        ast.Eq: lambda a, b: int(a == b),
    }[type(op)]


def lines(path):
    """The lines that the functions write, by what happens (`tests/tests/metric_lines.rs` makes them)."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)
