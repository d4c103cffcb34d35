"""Rules about the template as a whole: references, conditions, what is of no use, what is switched off."""

import re

import scenarios
from graph import is_ours
from model import NAME_PROPERTIES, PSEUDO, conditions_in, items, mapping, references
from rules import rule

# What is made only for others to use it.
FOR_OTHERS = (
    "ApiGatewayV2::Api",
    "ApiGatewayV2::Integration",
    "DynamoDB::Table",
    "IAM::Role",
    "KMS::Key",
    "Lambda::Alias",
    "Logs::LogGroup",
    "SNS::Topic",
    "SQS::Queue",
    "SecretsManager::Secret",
)
# What refers to everything, or only guards it: a queue that only its policy names is of no use.
GUARDS = (
    "AWS::SQS::QueuePolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SNS::Subscription",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
)


@rule("references lead to something", once=True)
def dangling(written):
    template = written.expanded
    names = set(PSEUDO) | set(mapping(template.get("Parameters"))) | set(mapping(template.get("Resources")))
    for section in ("Resources", "Outputs"):
        for id, raw in mapping(template.get(section)).items():
            for name, attribute in references(raw):
                if name not in names:
                    yield id, f"refers to {name}, which is no parameter and no resource"
                elif attribute and name not in mapping(template.get("Resources")):
                    yield id, f"asks for {name}.{attribute}, but {name} is no resource"
            for name in items(mapping(raw).get("DependsOn")):
                if name not in mapping(template.get("Resources")):
                    yield id, f"depends on {name}, which is no resource"


@rule("nothing refers to what is not there under its condition")
def absent(stack):
    for resource in stack.resources.values():
        for name in sorted(needed(stack, [resource.raw.get("Properties"), resource.raw.get("UpdatePolicy")])):
            if name in stack.all and name not in stack.resources:
                yield (
                    resource.id,
                    f"refers to {name}, which is not there then; give both the same Condition or use Fn::If",
                )
    for name, raw in mapping(stack.template.get("Outputs")).items():
        if name in stack.outputs:
            for id in sorted(needed(stack, mapping(raw).get("Value"))):
                if id in stack.all and id not in stack.resources:
                    yield name, f"refers to {id}, which is not there then; give the output its Condition"


def needed(stack, value):
    """The resources that a value refers to in the branches that are taken."""
    if isinstance(value, list):
        return {name for item in value for name in needed(stack, item)}
    if not isinstance(value, dict):
        return set()
    choice = value.get("Fn::If")
    if isinstance(choice, list) and len(choice) == 3:
        return needed(stack, choice[1] if stack.holds(choice[0]) else choice[2])
    own = {name for name, _ in references({key: item for key, item in value.items() if key in ("Ref", "Fn::GetAtt")})}
    if "Fn::Sub" in value:
        text, variables = (items(value["Fn::Sub"]) + [None])[:2]
        own |= {name for name, _ in references({"Fn::Sub": text})} - set(mapping(variables))
        own |= needed(stack, variables)
    return own | {name for key, item in value.items() if key != "Fn::Sub" for name in needed(stack, item)}


@rule("conditions exist, are used, and can hold", once=True)
def conditions(written):
    template = written.expanded
    known = mapping(template.get("Conditions"))
    used = set(conditions_in([template.get("Resources"), template.get("Outputs")]))
    for section in ("Resources", "Outputs"):
        for id, raw in mapping(template.get(section)).items():
            if isinstance(mapping(raw).get("Condition"), str):
                used.add(raw["Condition"])
                if raw["Condition"] not in known:
                    yield id, f"has the condition {raw['Condition']}, which is not defined"
    in_conditions = set(re.findall(r"'Condition': '(\w+)'", str(known)))
    for name in sorted(used - set(known)):
        yield "template", f"uses the condition {name}, which is not defined"
    for name in sorted(set(known) - used - in_conditions):
        yield name, "is a condition that nothing uses"
    for name, literal in scenarios.comparisons(template):
        parameter = mapping(mapping(template.get("Parameters")).get(name))
        allowed = items(parameter.get("AllowedValues"))
        if allowed and str(literal) not in map(str, allowed):
            yield (
                name,
                f"a condition compares it with {literal!r}, which it can never be ({', '.join(map(str, allowed))})",
            )
    for name in sorted(set(known) - in_conditions):
        if len({stack.holds(name) for stack in written.stacks}) == 1 and name in used:
            yield name, "is a condition that no parameter changes"


