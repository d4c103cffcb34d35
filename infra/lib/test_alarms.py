"""Tests of the evaluator of alarms. The tables are those of the user guide's page on missing data.

Run with `python -m unittest test_alarms` in this folder; `infra/check` does it too.
"""

import unittest

from alarms import ALARM, INSUFFICIENT_DATA, OK, Alarm, CannotTell, Data, compiled, metric_of, statistic

METRIC = metric_of("ns", "Bad", {"Stack": "s"})
OTHER = metric_of("ns", "Other", {"Stack": "s"})


def alarm(periods=1, needed=None, missing="notBreaching", period=60, threshold=0, **rest):
    """An alarm on one metric."""
    return Alarm(
        {
            "Namespace": "ns",
            "MetricName": "Bad",
            "Dimensions": [{"Name": "Stack", "Value": "s"}],
            "Statistic": "Sum",
            "Period": period,
            "EvaluationPeriods": periods,
            "DatapointsToAlarm": needed,
            "Threshold": threshold,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": missing,
            **rest,
        }
    )


def query(id, name):
    """A query of one of the two metrics."""
    metric = {"Namespace": "ns", "MetricName": name, "Dimensions": [{"Name": "Stack", "Value": "s"}]}
    return {"Id": id, "ReturnData": False, "MetricStat": {"Metric": metric, "Stat": "Sum", "Period": 60}}


def by_math(expression, periods=1, needed=None):
    """An alarm by an expression of `bad` and `other`."""
    queries = [{"Id": "e", "Expression": expression}, query("bad", "Bad"), query("other", "Other")]
    return alarm(periods, needed, Metrics=queries, MetricName=None)


def data_of(values, metric=METRIC, data=None):
    """Data of a value a minute, or None."""
    data = data or Data()
    for minute, value in enumerate(values):
        if value is not None:
            data.add(metric, minute, value)
    return data


def on(alarm, data, minutes=30, **how):
    """The minutes that end in ALARM."""
    return [now - 1 for now, state in alarm.states(data, 1, minutes + 1, **how) if state == ALARM]


class MissingData(unittest.TestCase):
    """`-` is missing, `X` breaches, `0` does not; each row has the states with missing, ignore, breaching, notBreaching."""

    KINDS = ("missing", "ignore", "breaching", "notBreaching")

    def rows(self, needed, rows):
        for text, *expected in rows:
            data = data_of([{"-": None, "X": 1, "0": 0}[sign] for sign in text])
            for kind, state in zip(self.KINDS, expected):
                found = alarm(3, needed, kind).state(data, len(text), "as before")
                self.assertEqual(found, state, f"{text} with {kind}")

    def test_three_of_three(self):
        self.rows(
            3,
            [
                ("0-X-X", OK, OK, OK, OK),
                ("0----", OK, OK, OK, OK),
                ("-----", INSUFFICIENT_DATA, "as before", ALARM, OK),
                ("0XX-X", ALARM, ALARM, ALARM, ALARM),
                ("--X--", ALARM, "as before", ALARM, OK),
            ],
        )

    def test_two_of_three(self):
        self.rows(
            2,
            [
                ("0-X-X", ALARM, ALARM, ALARM, ALARM),
                ("00X0X", ALARM, ALARM, ALARM, ALARM),
                ("0-X--", OK, OK, ALARM, OK),
                ("----0", OK, OK, ALARM, OK),
                ("---X-", ALARM, "as before", ALARM, OK),
            ],
        )

    def test_alarms_on_dynamodb_stay_as_they_are(self):
        metric = metric_of("AWS/DynamoDB", "Bad", {"Stack": "s"})
        of_table = alarm(1, missing="notBreaching", Namespace="AWS/DynamoDB")
        self.assertEqual(on(of_table, data_of([1], metric), 20), list(range(20)))


class Windows(unittest.TestCase):
    """Periods, evaluation periods and lateness."""

    def test_a_period_slides(self):
        data = data_of([None] * 7 + [2, None, None, 2])
        self.assertEqual(on(alarm(period=300, threshold=3), data)[0], 10)
        self.assertEqual(on(alarm(period=300, threshold=3), data, aligned=True), [])

    def test_a_lone_data_point_is_seen_as_long_as_the_range_is(self):
        self.assertEqual(on(alarm(), data_of([None] * 5 + [1])), [5, 6, 7])
        self.assertEqual(on(alarm(period=300), data_of([None] * 5 + [1])), list(range(5, 20)))

    def test_a_later_data_point_takes_its_place(self):
        self.assertEqual(on(alarm(), data_of([0] * 5 + [1] + [0] * 5)), [5])

    def test_m_of_n(self):
        data = data_of([0, 1, 0, 0, 1, 0, 0, 0, 0, 0])
        self.assertEqual(on(alarm(5, 2), data, 10), [4, 5])
        self.assertEqual(on(alarm(3, 2), data, 10), [])

    def test_more_than_there_can_be(self):
        self.assertEqual(on(alarm(3, 4), data_of([1] * 30)), [])

    def test_late_data_are_seen_later(self):
        self.assertEqual(on(alarm(5, 1), data_of([1]), late=2)[0], 2)
        self.assertEqual(on(alarm(), data_of([1]), late=3), [])
        self.assertEqual(on(alarm(5, 1), data_of([1]), late=lambda namespace: 4)[0], 4)

    def test_silence(self):
        data = data_of([1] * 10 + [None] * 20)
        silent = alarm(3, 3, "breaching", threshold=1, ComparisonOperator="LessThanThreshold")
        self.assertEqual(on(silent, data), list(range(14, 30)))


