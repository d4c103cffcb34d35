"""Rules about the functions' variables: those that the code reads, pointing to what it expects."""

import re

from graph import environment, program, programs
from model import STACK_NAME, mapping, number, references
from rules import rule
from sources import variables

# Names that stand for a secret's value, unless they end in one that says where the secret is.
# It stands in the URL that Stripe is given, and every one who reads the access log sees it.
NO_SECRETS = {"WEBHOOK_PATH_TOKEN"}
SECRET_NAME = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|API_?KEY|PRIVATE|(^|_)KEY($|_)", re.I)
PLACE_NAME = re.compile(r"_(ARN|NAME|ID|URL|PATH|PARAMETER)$", re.I)
SECRET_VALUE = re.compile(r"whsec_|\b[sr]k_(live|test)_|\{\{resolve:|AKIA[0-9A-Z]{16}|-----BEGIN|ghp_|xox[bp]-")
# What the code takes, as it stands in crates/core/src/config.rs and the functions' config.rs.
NUMBERS = {
    "EVENT_RETENTION_DAYS": (45, 3650),
    "GRACE_DAYS": (0, 3650),
    "MAX_RECEIVE_COUNT": (1, 1000),
    "PURCHASE_DAYS": (0, 3650),  # or the word below
    "SIGNATURE_TOLERANCE_SECS": (1, 86400),
}
# Variables that Lambda sets.
LAMBDAS_OWN = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"}
WORDS = {"LOG_LEVEL": {"debug", "info", "warn", "error"}, "LOST_DISPUTE": {"ignore", "deny"}, "STRIPE_MODE": {"test", "live"}}
# A word that a number's place can have.
OR_WORD = {"PURCHASE_DAYS": "forever"}
TOLERANCE_MAX = 3600


def is_secret(variable):
    """Whether a variable holds a secret, by its name."""
    return variable not in NO_SECRETS and SECRET_NAME.search(variable) and not PLACE_NAME.search(variable)


@rule("the functions are given the variables that their code reads")
def names(stack):
    for function, name in programs(stack):
        known = variables(name)
        given = environment(function)
        for variable in sorted(key for key, required in (known or {}).items() if required and not given.get(key)):
            yield function.id, f"lacks the variable {variable}: the {name} does not start without it"
        for variable in sorted(set(given) - set(known or given)):
            if variable.startswith("AWS_"):
                if variable.startswith("AWS_ENDPOINT_URL") or variable in LAMBDAS_OWN:
                    yield function.id, f"is given {variable}: its calls would go elsewhere, or Lambda refuses it"
            else:
                yield function.id, f"is given {variable}, which the {name} does not read (see its config.rs)"
        if not given.get("STACK_NAME") or given["STACK_NAME"] != STACK_NAME:
            yield function.id, (
                f"STACK_NAME is {given.get('STACK_NAME')}: the alarms watch metrics under AWS::StackName and would"
                " see none"
            )
        if name == "webhook" and not given.get("STRIPE_WEBHOOK_SECRET_ARN"):
            yield (
                function.id,
                "lacks the variable STRIPE_WEBHOOK_SECRET_ARN: every delivery of Stripe's is answered 500",
            )


@rule("variables hold what the code expects of them")
def kinds(stack):
    for function, name in programs(stack):
        given = environment(function)
        for variable, value in given.items():
            bounds = NUMBERS.get(variable)
            if (
                bounds
                and value not in ("", OR_WORD.get(variable))
                and not (isinstance(number(value), int) and bounds[0] <= number(value) <= bounds[1])
            ):
                why = "; a dead letter waits up to 14 days and Stripe resends for 30" if bounds[0] == 45 else ""
                yield (
                    function.id,
                    f"{variable} is {value}; it must be a whole number from {bounds[0]} to {bounds[1]}{why}",
                )
            if variable in WORDS and value not in WORDS[variable]:
                yield function.id, f"{variable} is {value}; it must be one of {', '.join(sorted(WORDS[variable]))}"
        address = given.get("STRIPE_API_URL")
        if address not in (None, "https://api.stripe.com"):
            yield function.id, f"STRIPE_API_URL is {address}, which would be sent the API key; leave it out"
        tolerance = number(given.get("SIGNATURE_TOLERANCE_SECS"))
        if stack.is_default and tolerance is not None and not 30 <= tolerance <= TOLERANCE_MAX:
            yield function.id, (
                f"SIGNATURE_TOLERANCE_SECS is {tolerance} by default: a clock's drift refuses events, or a captured"
                " request can be replayed for long; Stripe's libraries use 300"
            )
        for variable in (key for key in given if key.endswith("_SECRET_ARN")):
            if not stack.by("SecretsManager::Secret", given[variable]):
                yield function.id, f"{variable} is {given[variable]}, the ARN of no secret of this template"
            if list(given.values()).count(given[variable]) > 1:
                yield function.id, (
                    f"{variable} is the same secret as another variable's: one source's secret would vouch for the"
                    " other"
                )
        for variable, index, expires in (("EVENTS_TABLE", "parked", True), ("BILLING_TABLE", "by_customer", False)):
            if variable not in given:
                continue
            table = stack.by("DynamoDB::Table", given[variable])
            if table is None:
                yield function.id, f"{variable} is {given[variable]}, the name of no table of this template"
            elif index not in index_names(table):
                yield function.id, (
                    f"{variable} is {table.id}, which has no index {index}: it is the wrong table, or the index is"
                    " missing"
                )
            elif bool(table.get("TimeToLiveSpecification")) != expires:
                yield table.id, (
                    "has no time to live, but is the ledger: its records would stay for ever"
                    if expires
                    else "has a time to live, but holds billing state: it would vanish by itself"
                )


