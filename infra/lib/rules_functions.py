"""Rules about functions: what they run on, for how long, with which log, and how they are published."""

import os

import expand
import from_source
from graph import PROGRAMS, is_ours, program, programs, target
from model import ACCOUNT, conditions_in, items, mapping, number, references, truth
from rules import rule
from sources import call_seconds

# What a function is changed by without a new version.
UNVERSIONED = ("DeploymentPreference", "ReservedConcurrentExecutions", "VersionDescription")


@rule("functions run on a runtime that Lambda supports")
def runtime(stack):
    for function in stack.of("Lambda::Function"):
        if program(function) and function.get("Runtime") != "provided.al2023":
            yield function.id, f"Runtime is {function.get('Runtime')}; Rust programs run on provided.al2023"
        architectures = items(function.get("Architectures")) or ["x86_64"]
        if architectures not in (["arm64"], ["x86_64"]):
            yield function.id, f"Architectures is {architectures}; it must be [arm64] or [x86_64]"
        custom = str(function.get("Runtime")).startswith("provided")
        if custom and function.get("Handler") != "bootstrap":
            yield function.id, f"Handler is {function.get('Handler')}; a custom runtime starts the file bootstrap"
        if custom and function.get("SnapStart", "ApplyOn") not in (None, "None"):
            yield function.id, "SnapStart is not to be had on a custom runtime"
        if program(function) and function.get("VpcConfig"):
            yield function.id, "is in a VPC: without a NAT gateway it reaches neither AWS nor Stripe; remove VpcConfig"
        if program(function) and function.get("Layers"):
            yield function.id, "has layers; the program needs none, and their code sees its secrets"
        if function.get("RecursiveLoop") == "Allow":
            yield function.id, "RecursiveLoop Allow lets a loop through the queue run without an end; remove it"


@rule("functions have time and memory, within bounds")
def sizes(stack):
    for function in stack.of("Lambda::Function"):
        seconds, memory = number(function.get("Timeout") or 3), number(function.get("MemorySize") or 128)
        if seconds is None or not 1 <= seconds <= 900:
            yield function.id, f"Timeout is {function.get('Timeout')}; Lambda takes 1 to 900 s"
        elif program(function) and seconds <= call_seconds(program(function)):
            yield function.id, (
                f"Timeout is {seconds} s, but one call to AWS may take {call_seconds(program(function))} s: it"
                " would be killed before it can say what went wrong"
            )
        elif program(function) and seconds > 300:
            yield function.id, f"Timeout is {seconds} s: what hangs holds its messages and its environment that long"
        if memory is None or not 128 <= memory <= 10240:
            yield function.id, f"MemorySize is {function.get('MemorySize')}; Lambda takes 128 to 10240 MB"
        reserved = function.get("ReservedConcurrentExecutions")
        if reserved is not None and (number(reserved) is None or number(reserved) < 1):
            yield function.id, f"ReservedConcurrentExecutions is {reserved}: the function would never run"
        if number(reserved) is not None and number(reserved) < 5 and stack.is_default:
            yield function.id, f"ReservedConcurrentExecutions is {reserved}: so low a limit refuses events in any burst"


@rule("functions log to a group of their own, as JSON")
def logging(stack):
    owners = {}
    for function in stack.of("Lambda::Function"):
        name = function.get("LoggingConfig", "LogGroup") or f"/aws/lambda/{function.name}"
        group = stack.by("Logs::LogGroup", name)
        if group is None:
            yield function.id, (
                f"logs to {name}, which this template does not make: Lambda makes it without retention, and it is"
                " kept for ever; name a LogGroup in LoggingConfig"
            )
        elif group.id in owners:
            yield function.id, f"shares the log group {group.id} with {owners[group.id]}; give it its own"
        else:
            owners[group.id] = function.id
        if program(function) and function.get("LoggingConfig", "LogFormat") != "JSON":
            yield (
                function.id,
                "LoggingConfig.LogFormat is not JSON: Lambda's own lines could not be searched like the function's",
            )
        if function.get("LoggingConfig", "ApplicationLogLevel") in ("WARN", "ERROR", "FATAL"):
            yield function.id, "ApplicationLogLevel may keep back lines of metrics; use the variable LOG_LEVEL"
        if function.get("LoggingConfig", "SystemLogLevel") in ("ERROR", "FATAL"):
            yield function.id, "SystemLogLevel keeps back why an environment could not start; use WARN"


@rule("functions are called by an alias, published by each deployment")
def published(stack):
    callers = [
        (each, each.get("FunctionName")) for each in stack.of("Lambda::EventSourceMapping", "Lambda::Permission")
    ]
    callers += [(each, each.get("IntegrationUri")) for each in stack.of("ApiGatewayV2::Integration")]
    if not is_ours(stack):
        return
    for each, value in callers:
        function, alias = target(stack, value)
        if function and not alias:
            yield each.id, f"calls {function.id} without an alias: new code takes all traffic at once; use its alias"
    for alias in stack.of("Lambda::Alias"):
        if alias.get("FunctionVersion") == "$LATEST":
            yield alias.id, "points to $LATEST: there is no version to go back to"


@rule("the version before stays there to go back to")
def versions_kept(stack):
    for version in stack.of("Lambda::Version"):
        for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
            if version.raw.get(policy) != "Retain" and is_ours(stack):
                yield version.id, f"its {policy} is {version.raw.get(policy)}: the version to go back to is deleted"


