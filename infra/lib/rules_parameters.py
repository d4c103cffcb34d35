"""Rules about parameters and outputs: what who deploys the stack is asked and told."""

import os
import re
import tomllib

import scenarios
from graph import dead_letter_queues, environment, is_ours, program, programs, redrive
from model import STREAM_LABEL, items, mapping, number, references
from rules import rule

# Words in the name of an output that tells a variable's value.
TOLD_BY = {
    "EVENTS_TABLE": ("events", "ledger"),
    "BILLING_TABLE": ("billing", "state"),
    "STRIPE_WEBHOOK_SECRET_ARN": ("stripewebhook", "signing"),
    "BEARBILLING_WEBHOOK_SECRET_ARN": ("bear",),
    "STRIPE_API_KEY_SECRET_ARN": ("apikey",),
}


@rule("parameters are described, and take only what works", once=True)
def bounded(written):
    used = {name for name, _ in references(without_descriptions(written.source))}
    for name, parameter in mapping(written.source.get("Parameters")).items():
        parameter = mapping(parameter)
        default, allowed = parameter.get("Default"), items(parameter.get("AllowedValues"))
        if not str(parameter.get("Description") or "").strip():
            yield name, "has no Description: who deploys the stack must guess"
        if name not in used:
            yield name, "is a parameter that nothing uses: setting it changes nothing"
        if parameter.get("Type") == "Number" and not allowed:
            low, high = number(parameter.get("MinValue")), number(parameter.get("MaxValue"))
            if low is None or high is None:
                yield name, "has no MinValue and MaxValue: a slip of the finger is deployed"
            elif low > high:
                yield name, f"MinValue {low} is above MaxValue {high}"
            elif default is not None and (number(default) is None or not low <= number(default) <= high):
                yield name, f"the Default {default} is not from {low} to {high}: the stack cannot be made"
        if default is not None and allowed and str(default) not in map(str, allowed):
            yield name, f"the Default {default} is not among {allowed}: the stack cannot be made"
        if (
            parameter.get("Type") == "String"
            and not allowed
            and not parameter.get("AllowedPattern")
            and is_ours(written.stacks[0])
        ):
            yield name, "has neither AllowedValues nor AllowedPattern: a slip of the finger is deployed"
        if parameter.get("AllowedPattern") is not None:
            yield from ((name, problem) for problem in pattern_problems(parameter["AllowedPattern"], default))
        if default is None and is_ours(written.stacks[0]):
            yield name, "has no Default"


def without_descriptions(value):
    """A template without what has no effect: its parameters themselves, and the text that describes a version."""
    if isinstance(value, list):
        return [without_descriptions(item) for item in value]
    if isinstance(value, dict):
        idle = ("Parameters", "VersionDescription")
        return {key: without_descriptions(item) for key, item in value.items() if key not in idle}
    return value


def pattern_problems(pattern, default):
    """What is wrong with an `AllowedPattern`."""
    try:
        fits = default is None or re.fullmatch(str(pattern), str(default))
    except re.error as error:
        yield f"AllowedPattern is no regular expression: {error}"
        return
    if not fits:
        yield f"the Default {default!r} does not match the AllowedPattern {pattern}: the stack cannot be made"


@rule("the stream of a named table is asked for", once=True)
def asked(written):
    rules = [mapping(each).get("Assertions") for each in mapping(written.expanded.get("Rules")).values()]
    asserted = {name for name, _ in references(rules)}
    for name, value in scenarios.named_tables(written.expanded).items():
        if value == STREAM_LABEL and name not in asserted:
            yield name, "no assertion under Rules asks for it: without it the mapping cannot be made, halfway through"


@rule("the console groups parameters that there are", once=True)
def groups(written):
    interface = mapping(mapping(written.source.get("Metadata")).get("AWS::CloudFormation::Interface"))
    listed = [
        name for group in items(interface.get("ParameterGroups")) for name in items(mapping(group).get("Parameters"))
    ]
    parameters = mapping(written.source.get("Parameters"))
    for name in listed:
        if name not in parameters:
            yield "Metadata", f"groups the parameter {name}, which there is not"
    for name in parameters if listed else ():
        if listed.count(name) != 1:
            yield name, f"is in {listed.count(name)} of the parameter groups; it must be in one"


