"""What state a CloudWatch alarm is in, minute by minute, for given data: as CloudWatch's user guide describes it.

An alarm is evaluated once a minute. Its window slides: a period of five minutes ends with the minute that is just over.
(With `aligned` the periods lie on the clock instead, and the one that runs is looked at too.) Data may be late: what
happened in a minute is seen some minutes after it is over.

"Evaluation range": CloudWatch looks at more periods than EvaluationPeriods says. The guide gives no number but that of
its examples, two more. Where these hold enough data points the most recent ones count, and no other; where they do not,
TreatMissingData says what the missing ones are.

Metric math: between two series one that has no data point counts as 0 where the other has one, and where neither has,
there is none. FILL makes a data point of every missing one, so of the last one too, whose data are not there yet.
"""

import bisect
import functools
import operator
import re

from model import items, mapping, number, truth

OK, ALARM, INSUFFICIENT_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"
# So many periods more than EvaluationPeriods are looked at.
FURTHER_PERIODS = 2
# The user guide once said that alarms on these never look at TreatMissingData, and now that it can be set.
# An alarm must be right either way.
ALWAYS_IGNORED = "AWS/DynamoDB"
COMPARISONS = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


class CannotTell(Exception):
    """What an alarm does is nothing that is known here."""


# ---------------------------------------------------------------------------------------------------------- data
class Data:
    """Data points by metric and minute."""

    def __init__(self):
        self._values = {}
        self._minutes = {}

    def add(self, metric, minute, *values):
        """Notes values of a metric, which is what `metric_of` gives."""
        of_metric = self._values.setdefault(metric, {})
        if minute not in of_metric:
            bisect.insort(self._minutes.setdefault(metric, []), minute)
        of_metric.setdefault(minute, []).extend(values)

    def add_line(self, line, minute, times=1):
        """Notes what a line in the embedded metric format holds; its own timestamp does not count.

        What a line does not hold, or holds under another name than it says, is left out, as CloudWatch does. With `times`
        it is as though there were so many lines of counts.
        """
        for directive in items(mapping(line.get("_aws")).get("CloudWatchMetrics")):
            for names in items(directive.get("Dimensions")):
                if any(not isinstance(line.get(name), str) for name in names):
                    continue
                dimensions = {name: line[name] for name in names}
                for definition in items(directive.get("Metrics")):
                    values = [v for v in items(line.get(definition.get("Name"))) if number(v) is not None]
                    if definition.get("Unit") == "Count":
                        values = [value * times for value in values]
                    if values:
                        metric = metric_of(directive.get("Namespace"), definition.get("Name"), dimensions)
                        self.add(metric, minute, *values)

    def between(self, metric, start, end):
        """The minutes from `start` until before `end` that have values, each with them."""
        minutes = self._minutes.get(metric, ())
        for minute in minutes[bisect.bisect_left(minutes, start) : bisect.bisect_left(minutes, end)]:
            yield minute, self._values[metric][minute]


def metric_of(namespace, name, dimensions):
    """What names a metric: each set of dimensions is a metric of its own."""
    return namespace, name, frozenset(dimensions.items())


def statistic(name, values):
    """A statistic of values."""
    plain = {
        "Sum": sum,
        "Maximum": max,
        "Minimum": min,
        "Average": lambda values: sum(values) / len(values),
        "SampleCount": len,
    }
    if name in plain:
        return plain[name](values)
    percentile = re.fullmatch(r"p(\d+(?:\.\d+)?)", str(name))
    if not percentile:
        raise CannotTell(f"the statistic {name} is not known")
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * float(percentile.group(1)) // 100) - 1)]