class Math(unittest.TestCase):
    """Metric math."""

    def value(self, text, count=3, **series):
        return compiled(text)(series.__getitem__, count)

    def test_arithmetic(self):
        self.assertEqual(self.value("1 + 2 * 3 - (4 - 2) / 2"), 6)
        self.assertEqual(self.value("a + b", a={0: 1, 2: 5}, b={0: 2, 1: 3}), {0: 3, 1: 3, 2: 5})
        self.assertEqual(self.value("a / b", a={0: 1, 1: 1}, b={0: 2}), {0: 0.5})
        self.assertEqual(self.value("-a * 2", a={1: 1}), {1: -2})

    def test_logic(self):
        self.assertEqual(self.value("a >= 3 AND a > 0.05 * (a + b)", a={0: 3, 1: 2, 2: 3}, b={2: 97}), {0: 1, 1: 0, 2: 0})
        self.assertEqual(self.value("a > 1 || b == 0", a={0: 1}, b={0: 0}), {0: 1})
        self.assertEqual(self.value("IF(a > 1, 5, 0)", a={0: 1, 1: 2}), {0: 0, 1: 5})
        self.assertEqual(self.value("IF(a, b, 7)", a={0: 1, 1: 0, 2: 1}, b={0: 4}), {0: 4, 1: 7})

    def test_functions(self):
        self.assertEqual(self.value("FILL(a, 0)", a={1: 4}), {0: 0, 1: 4, 2: 0})
        self.assertEqual(self.value("SUM([a, b])", a={0: 1}, b={0: 2, 1: 3}), {0: 3, 1: 3})
        self.assertEqual(self.value("MAX([a, b]) - MIN([a, b])", a={0: 1}, b={0: 2}), {0: 1})

    def test_what_is_not_known(self):
        for text in ("ANOMALY_DETECTION_BAND(a)", "a +", "a ? b", "(a", "a b"):
            with self.assertRaises(CannotTell):
                self.value(text, a={0: 1})

    def test_fill_hides_what_is_late(self):
        data = data_of([None] * 5 + [5] * 5)
        filled, plain = "FILL(bad, 0) + FILL(other, 0)", "bad + other"
        self.assertEqual(on(by_math(filled), data), [5, 6, 7, 8, 9])
        for late in (1, 2, 3):
            self.assertEqual(on(by_math(filled), data, late=late), [])
            self.assertEqual(on(by_math(filled, 5, 1), data, late=late)[0], 5 + late)
            self.assertEqual(on(by_math(plain, 5, 1), data, late=late)[0], 5 + late)

    def test_an_expression_of_an_expression(self):
        chained = by_math("half * 4")
        chained.queries["half"] = {"Id": "half", "Expression": "bad / 2"}
        self.assertEqual(chained.points(data_of([3]), 1), {0: 6})


class Lines(unittest.TestCase):
    """The embedded metric format."""

    LINE = {
        "_aws": {
            "Timestamp": 1,
            "CloudWatchMetrics": [
                {"Namespace": "ns", "Dimensions": [["Stack"]], "Metrics": [{"Name": "Lag", "Unit": "Seconds"}]},
                {
                    "Namespace": "ns",
                    "Dimensions": [["Stack"], ["Stack", "Reason"], ["Stack", "Absent"]],
                    "Metrics": [{"Name": "Bad", "Unit": "Count"}, {"Name": "Absent", "Unit": "Count"}],
                },
            ],
        },
        "Stack": "s",
        "Reason": "why",
        "Lag": [3, 5],
        "Bad": 2,
    }

    def test_each_set_of_dimensions_is_a_metric(self):
        data = Data()
        data.add_line(self.LINE, 4, times=3)
        found = {metric[1:]: list(data.between(metric, 0, 9)) for metric in data._values}
        expected = {
            ("Lag", frozenset({("Stack", "s")})): [(4, [3, 5])],
            ("Bad", frozenset({("Stack", "s")})): [(4, [6])],
            ("Bad", frozenset({("Stack", "s"), ("Reason", "why")})): [(4, [6])],
        }
        self.assertEqual(found, expected)

    def test_statistics(self):
        values = list(range(1, 101))
        expected = {"Sum": 5050, "Maximum": 100, "Minimum": 1, "Average": 50.5, "SampleCount": 100, "p99": 99, "p50": 50}
        self.assertEqual({name: statistic(name, values) for name in expected}, expected)
        self.assertEqual(statistic("p99", [7]), 7)
        self.assertRaises(CannotTell, statistic, "Median", [7])


if __name__ == "__main__":
    unittest.main()
