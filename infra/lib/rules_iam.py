"""Rules about roles: each may do what its function needs, on what it needs it for, and nothing else."""

import re

from graph import environment, failure_destination, is_ours, mappings, program
from iam import arn_matches, is_allowed, is_harmless, is_within, role_statements, statements
from model import ACCOUNT, REGION, items, mapping, truth
from rules import rule
from sources import calls

LOG_ACTIONS = ("logs:CreateLogStream", "logs:PutLogEvents")
QUEUE_ACTIONS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
STREAM_ACTIONS = ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator")
TRACE_ACTIONS = ("xray:PutTraceSegments", "xray:PutTelemetryRecords")
# Actions that take no resource.
ANY_RESOURCE = {*TRACE_ACTIONS, "dynamodb:ListStreams", "cloudwatch:PutMetricData"}
# Policies of AWS's that SAM adds to a role it makes itself.
SAM_POLICIES = (
    "AWSLambdaBasicExecutionRole",
    "AWSLambdaSQSQueueExecutionRole",
    "AWSLambdaDynamoDBExecutionRole",
    "AWSXrayWriteOnlyAccess",
    "AWSXRayDaemonWriteAccess",
)
# The whole of what is named by the last part: every table, every secret.
EVERY = re.compile(r"((table|event-bus|key|role|rule)/|(secret|function|log-group):)?[*:]*")
READS = ("Get", "BatchGet", "Query", "Scan", "Describe", "List", "ConditionCheck")


def identity_documents(stack):
    """All policy documents that are attached to roles or can be, with the resource they stand in."""
    for role in stack.of("IAM::Role"):
        for policy in items(role.get("Policies")):
            yield role, mapping(policy).get("PolicyDocument")
    for policy in stack.of("IAM::Policy", "IAM::ManagedPolicy", "IAM::RolePolicy"):
        yield policy, policy.get("PolicyDocument")


@rule("policies have no wildcards and no exceptions")
def exact(stack):
    for owner, document in identity_documents(stack):
        version = mapping(document).get("Version")
        # SAM's own policy templates have none.
        if version != "2012-10-17" and (version or is_ours(stack)):
            yield owner.id, f"a policy's Version is {version}; it must be 2012-10-17"
        if not statements(document):
            yield owner.id, "has a policy without statements"
        for each in statements(document):
            if each.effect not in ("Allow", "Deny"):
                yield owner.id, f"statement {each.id}: Effect is {each.effect}"
            for key in each.negated:
                yield owner.id, f"statement {each.id} uses {key}, which means everything but a few; list what is meant"
            if not each.allows:
                continue
            for action in each.actions:
                if action.endswith(":*") or action == "*" or is_ours(stack) and set("*?") & set(action):
                    yield owner.id, f"statement {each.id} allows {action}; name the actions that are called"
            for resource in each.resources:
                named = resource.split(":", 5)
                wide = len(named) < 6 or EVERY.fullmatch(named[5]) or "*" in "".join(named[:3])
                if wide and not set(each.actions) <= ANY_RESOURCE:
                    yield (
                        owner.id,
                        f"statement {each.id} allows {', '.join(each.actions)} on {resource}; name the resource's ARN",
                    )
                elif len(named) == 6 and (named[3] not in ("", REGION) or named[4] not in ("", ACCOUNT, "aws")):
                    yield (
                        owner.id,
                        f"statement {each.id} is about {resource}, of another account or Region; use a reference",
                    )
            if not each.resources and not each.negated:
                yield owner.id, f"statement {each.id} names no resource"


@rule("roles have no policies but the ones written here")
def own_policies(stack):
    for role in stack.of("IAM::Role"):
        for arn in map(str, items(role.get("ManagedPolicyArns"))):
            known = stack.by("IAM::ManagedPolicy", arn)
            tolerated = not is_ours(stack) and arn.rsplit("/", 1)[-1] in SAM_POLICIES
            if not known and not tolerated:
                yield (
                    role.id,
                    f"has the managed policy {arn}, which allows more than is needed; write the statements out",
                )
    for forbidden in stack.of("IAM::User", "IAM::AccessKey", "IAM::Group", "IAM::UserToGroupAddition"):
        yield forbidden.id, f"is an {forbidden.type}: the functions use roles; long-lived credentials are a way in"