# --------------------------------------------------------------------------------------------------------- alarm
class Alarm:
    """An alarm, of its properties with all values filled in."""

    def __init__(self, properties):
        self.queries = {}
        self.result = None
        for query in map(mapping, items(properties.get("Metrics")) or [_single(properties)]):
            self.queries[str(query.get("Id"))] = query
            if truth(query.get("ReturnData", True)) is not False:
                self.result = str(query.get("Id"))
        self.periods = number(properties.get("EvaluationPeriods")) or 1
        self.needed = number(properties.get("DatapointsToAlarm")) or self.periods
        self.threshold = number(properties.get("Threshold"))
        self.breaches = COMPARISONS.get(properties.get("ComparisonOperator"))
        if self.result is None or self.threshold is None or self.breaches is None:
            raise CannotTell("it has no result that is compared with a threshold")
        if mapping(properties.get("EvaluationWindow")).get("WallClockWindow") is not None:
            raise CannotTell("windows by the wall clock are not known")
        self.metrics = {id: _watched(query) for id, query in self.queries.items() if query.get("MetricStat")}
        if not self.metrics or any(not period for _, _, period in self.metrics.values()):
            raise CannotTell("it has no metrics with a period")
        # In minutes; a shorter one is nothing to data that come by the minute.
        self.period = max(period for _, _, period in self.metrics.values())
        of_dynamodb = any(metric[0] == ALWAYS_IGNORED for metric, _, _ in self.metrics.values())
        self.missing = "ignore" if of_dynamodb else properties.get("TreatMissingData") or "missing"

    @property
    def minutes(self):
        """How long at most a data point has a say, in minutes."""
        return (self.periods + FURTHER_PERIODS) * self.period

    def states(self, data, start, end, late=0, aligned=False):
        """The state at each time from `start` until before `end`. `late` is a number or tells it of a name space."""
        state = INSUFFICIENT_DATA
        for now in range(start, end):
            state = self.state(data, now, state, late, aligned)
            yield now, state

    def state(self, data, now, before=INSUFFICIENT_DATA, late=0, aligned=False):
        """The state at a time, when this many minutes are over, given the one before it."""
        points = self.points(data, now, late, aligned)
        recent = [points[index] for index in sorted(points)]
        breaching = [self.breaches(value, self.threshold) for value in recent]
        if len(recent) >= self.periods:
            return ALARM if sum(breaching[: self.periods]) >= self.needed else OK
        filled = self.periods - len(recent) if self.missing == "breaching" else 0
        if sum(breaching) + filled >= self.needed:
            return ALARM
        if self.missing in ("breaching", "notBreaching"):
            return OK
        if not recent:
            return INSUFFICIENT_DATA if self.missing == "missing" else before
        # All that there is breaches, and began long enough ago: the guide's "premature" change.
        if all(breaching) and max(points) + 1 >= self.needed:
            return ALARM if self.missing == "missing" else before
        return OK

    def points(self, data, now, late=0, aligned=False):
        """The data points that the alarm sees at a time, by their age in periods."""
        known = {}
        found = self._value(self.result, known, lambda id: self._series(id, data, now, late, aligned))
        if not isinstance(found, dict):
            raise CannotTell("the expression gives a number and no series")
        return found

    def _value(self, id, known, series):
        """The value of a metric or an expression; what was asked already is in `known`."""
        if id not in known:
            if id in self.metrics:
                known[id] = series(id)
            elif id in self.queries:
                # Not to be asked for while it is being found.
                known[id] = {}
                count = self.periods + FURTHER_PERIODS
                expression = compiled(str(self.queries[id].get("Expression")))
                known[id] = expression(lambda other: self._value(other, known, series), count)
            else:
                raise CannotTell(f"the expression names {id}, which there is not")
        return known[id]

    def _series(self, id, data, now, late, aligned):
        metric, name, period = self.metrics[id]
        delay = late(metric[0]) if callable(late) else late
        end = -(-now // period) * period if aligned else now
        start = end - period * (self.periods + FURTHER_PERIODS)
        collected = {}
        for minute, values in data.between(metric, start, now - delay):
            collected.setdefault((end - 1 - minute) // period, []).extend(values)
        return {index: statistic(name, values) for index, values in collected.items()}


def _single(properties):
    """The query of an alarm on one metric."""
    metric = {key: properties.get(key) for key in ("Namespace", "MetricName", "Dimensions")}
    kind = properties.get("ExtendedStatistic") or properties.get("Statistic")
    return {"Id": "m", "MetricStat": {"Metric": metric, "Stat": kind, "Period": properties.get("Period")}}


def _watched(query):
    """The metric, the statistic and the period in minutes of a query."""
    stat = mapping(query.get("MetricStat"))
    metric = mapping(stat.get("Metric"))
    dimensions = {mapping(each).get("Name"): str(mapping(each).get("Value")) for each in items(metric.get("Dimensions"))}
    period = number(stat.get("Period")) or 0
    return (
        metric_of(metric.get("Namespace"), metric.get("MetricName"), dimensions),
        stat.get("Stat"),
        max(1, int(period // 60)) if period > 0 else 0,
    )


# --------------------------------------------------------------------------------------------------- metric math
_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*|\.\d+)|([A-Za-z_]\w*)|(>=|<=|==|!=|&&|\|\||[-+*/^()<>,\[\]]))")
# From those that bind least.
_LEVELS = [
    {"OR": lambda a, b: int(bool(a) or bool(b)), "||": lambda a, b: int(bool(a) or bool(b))},
    {"AND": lambda a, b: int(bool(a) and bool(b)), "&&": lambda a, b: int(bool(a) and bool(b))},
    {
        sign: lambda a, b, compare=compare: int(compare(a, b))
        for sign, compare in {
            ">": operator.gt,
            ">=": operator.ge,
            "<": operator.lt,
            "<=": operator.le,
            "==": operator.eq,
            "!=": operator.ne,
        }.items()
    },
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": lambda a, b: a / b if b else None},
    {"^": operator.pow},
]


@functools.lru_cache(maxsize=256)
def compiled(text):
    """An expression as a function of what an Id stands for and of how many periods are looked at."""
    parser = _Parser(text)
    found = parser.binary(0)
    if parser.ahead is not None:
        raise CannotTell(f"the expression goes on with {parser.ahead}")
    return found


class _Parser:
    def __init__(self, text):
        self._tokens, position, text = [], 0, text.strip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if not match:
                raise CannotTell(f"the expression holds {text[position:]}, which is not known")
            self._tokens.append(match.group(match.lastindex))
            position = match.end()
        self._tokens.reverse()

    @property
    def ahead(self):
        return self._tokens[-1] if self._tokens else None

    def take(self, wanted=None):
        if not self._tokens or wanted is not None and self.ahead != wanted:
            raise CannotTell(f"the expression has no {wanted or 'more'} before {self.ahead or 'its end'}")
        return self._tokens.pop()

    def binary(self, level):
        if level == len(_LEVELS):
            return self.single()
        left = self.binary(level + 1)
        while self.ahead in _LEVELS[level]:
            sign = self.take()
            left = _both(_LEVELS[level][sign], left, self.binary(level + 1))
        return left

    def single(self):
        token = self.take()
        if token == "(":
            inner = self.binary(0)
            self.take(")")
            return inner
        if token == "-":
            inner = self.single()
            return lambda of, count: _joined(operator.sub, 0, inner(of, count))
        if number(token) is not None:
            value = number(token)
            return lambda of, count: value
        if self.ahead == "(" and token in _FUNCTIONS:
            return functools.partial(_called, _FUNCTIONS[token], self.arguments())
        if self.ahead == "(" or not re.fullmatch(r"[a-z]\w*", token):
            raise CannotTell(f"the expression holds {token}, which is not known")
        return lambda of, count: of(token)

    def arguments(self):
        self.take("(")
        found = []
        while self.ahead != ")":
            if self.ahead in (",", "[", "]"):
                self.take()
                continue
            found.append(self.binary(0))
        self.take(")")
        return found


def _both(join, left, right):
    return lambda of, count: _joined(join, left(of, count), right(of, count))


def _joined(join, left, right):
    """Two values as one: numbers, or series by the age of their data points."""
    if not isinstance(left, dict) and not isinstance(right, dict):
        return join(left, right)
    if not isinstance(right, dict):
        found = {index: join(value, right) for index, value in left.items()}
    elif not isinstance(left, dict):
        found = {index: join(left, value) for index, value in right.items()}
    else:
        found = {index: join(left.get(index, 0), right.get(index, 0)) for index in left.keys() | right.keys()}
    return {index: value for index, value in found.items() if value is not None}


def _called(function, arguments, of, count):
    return function(count, *(argument(of, count) for argument in arguments))


def _fill(count, series, value):
    """The series with all its missing data points; a number is as it is."""
    if isinstance(value, dict):
        return {index: series.get(index, value.get(index)) for index in series.keys() | value.keys()}
    return {index: series.get(index, value) for index in range(count)} if isinstance(series, dict) else series


def _if(_count, condition, then, otherwise=None):
    """`then` where the condition holds, and `otherwise` where it does not: nothing where that has no data point."""
    if not isinstance(condition, dict):
        return then if condition else otherwise if otherwise is not None else {}
    found = {index: then if holds else otherwise for index, holds in condition.items()}
    found = {index: value.get(index) if isinstance(value, dict) else value for index, value in found.items()}
    return {index: value for index, value in found.items() if value is not None}


def _over(join):
    """A function of several series: at each time of the data points that there are."""

    def function(_count, *series):
        indexes = set().union(*(each.keys() for each in series))
        return {index: join([each[index] for each in series if index in each]) for index in indexes}

    return function


_FUNCTIONS = {
    "ABS": lambda count, series: {index: abs(value) for index, value in series.items()},
    "AVG": _over(lambda values: sum(values) / len(values)),
    "FILL": _fill,
    "IF": _if,
    "MAX": _over(max),
    "MIN": _over(min),
    "SUM": _over(sum),
}