@rule("what is switched off is not there, and what is switched on is", once=True)
def switches(written):
    usual = written.stacks[0]
    parameters = mapping(written.expanded.get("Parameters"))
    for stack in written.stacks[1:]:
        changed = [name for name, value in stack.values.items() if str(value) != str(usual.values.get(name))]
        if len(changed) != 1:
            continue
        pair = {off(stack.values[changed[0]]): stack, off(usual.values[changed[0]]): usual}
        if set(pair) != {True, False} or changed[0] not in parameters:
            continue
        # A table is not made where a parameter names one.
        for id in sorted(set(pair[True].resources) - set(pair[False].resources) - set(pair[False].given)):
            yield id, (
                f"is there when {changed[0]} is {pair[True].values[changed[0]]!r}, and not when it is"
                f" {pair[False].values[changed[0]]!r}: the condition is the wrong way round"
            )


def off(value):
    """Whether a parameter's value means no, without, or only for tests."""
    return str(value).lower() in ("", "disabled", "false", "no", "none", "off", "test", "dev", "0")


@rule("nothing is made that nothing uses")
def unused(stack):
    used = {}
    for resource in stack.resources.values():
        for name in needed(stack, [resource.raw.get("Properties"), resource.raw.get("UpdatePolicy")]):
            used.setdefault(name, set()).add(resource)
    for resource in (each for each in stack.of(*FOR_OTHERS) if each.id in stack.resources):
        users = {user for user in used.get(resource.id, set()) if user is not resource}
        own = {each for each in users if each.type not in GUARDS}
        alarmed = resource.type == "AWS::SNS::Topic" and any(user.type.startswith("AWS::CloudWatch") for user in users)
        named = resource.raw_value("LogGroupName") is not None
        if not own and not alarmed and not named and is_ours(stack):
            yield resource.id, f"is an {resource.type} that nothing uses: something else was meant to"


@rule("no two resources have the same name")
def named_twice(stack):
    seen = {}
    for resource in stack.resources.values():
        if resource.type in NAME_PROPERTIES and resource.raw_value(NAME_PROPERTIES[resource.type]) is not None:
            first = seen.setdefault((resource.type, resource.name), resource)
            if first is not resource:
                yield resource.id, f"has the same {NAME_PROPERTIES[resource.type]} as {first.id}: {resource.name}"


@rule("the expansion leaves nothing of SAM", once=True)
def leftovers(written):
    for id, raw in mapping(written.expanded.get("Resources")).items():
        kind = mapping(raw).get("Type")
        if not isinstance(raw, dict) or not isinstance(kind, str):
            yield id, "is no resource with a Type"
        elif kind.startswith("AWS::Serverless::"):
            yield id, f"is an {kind}, but the template has no Transform: AWS::Serverless-2016-10-31"
        elif kind.startswith("AWS::") and not isinstance(raw.get("Properties", {}), dict):
            yield id, "its Properties are no mapping"
    if not mapping(written.expanded.get("Resources")):
        yield "template", "has no Resources"


@rule("each check that is skipped says why", once=True)
def skips(written):
    for id, raw in mapping(written.source.get("Resources")).items():
        metadata = mapping(mapping(raw).get("Metadata"))
        for skip in map(mapping, items(mapping(metadata.get("checkov")).get("skip"))):
            if not re.fullmatch(r"CKV2?_[A-Z]+_\d+", str(skip.get("id"))):
                yield id, f"skips {skip.get('id')}, which is no check of checkov's"
            if len(str(skip.get("comment") or "").strip()) < 15:
                yield id, f"skips {skip.get('id')} without saying why; give the skip a comment"
        switched_off = mapping(metadata.get("cfn-lint")).get("config")
        if switched_off and not (switched_off == {"ignore_checks": ["W3011"]} and keeps_versions(raw)):
            yield id, "switches rules of cfn-lint off; mend what they find"
    if mapping(mapping(mapping(written.source.get("Metadata")).get("cfn-lint")).get("config")).get("ignore_checks"):
        yield "Metadata", "switches rules of cfn-lint off; mend what they find"


def keeps_versions(raw):
    """Whether it is a function whose replaced versions are kept, and not it: then W3011 asks for what must not be."""
    return (
        mapping(raw).get("Type") == "AWS::Serverless::Function"
        and mapping(raw).get("UpdateReplacePolicy") == "Retain"
        and "DeletionPolicy" not in raw
    )
