"""What the functions write: JSON lines with ids and fixed words, metrics that the alarms wait for, and nothing planted."""

import json

from .run import require

# What cannot come about here: all requests are from one address, which the stack takes for one of Stripe's.
NOT_PLAYED = {"AddressNotListed"}
GROUPS = ("WebhookLogGroup", "ConsumerLogGroup", "AccessLogGroup")


def clean(ground):
    """Every line is a JSON object, and no secret, signature, e-mail address or payload is in any."""
    lines = _lines(ground)
    require(lines, "nothing was logged")
    odd = [line for line in lines if not isinstance(_json(line), dict)]
    require(not odd, f"{len(odd)} lines are no JSON objects: {odd[:2]}")
    found = {text for text in ground.planted for line in lines if text in line}
    require(not found, f"in the logs: {sorted(found)[:5]}")
    return f"{len(lines)} lines, {len(ground.planted)} planted texts looked for"


def metrics(ground):
    """Lines of metrics are there for every alarm and graph on them, with the same dimensions; none was forged."""
    written = set()
    for line in _lines(ground):
        about = _json(line).get("_aws")
        if about is None:
            continue
        for directive in about["CloudWatchMetrics"]:
            require(directive["Namespace"] == "billhook", f"a metric in {directive['Namespace']}: {line[:200]}")
            for names in directive["Dimensions"]:
                dimensions = frozenset((name, _json(line)[name]) for name in names)
                for metric in directive["Metrics"]:
                    require(metric["Name"] in _json(line), f"no value of {metric['Name']}: {line[:200]}")
                    written.add((metric["Name"], dimensions))
    wanted = {(name, dimensions) for name, dimensions in _wanted(ground) if name not in NOT_PLAYED}
    missing = sorted(f"{name} {dict(dimensions)}" for name, dimensions in wanted - written)
    require(not missing, f"waited for, but never written: {missing}")
    return f"{len(wanted)} metrics that alarms and the dashboard name, {len(written)} written"


def _wanted(ground):
    """The functions' own metrics that alarms and the dashboard name."""
    resolver = ground.stack.resolver()
    wanted = set()

    def want(metric):
        if metric.get("Namespace") == "billhook":
            wanted.add((metric["MetricName"], frozenset((it["Name"], it["Value"]) for it in metric["Dimensions"])))

    for resource in ground.stack.template["Resources"].values():
        if not resolver.conditions(resource):
            continue
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            properties = resolver.value(resource["Properties"])
            want(properties)
            for part in properties.get("Metrics", []):
                want(part.get("MetricStat", {}).get("Metric", {}))
        if resource["Type"] == "AWS::CloudWatch::Dashboard":
            body = json.loads(resolver.value(resource["Properties"])["DashboardBody"])
            for widget in body["widgets"]:
                for namespace, *rest in widget["properties"]["metrics"]:
                    if namespace == "billhook":
                        name, *pairs = [it for it in rest if isinstance(it, str)]
                        wanted.add((name, frozenset(zip(pairs[::2], pairs[1::2]))))
    return wanted


def _lines(ground):
    return [line for group in GROUPS if ground.has(group) for line in ground.log_lines(group)]


def _json(line):
    try:
        return json.loads(line)
    except ValueError:
        return None
