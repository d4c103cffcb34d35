"""What must be different in the expanded template so that ministack can create it. Everything that differs, differs here.

Knows the emulator's gaps, and nothing of what the stack does.
"""

import copy
import platform

# The functions' endpoint variables. ministack overwrites AWS_ENDPOINT_URL, these it leaves alone.
ENDPOINT_VARIABLES = (
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_EVENTBRIDGE",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_SQS",
)


def adapt(expanded, values, codes, endpoints, variables):
    """The expanded template for ministack, and the resources that were taken out of it.

    `values` are the parameters' values, `codes` the place of each function's code in S3, `endpoints` the address that
    each function finds AWS at, `variables` further ones for it; all three by the name of the function's code.
    """
    template = copy.deepcopy(expanded)
    resources = template["Resources"]
    out = {}

    # CodeDeploy is not there. The functions' new versions are then taken into use at once.
    for name in [name for name, it in resources.items() if it["Type"].startswith("AWS::CodeDeploy::")]:
        out[name] = resources.pop(name)
    for resource in resources.values():
        resource.pop("UpdatePolicy", None)

    # Alarms on metric math are refused.
    for name, resource in list(resources.items()):
        if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]:
            out[name] = resources.pop(name)

    # The value of a Number parameter arrives as text, and a batch size that is text ends the poller of all queues.
    numbers = {name: int(values[name]) for name, it in template["Parameters"].items() if it["Type"] == "Number"}
    template = _with_literals(template, numbers)

    # A secret's Ref is its name here and its ARN on AWS, which is what the functions shall see.
    secrets = {name for name, it in template["Resources"].items() if it["Type"] == "AWS::SecretsManager::Secret"}
    template = _with_arns(template, secrets)

    # A rule's Ref is its name here; on AWS that of a rule of another bus than the default one has the bus before it.
    template = _with_bare_rules(template)

    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            binary = resource["Properties"]["Code"]["S3Key"]
            # Where there is none, the parameters must leave the function out.
            if binary in codes:
                _run_here(resource["Properties"], codes[binary], endpoints[binary], variables.get(binary, {}))
    return template, out


def _run_here(properties, code, endpoint, variables):
    """Has a function run as a process of this machine, with the recording proxy between it and AWS."""
    properties["Code"] = code
    # The binaries under test are built for this machine.
    properties["Architectures"] = ["arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"]
    environment = properties["Environment"]["Variables"]
    environment.update({name: endpoint for name in ENDPOINT_VARIABLES})
    environment.update(variables)
    # Numbers of parameters were put in as such, and a process's environment holds texts.
    properties["Environment"]["Variables"] = {
        name: str(value) if isinstance(value, int) else value for name, value in environment.items()
    }


def _with_literals(value, numbers):
    if isinstance(value, dict):
        if len(value) == 1 and value.get("Ref") in numbers:
            return numbers[value["Ref"]]
        return {key: _with_literals(item, numbers) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_literals(item, numbers) for item in value]
    return value


def _with_bare_rules(value):
    if isinstance(value, dict):
        match value:
            case {"Fn::Select": [1, {"Fn::Split": ["|", {"Ref": rule}]}]}:
                return {"Ref": rule}
        return {key: _with_bare_rules(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_bare_rules(item) for item in value]
    return value


def _with_arns(value, secrets):
    if isinstance(value, dict):
        if len(value) == 1 and value.get("Ref") in secrets:
            return {"Fn::GetAtt": [value["Ref"], "Id"]}
        return {key: _with_arns(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_arns(item, secrets) for item in value]
    return value
