"""Rules about dashboards: CloudWatch shows an empty graph for a metric that is none."""

import json
import re

import metrics
from model import REGION, items, mapping
from rules import rule

STATISTIC = re.compile(
    r"Sum|Average|Minimum|Maximum|SampleCount|IQM|(p|tm|wm|tc|ts)\d{1,2}(\.\d+)?|p100|(TM|WM|PR|TC|TS)\(.*\)"
)


@rule("dashboards are JSON, with widgets")
def readable(stack):
    for dashboard in stack.of("CloudWatch::Dashboard"):
        name = dashboard.get("DashboardName")
        if name is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", str(name)):
            yield dashboard.id, f"DashboardName is {name}; CloudWatch takes letters, digits, - and _"
        found = body(dashboard)
        if found is None:
            yield dashboard.id, "DashboardBody is no JSON object: the stack cannot be made"
        elif not items(found.get("widgets")):
            yield dashboard.id, "has no widgets"
        for widget in items(mapping(found).get("widgets")):
            if mapping(widget).get("type") not in ("alarm", "custom", "explorer", "log", "metric", "text"):
                yield dashboard.id, f"a widget's type is {mapping(widget).get('type')}"
            x, width = (mapping(widget).get(key, default) for key, default in (("x", 0), ("width", 6)))
            if (
                not all(isinstance(each, int) for each in (x, width))
                or not 0 <= x <= 23
                or not 1 <= width <= 24
                or x + width > 24
            ):
                yield dashboard.id, f"a widget at x {x} is {width} wide; there are 24 columns"


@rule("dashboards show metrics that exist, of resources that exist")
def shown(stack):
    for dashboard in stack.of("CloudWatch::Dashboard"):
        for widget in items(mapping(body(dashboard)).get("widgets")):
            properties = mapping(mapping(widget).get("properties"))
            title = properties.get("title")
            if mapping(widget).get("type") == "metric" and not items(properties.get("metrics")):
                yield dashboard.id, f"{title!r} shows no metrics"
            if properties.get("region") not in (None, REGION):
                yield dashboard.id, f"{title!r} is of the Region {properties['region']}; use AWS::Region"
            period = properties.get("period", 60)
            if not isinstance(period, int) or period <= 0 or period % 60 and period not in (1, 5, 10, 20, 30):
                yield dashboard.id, f"{title!r} has the period {period}"
            for options in [
                properties,
                *(part for line in lines(properties) for part in line if isinstance(part, dict)),
            ]:
                if not STATISTIC.fullmatch(str(options.get("stat", "Sum"))):
                    yield dashboard.id, f"{title!r} has the statistic {options['stat']}, which there is not"
            for line in lines(properties):
                if isinstance(line[0], dict):
                    yield from ((dashboard.id, f"{title!r}: {problem}") for problem in search_problems(line[0]))
                    continue
                names = [part for part in line if isinstance(part, str)]
                if len(names) < 2:
                    yield dashboard.id, f"{title!r} has the metric {line}, without name space and name"
                    continue
                dimensions = dict(zip(names[2::2], names[3::2]))
                for problem in metrics.problems(stack, names[0], names[1], dimensions):
                    yield dashboard.id, f"{title!r}: {problem}"


def body(dashboard):
    """A dashboard's body, or None where it is no JSON object."""
    try:
        found = json.loads(dashboard.get("DashboardBody"))
    except (TypeError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def lines(properties):
    """The metrics of a widget, with the abbreviation `.` (as above) written out."""
    above = []
    for line in items(properties.get("metrics")):
        if not isinstance(line, list) or not line:
            continue
        line = [above[index] if part == "." and index < len(above) else part for index, part in enumerate(line)]
        above = [part for part in line if isinstance(part, str)]
        yield line


def search_problems(line):
    """What is wrong with a search expression; other expressions are not looked at."""
    found = re.match(r"SEARCH\('\{([^}]*)\}([^']*)'", str(line.get("expression", "")))
    if not found:
        return
    namespace, *dimensions = [part.strip().strip('"') for part in found.group(1).split(",")]
    named = re.search(r'MetricName="?(\w+)', found.group(2))
    metric = metrics.look_up(namespace, named.group(1)) if named else None
    if named and metric is None:
        yield f"there is no metric {named.group(1)} in {namespace}"
    elif metric and frozenset(dimensions) not in metric.dimensions:
        yield f"{namespace} does not keep {named.group(1)} by {dimensions}"