@rule("roles can be taken by the service that needs them, and by nobody else")
def trust(stack):
    for role in stack.of("IAM::Role"):
        wanted = {
            "lambda.amazonaws.com" for function in stack.of("Lambda::Function") if function.get("Role") == role.arn
        }
        wanted |= {
            "codedeploy.amazonaws.com"
            for group in stack.of("CodeDeploy::DeploymentGroup")
            if group.get("ServiceRoleArn") == role.arn
        }
        trusted = statements(role.get("AssumeRolePolicyDocument"))
        allowed = {
            service
            for each in trusted
            if each.allows and each.names_action("sts:AssumeRole") and is_harmless(each.condition)
            for service in each.services()
        }
        for service in sorted(wanted - allowed):
            yield role.id, f"cannot be taken by {service}, which needs it: what uses it fails"
        for service in sorted(allowed - wanted if wanted else set()):
            yield role.id, f"can be taken by {service}, which has no use for it"
        for each in trusted:
            others = set(mapping(each.principal)) - {"Service"}
            if each.is_for_everybody() or others or each.negated:
                yield role.id, f"can be taken by {each.principal}, not just by a service; remove it"
            if set(each.actions) - {"sts:AssumeRole", "sts:TagSession"}:
                yield role.id, f"the trust policy allows {each.actions}; it must be sts:AssumeRole"
    for function in stack.of("Lambda::Function"):
        if not stack.by("IAM::Role", function.get("Role"), "arn"):
            yield function.id, f"Role {function.get('Role')} is no role of this template; use GetAtt of its Arn"
    roles = [function.get("Role") for function in stack.of("Lambda::Function")]
    for function in stack.of("Lambda::Function"):
        if roles.count(function.get("Role")) > 1 and is_ours(stack):
            yield function.id, "shares its role with another function, so each may do what only the other needs"


@rule("each function's role allows what the function calls")
def sufficient(stack):
    for function, role, needed, _ in functions_and_needs(stack):
        granted = role_statements(stack, role)
        for action, arn in sorted(needed):
            if not is_allowed(granted, action, arn):
                yield role.id, f"does not allow {action} on {arn}, which {function.id} needs: that call is refused"


@rule("each function's role allows nothing else")
def necessary(stack):
    for function, role, needed, optional in functions_and_needs(stack):
        if not program(function):
            continue
        known = needed | optional
        for each in role_statements(stack, role):
            for action in each.actions if each.allows else ():
                for resource in each.resources:
                    if not any(action.lower() == own.lower() and is_within(resource, arn) for own, arn in known):
                        yield role.id, (
                            f"statement {each.id} allows {action} on {resource}, which {function.id} does not need;"
                            " remove it"
                        )


def functions_and_needs(stack):
    """Each function with its role, what it needs as (action, ARN), and what it may have beside."""
    for function in stack.of("Lambda::Function"):
        role = stack.by("IAM::Role", function.get("Role"), "arn")
        if role is not None and not items(role.get("ManagedPolicyArns")):
            yield function, role, needs(stack, function), may_have(stack, function)


def needs(stack, function):
    """What a function calls, and what Lambda does in its name."""
    found = set()
    for action, places in mapping(calls().get(program(function))).items():
        for place in places:
            found |= {(action, arn) for arn in resolve(stack, function, place)}
    found |= {(action, "*") for action in TRACE_ACTIONS if function.get("TracingConfig", "Mode") == "Active"}
    if stack.by("SQS::Queue", function.get("DeadLetterConfig", "TargetArn"), "arn"):
        found.add(("sqs:SendMessage", function.get("DeadLetterConfig", "TargetArn")))
    group = stack.by("Logs::LogGroup", function.get("LoggingConfig", "LogGroup"))
    if group:
        found |= {(action, group.arn) for action in LOG_ACTIONS}
    for each, own, source in mappings(stack):
        if own is not function or source is None:
            continue
        if source.type == "AWS::SQS::Queue":
            found |= {(action, source.arn) for action in QUEUE_ACTIONS}
        else:
            found |= {(action, source.stream_arn) for action in STREAM_ACTIONS}
            # CloudFormation refuses the mapping without it, and it takes no resource.
            found.add(("dynamodb:ListStreams", "*"))
        destination = failure_destination(each)
        if destination and stack.by("SQS::Queue", destination, "arn"):
            found.add(("sqs:SendMessage", destination))
    return found | {need for action, arn in found for need in key_needs(stack, action, arn)}