@rule("new settings reach the alias too", once=True)
def all_properties(written):
    defaults = mapping(mapping(written.source.get("Globals")).get("Function"))
    for id, raw in mapping(written.source.get("Resources")).items():
        if mapping(raw).get("Type") != "AWS::Serverless::Function":
            continue
        properties = defaults | mapping(raw.get("Properties"))
        if properties.get("AutoPublishAlias") and truth(properties.get("AutoPublishAliasAllProperties")) is not True:
            yield id, (
                "has AutoPublishAlias without AutoPublishAliasAllProperties: a change of memory or of a variable"
                " makes no version, and the alias stays as it is"
            )


@rule("new values of parameters reach the alias too", once=True)
def described(written):
    # SAM names a version by the text of the properties, and a reference to a parameter is the same text for all its
    # values. A changed description makes a new version of it.
    template = written.source
    defaults = mapping(mapping(template.get("Globals")).get("Function"))
    for id, raw in mapping(template.get("Resources")).items():
        properties = defaults | mapping(mapping(raw).get("Properties"))
        if mapping(raw).get("Type") != "AWS::Serverless::Function" or not properties.get("AutoPublishAlias"):
            continue
        versioned = {key: value for key, value in properties.items() if key not in UNVERSIONED}
        named = {name for name, _ in references(properties.get("VersionDescription"))}
        for name in sorted(parameters_in(template, versioned) - named) if is_ours(written.stacks[0]) else ():
            yield id, (
                f"VersionDescription does not name {name}: a new value of it makes no version, and the alias stays as"
                " it is"
            )


def parameters_in(template, value):
    """The parameters that a value depends on, also by its conditions."""
    names = {name for name, _ in references(value)}
    for condition in set(conditions_in(value)):
        names |= {name for name, _ in references(mapping(template.get("Conditions")).get(condition))}
    return names & set(mapping(template.get("Parameters")))


@rule("functions are made of their own code by cargo-lambda", once=True)
def built(written):
    names = {}
    for id, raw in mapping(written.source.get("Resources")).items():
        properties = mapping(mapping(raw).get("Properties"))
        if mapping(raw).get("Type") != "AWS::Serverless::Function" or not isinstance(properties.get("CodeUri"), str):
            continue
        code, method = properties["CodeUri"], mapping(raw.get("Metadata")).get("BuildMethod")
        name = expand.code_name(code)
        binary = mapping(mapping(raw.get("Metadata")).get("BuildProperties")).get("Binary")
        if name in PROGRAMS and not code.endswith(".zip") and method != "rust-cargolambda":
            yield id, f"BuildMethod is {method}; SAM builds Rust with rust-cargolambda only"
        if code.endswith(".zip") and method is not None:
            yield id, f"has a BuildMethod beside {code}: SAM builds nothing where there is an archive"
        if binary not in (None, name):
            yield id, f"builds the binary {binary} from {code}"
        if name in PROGRAMS and name in names:
            yield id, f"runs the same program {name} as {names[name]}"
        names.setdefault(name, id)
        if properties.get("Role") and properties.get("Policies"):
            yield id, "has Policies beside its Role: SAM leaves them out"
        if written.own and code != f"../target/lambda/{name}/bootstrap.zip":
            yield id, f"CodeUri {code} is not where `cargo lambda build --output-format zip` puts it"
        if written.own and not os.path.isdir(os.path.join(os.path.dirname(written.path), "..", "functions", name)):
            yield id, f"there is no functions/{name}"


@rule("the template for sam build differs in nothing but the code", once=True)
def from_source_too(written):
    if not written.own:
        return
    with open(written.path, encoding="utf-8") as file:
        derived = expand.plain(expand.yaml_parse(from_source.derive(file.read())))
    for id, raw in mapping(derived.get("Resources")).items():
        if raw.get("Type") != "AWS::Serverless::Function":
            continue
        name = expand.code_name(raw["Properties"]["CodeUri"])
        built = {"BuildMethod": raw["Metadata"].pop("BuildMethod", None), **raw["Metadata"].pop("BuildProperties", {})}
        if built != {"BuildMethod": "rust-cargolambda", "Binary": name}:
            yield id, f"sam build would build {built} for {name}"
        raw["Properties"]["CodeUri"] = f"../target/lambda/{name}/bootstrap.zip"
    if derived != written.source:
        yield "template", "infra/lib/from_source.py changes more than the code"


@rule("there is no way in beside the signed one")
def way_in(stack):
    for url in stack.of("Lambda::Url"):
        if url.get("AuthType") != "AWS_IAM":
            yield url.id, "is a function URL open to everybody, past the API's throttles and access log; remove it"
    for permission in stack.of("Lambda::Permission"):
        if permission.get("Principal") == "*":
            yield permission.id, "lets everybody invoke the function; name the service and its SourceArn"
        if permission.get("Action") not in ("lambda:InvokeFunction", "lambda:InvokeFunctionUrl"):
            yield permission.id, f"Action is {permission.get('Action')}; it must be lambda:InvokeFunction"
        if permission.get("Principal") != "*" and not permission.get("SourceArn") and is_ours(stack):
            yield permission.id, "has no SourceArn: the service may call the function for any account's API; pin it"
        if permission.get("SourceAccount") not in (None, ACCOUNT):
            yield permission.id, f"SourceAccount is {permission.get('SourceAccount')}, another account"


@rule("each stack has this project's functions once")
def once_each(stack):
    names = [name for _, name in programs(stack)]
    for name in set(names):
        if names.count(name) > 1:
            yield "template", f"has {names.count(name)} functions that are the {name}"
    if is_ours(stack):
        for name in ("webhook", "consumer"):
            if name not in names:
                yield "template", f"has no {name} function: events are not taken all the way"