@rule("the outputs say what is needed after the deployment")
def outputs(stack):
    if not is_ours(stack):
        return
    values = [str(output.get("Value")) for output in stack.outputs.values()]
    for name, output in stack.outputs.items():
        if not output.get("Description"):
            yield name, "has no Description"
    for function, name in programs(stack):
        given = environment(function)
        for variable in ("QUEUE_URL", "EVENTS_TABLE", "BILLING_TABLE"):
            if variable in given and str(given[variable]) not in values:
                yield "Outputs", f"do not tell {given[variable]}, the {variable} of {function.id}"
        for variable, value in given.items():
            if variable.endswith("_SECRET_ARN") and str(value) not in values:
                yield "Outputs", f"do not tell {value}, where {variable} must be put"
    for queue in dead_letter_queues(stack):
        if (
            any(redrive(source).get("deadLetterTargetArn") == queue.arn for source in stack.of("SQS::Queue"))
            and queue.ref not in values
        ):
            yield "Outputs", f"do not tell {queue.ref}, where dead letters are"
    for name, output in stack.outputs.items():
        if values.count(str(output.get("Value"))) > 1:
            yield name, f"tells {output.get('Value')}, which another output tells as well: something else was meant"
    if any(program(function) == "webhook" for function in stack.of("Lambda::Function")):
        routes = [str(route.get("RouteKey")).partition(" ")[2] for route in stack.of("ApiGatewayV2::Route")]
        for path in filter(None, routes):
            hosts = [f"https://{api.ref}.execute-api." for api in stack.of("ApiGatewayV2::Api")]
            if stack.of("ApiGatewayV2::DomainName"):
                hosts.append("https://")
            if not any(value.startswith(tuple(hosts)) and value.endswith(path) for value in values):
                yield "Outputs", f"do not tell the URL of {path}"


@rule("outputs tell what their names say")
def names(stack):
    values = {
        variable: str(value) for function, _ in programs(stack) for variable, value in environment(function).items()
    }
    for name, output in stack.outputs.items():
        value = str(output.get("Value"))
        variable = next((variable for variable, own in values.items() if own == value and variable in TOLD_BY), None)
        if (
            variable
            and not any(word in name.lower() for word in TOLD_BY[variable])
            and any(word in name.lower() for other, words in TOLD_BY.items() if other != variable for word in words)
        ):
            yield name, f"tells {value}, which is the {variable}"
        dead = {queue.ref for queue in dead_letter_queues(stack)} | {queue.arn for queue in dead_letter_queues(stack)}
        if "dead" in name.lower() and stack.of("SQS::Queue") and value not in dead:
            yield name, f"tells {value}, which is no dead-letter queue"


@rule("samconfig.toml has a stack for each of Stripe's modes", once=True)
def samconfig(written):
    if not written.own:
        return
    path = os.path.join(os.path.dirname(written.path), "samconfig.toml")
    try:
        with open(path, "rb") as file:
            config = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        yield "samconfig.toml", f"cannot be read: {error}"
        return
    parameters = mapping(written.source.get("Parameters"))
    for mode in ("test", "live"):
        deploy = mapping(mapping(mapping(config.get(mode)).get("deploy")).get("parameters"))
        overrides = deploy.get("parameter_overrides", "")
        text = overrides if isinstance(overrides, str) else " ".join(overrides)
        chosen = dict(re.findall(r"(\w+)=\"?([^\s\"]*)", text))
        if chosen.get("Mode") != mode:
            yield "samconfig.toml", f"[{mode}] does not set Mode={mode}"
        if not str(deploy.get("stack_name", "")).endswith(mode):
            yield "samconfig.toml", f"[{mode}] has the stack_name {deploy.get('stack_name')}"
        for name in set(chosen) - set(parameters):
            yield "samconfig.toml", f"[{mode}] sets {name}, which is no parameter"


@rule("the runbook has a section for each alarm", once=True)
def runbook(written):
    path = os.path.join(os.path.dirname(written.path), "RUNBOOK.md")
    if not written.own or not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as file:
        headings = {line.lstrip("#").strip() for line in file if line.startswith("#")}
    for id, raw in mapping(written.source.get("Resources")).items():
        if mapping(raw).get("Type") == "AWS::CloudWatch::Alarm":
            named = re.search(r'RUNBOOK\.md, "([^"]+)"', str(mapping(raw.get("Properties")).get("AlarmDescription")))
            if not named:
                yield id, "its AlarmDescription names no section of RUNBOOK.md"
            elif named.group(1) not in headings:
                yield id, f"RUNBOOK.md has no section {named.group(1)!r}"