def key_needs(stack, action, arn):
    """What a call needs of the key that its resource is encrypted with."""
    resource = stack.by("SQS::Queue", arn, "arn") or stack.by("SecretsManager::Secret", arn, "arn")
    name = resource and (resource.get("KmsMasterKeyId") or resource.get("KmsKeyId"))
    key = stack.by("KMS::Key", name) or stack.by("KMS::Key", name, "arn")
    if key and action in ("sqs:SendMessage", "sqs:ReceiveMessage", "secretsmanager:GetSecretValue"):
        yield "kms:Decrypt", key.arn
        if action == "sqs:SendMessage":
            yield "kms:GenerateDataKey", key.arn


def may_have(stack, function):
    """What is of use to a function under some circumstances."""
    found = {("logs:CreateLogGroup", group.arn) for group in stack.of("Logs::LogGroup")}
    found |= {
        ("sqs:ChangeMessageVisibility", source.arn) for _, own, source in mappings(stack) if own is function and source
    }
    for key in stack.of("KMS::Key"):
        found |= {("kms:Decrypt", key.arn), ("kms:GenerateDataKey", key.arn)}
    return found


def resolve(stack, function, place):
    """The ARNs of a place in `calls.json`."""
    given = environment(function)
    place, _, rest = place.partition("/")
    if place == "secrets":
        return [value for name, value in given.items() if name.endswith("_SECRET_ARN")]
    if place == "bus":
        bus = str(given.get("EVENT_BUS_NAME"))
        return [bus if bus.startswith("arn:") else f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{bus}"]
    kind, variable = {
        "queue": ("SQS::Queue", "QUEUE_URL"),
        "events": ("DynamoDB::Table", "EVENTS_TABLE"),
        "billing": ("DynamoDB::Table", "BILLING_TABLE"),
    }[place]
    resource = stack.by(kind, given.get(variable))
    return [f"{resource.arn}/{rest}" if rest else resource.arn] if resource else []


@rule("policies for readers only read")
def readers(stack):
    for policy in stack.of("IAM::ManagedPolicy"):
        about = f"{policy.id} {policy.get('Description')} {policy.get('ManagedPolicyName')}".lower()
        if items(policy.get("Roles")) or "read" not in about:
            continue
        allowed = [each for each in statements(policy.get("PolicyDocument")) if each.allows]
        names = {environment(function).get("BILLING_TABLE") for function in stack.of("Lambda::Function")}
        for table in (table for table in stack.of("DynamoDB::Table") if table.name in names):
            index = f"{table.arn}/index/by_customer"
            asked = (("dynamodb:GetItem", table.arn), ("dynamodb:Query", table.arn), ("dynamodb:Query", index))
            for action, arn in asked:
                if not is_allowed(allowed, action, arn):
                    yield policy.id, f"is for readers of billing state, but does not allow {action} on {arn}"
        for each in allowed:
            for action in each.actions:
                if not action.partition(":")[2].startswith(READS):
                    yield policy.id, f"is for readers, but allows {action}"
            for arn in each.resources:
                tables = [
                    table
                    for table in stack.of("DynamoDB::Table")
                    if arn_matches(arn, table.arn) or arn.startswith(table.arn)
                ]
                ledger = [table for table in tables if truth(table.get("TimeToLiveSpecification", "Enabled"))]
                if not tables and ":dynamodb:" in arn or ledger:
                    yield policy.id, f"is for readers of billing state, but is about {arn}"
