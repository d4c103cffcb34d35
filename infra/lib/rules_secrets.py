"""Rules about secrets: their values never pass through CloudFormation."""

import re

from graph import environment, program
from model import mapping, references, truth
from rules import rule
from rules_environment import NO_SECRETS, SECRET_NAME, SECRET_VALUE


@rule("secrets hold no value of the template's")
def no_value(stack):
    for secret in stack.of("SecretsManager::Secret"):
        if secret.get("SecretString") is not None:
            yield secret.id, (
                "SecretString puts the value into the template and its history; leave it out and put it with"
                " put-secret-value"
            )
        template = secret.get("GenerateSecretString", "SecretStringTemplate")
        if template is not None and SECRET_VALUE.search(str(template)):
            yield secret.id, "SecretStringTemplate holds a secret"
        replicas = secret.get("ReplicaRegions")
        if replicas:
            yield secret.id, "is copied to other Regions, where nothing reads it; remove ReplicaRegions"
    for kind in ("SecretsManager::RotationSchedule",):
        for schedule in stack.of(kind):
            yield (
                schedule.id,
                "would replace a secret that only its source can change, and every event would be refused",
            )


@rule("the signing secret of Stripe is one that Stripe made")
def not_generated(stack):
    for function in stack.of("Lambda::Function"):
        if program(function) in ("webhook", "consumer"):
            for variable in ("STRIPE_WEBHOOK_SECRET_ARN", "STRIPE_API_KEY_SECRET_ARN"):
                secret = stack.by("SecretsManager::Secret", environment(function).get(variable))
                if secret and secret.get("GenerateSecretString"):
                    yield secret.id, (
                        "is generated: with a made-up secret every delivery is refused with 400 instead of 500, and"
                        " nobody is told that the real one is missing"
                    )


@rule("the template holds no secret", once=True)
def no_literals(written):
    for path, text in texts(written.source):
        # Descriptions say what a secret looks like.
        if path[-1:] in (["Description"], ["AlarmDescription"], ["comment"]):
            continue
        if SECRET_VALUE.search(text):
            yield (
                ".".join(map(str, path)),
                "holds what looks like a secret, or resolves one into the template; give its ARN to the code instead",
            )


def texts(value, path=()):
    """All texts in a template, with where they stand."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts(item, (*path, index))
    elif isinstance(value, str):
        yield list(path), value


@rule("no parameter takes a secret", once=True)
def no_parameters(written):
    for name, parameter in mapping(written.source.get("Parameters")).items():
        plain = re.sub(r"(Arn|Name|Id|Url|Path)$", "", name)
        variable = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
        named = SECRET_NAME.search(variable) and plain == name and variable.upper() not in NO_SECRETS
        if named or truth(mapping(parameter).get("NoEcho")):
            yield name, (
                "takes a secret, which then stands in the stack's history and in deployment scripts; use"
                " AWS::SecretsManager::Secret and put the value after the deployment"
            )


@rule("outputs show no secret", once=True)
def outputs(written):
    hidden = {name for name, p in mapping(written.source.get("Parameters")).items() if truth(mapping(p).get("NoEcho"))}
    for name, output in mapping(written.source.get("Outputs")).items():
        value = mapping(output).get("Value")
        if hidden & {reference for reference, _ in references(value)} or SECRET_VALUE.search(str(value)):
            yield name, "shows a secret to everybody who may see the stack"