def index_names(table):
    """The names of a table's indexes."""
    found = table.get("GlobalSecondaryIndexes")
    return [mapping(index).get("IndexName") for index in found] if isinstance(found, list) else []


@rule("parameters that are texts allow only the numbers that the code takes", once=True)
def patterns(written):
    parameters = mapping(written.expanded.get("Parameters"))
    for id, raw in mapping(written.expanded.get("Resources")).items():
        given = mapping(mapping(mapping(mapping(raw).get("Properties")).get("Environment")).get("Variables"))
        for variable in set(given) & set(NUMBERS):
            parameter = mapping(parameters.get(mapping(given[variable]).get("Ref")))
            pattern = parameter.get("AllowedPattern")
            if parameter.get("Type") != "String" or parameter.get("AllowedValues"):
                continue
            wrong = [
                text
                for text in ("x", "-1", "1.5", str(NUMBERS[variable][1] + 1))
                if not pattern or re.fullmatch(str(pattern), text)
            ]
            if wrong:
                yield given[variable]["Ref"], f"allows {wrong}, with which {id} does not start ({variable})"


@rule("a secret's variable points to the secret of its source")
def sources(stack):
    for function, _ in programs(stack):
        for variable, value in environment(function).items():
            secret = stack.by("SecretsManager::Secret", value)
            if not variable.endswith("_SECRET_ARN") or secret is None:
                continue
            text = re.sub(r"[^a-z]", "", f"{secret.id} {secret.get('Name')} {secret.get('Description')}".lower())
            bear = variable.startswith("BEARBILLING")
            key = "API_KEY" in variable
            wrong = bear != ("bearbilling" in text) and ("stripe" in text or "bearbilling" in text)
            wrong |= key != ("apikey" in text) and ("sign" in text or "apikey" in text)
            if wrong:
                yield function.id, f"{variable} is {secret.id}, which by its name and description is another secret"


@rule("parameters reach the variables of the same name")
def same_parameter(stack):
    parameters = {re.sub("[^a-z]", "", name.lower()): name for name in mapping(stack.template.get("Parameters"))}
    for function in stack.of("Lambda::Function"):
        raw = mapping(mapping(mapping(function.raw.get("Properties")).get("Environment")).get("Variables"))
        for variable, value in raw.items():
            plain = re.sub("[^a-z]", "", variable.lower())
            own = parameters.get(plain) or parameters.get({"stripemode": "mode"}.get(plain))
            if own and own not in {name for name, _ in references(value)}:
                yield function.id, f"{variable} does not come from the parameter {own}, which would change nothing"
        for variable in sorted(set(variables(program(function)) or ()) - set(raw)):
            own = parameters.get(re.sub("[^a-z]", "", variable.lower()))
            if own:
                yield function.id, f"is not given {variable}, so the parameter {own} changes nothing for it"
        mode = raw.get("STRIPE_MODE")
        if program(function) == "consumer" and isinstance(mode, str):
            yield function.id, (
                f"STRIPE_MODE is always {mode}: a stack of the other mode would ignore all of its events; let it"
                " come from a parameter"
            )


@rule("no secret passes through a variable")
def no_secrets(stack):
    hidden = {
        name
        for name, p in mapping(stack.template.get("Parameters")).items()
        if str(mapping(p).get("NoEcho")).lower() == "true"
    }
    for function in stack.of("Lambda::Function"):
        raw = mapping(mapping(mapping(function.raw.get("Properties")).get("Environment")).get("Variables"))
        for variable, value in environment(function).items():
            if is_secret(variable):
                yield function.id, (
                    f"{variable} is by its name a secret, and everybody who may see the function's settings can"
                    " read it; give the secret's ARN"
                )
            if isinstance(value, str) and SECRET_VALUE.search(value):
                yield function.id, (
                    f"{variable} holds a secret, and everybody who may see the function's settings can read it;"
                    " give the secret's ARN"
                )
            if hidden & {name for name, _ in references(raw.get(variable))}:
                yield function.id, f"{variable} comes from a NoEcho parameter, which it shows; give a secret's ARN"
