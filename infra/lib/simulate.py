"""Asks an IAM simulator what each role may do: every call of `calls.json` must be allowed where it is meant for, and
what is not there must not be. It also evaluates what our rules do not: policies of queues with their conditions.

The simulator, @cloud-copilot/iam-simulate, is under the AGPL: a tool beside this project, neither linked nor shipped.
"""

import json
import os
import shutil
import subprocess

from graph import environment, programs
from iam import role_documents
from model import ACCOUNT, Stack, items, mapping
from rules_deploy import ON_FUNCTION, deployments
from rules_iam import functions_and_needs
from scenarios import stacks

PACKAGE = "@cloud-copilot/iam-simulate@0.1.173"
ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
FOLDER = os.path.join(ROOT, ".tools", "iam")
# What is asked of each resource of a type, beside what is needed.
ASKED = {
    "AWS::SQS::Queue": tuple(
        f"sqs:{name}" for name in "SendMessage ReceiveMessage DeleteMessage PurgeQueue DeleteQueue".split()
    ),
    "AWS::DynamoDB::Table": tuple(
        f"dynamodb:{name}"
        for name in "GetItem PutItem UpdateItem DeleteItem Query Scan BatchGetItem BatchWriteItem DeleteTable".split()
    ),
    "AWS::SecretsManager::Secret": ("secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"),
    "AWS::Logs::LogGroup": ("logs:DeleteLogGroup",),
    "AWS::Lambda::Function": ("lambda:InvokeFunction", "lambda:UpdateFunctionCode"),
}
TLS = {"aws:SecureTransport": "true"}
OTHER_ACCOUNT = "999988887777"
OTHER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/other"
OPS_ROLE = f"arn:aws:iam::{ACCOUNT}:role/ops"
BUS = "aws.partner/stripe.com/ed_test_61abc"
READER = ("dynamodb:GetItem", "dynamodb:Query")


def missing():
    """What the simulator needs and is not on this machine, or None."""
    return next((f"there is no {tool}" for tool in ("node", "npm") if not shutil.which(tool)), None)


def install():
    """Installs the simulator, once; why it cannot be had, or None."""
    marker = os.path.join(FOLDER, ".ready")
    if os.path.exists(marker) and open(marker, encoding="utf-8").read() == PACKAGE:
        return None
    os.makedirs(FOLDER, exist_ok=True)
    command = ["npm", "install", "--prefix", FOLDER, "--loglevel=error", "--no-audit", "--no-fund"]
    command += ["--ignore-scripts", PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"npm cannot install {PACKAGE}: {' '.join(done.stderr.split())[:200]}"
    with open(marker, "w", encoding="utf-8") as file:
        file.write(PACKAGE)
    return None


def findings(expanded):
    """Each question that comes to something else than it must."""
    asked = list(_questions(expanded))
    command = ["node", os.path.join(ROOT, "infra", "lib", "iam_simulate.mjs"), _entry()]
    text = json.dumps([question for question, _ in asked], default=str)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return [f"the simulator failed: {done.stderr.strip()[-300:]}"]
    found = []
    for (question, wanted), result in zip(asked, json.loads(done.stdout), strict=True):
        if (result == "Allowed") != wanted:
            who = question["principal"].rsplit("/", 1)[-1]
            must = "must be allowed" if wanted else "must not be"
            found.append(f"{who}: {question['action']} on {question['resource']} comes to {result}, and {must}")
    return found


def _entry():
    package = os.path.join(FOLDER, "node_modules", "@cloud-copilot", "iam-simulate")
    with open(os.path.join(package, "package.json"), encoding="utf-8") as file:
        about = json.load(file)
    entry = about.get("exports", {}).get(".", {}).get("import") or about.get("module") or about["main"]
    return os.path.join(package, entry if isinstance(entry, str) else entry["default"])


def _questions(expanded):
    """All questions, each with whether it must be allowed: with everything on, open to the account and then closed."""
    full = dict(next(stack for stack in stacks(expanded) if stack.label == "all options on").values)
    full |= {name: "" for name in full if name.startswith("Existing")}
    full |= {name: value for name, value in (("StripeEventBusName", BUS), ("QueueSenders", "")) if name in full}
    stack = Stack(expanded, full, "open")
    for _, role, needed, may in functions_and_needs(stack):
        for action, arn in sorted(needed):
            yield _of_role(stack, role, action, arn), True
        yield from _nothing_else(stack, role, needed | may)
    yield from _deployments(stack)
    yield from _readers(stack)
    yield from _services(stack)
    if "QueueSenders" in full:
        yield from _closed(Stack(expanded, full | {"QueueSenders": OPS_ROLE}, "closed"))


def _nothing_else(stack, role, known):
    """What nobody has any use for, and what others have use for."""
    for resource in stack.resources.values():
        for action in ASKED.get(resource.type, ()):
            if (action, resource.arn) not in known:
                yield _of_role(stack, role, action, resource.arn), False


def _deployments(stack):
    """What CodeDeploy may do."""
    roles = {}
    for group, _, function in deployments(stack):
        role = stack.by("IAM::Role", group.get("ServiceRoleArn"), "arn")
        if role and function:
            roles[role.id] = role
            for action in ON_FUNCTION:
                yield _of_role(stack, role, action, function.arn), True
    for role in roles.values():
        yield from _nothing_else(stack, role, set())


def _readers(stack):
    """What a policy lets those do who attach it."""
    names = {environment(function).get("BILLING_TABLE") for function, _ in programs(stack)}
    for policy in stack.of("IAM::ManagedPolicy"):
        documents = [{"name": policy.id, "policy": policy.get("PolicyDocument")}]
        for resource in () if items(policy.get("Roles")) else stack.resources.values():
            for action in ASKED.get(resource.type, ()):
                wanted = resource.type == "AWS::DynamoDB::Table" and resource.name in names and action in READER
                yield _asked(stack, OTHER_ROLE, action, resource.arn, documents), wanted


def _services(stack):
    """What services of AWS's may do: for this stack's own resources, over TLS, and not else."""
    for rule in stack.of("Events::Rule"):
        for target in map(mapping, items(rule.get("Targets"))):
            for arn in (target.get("Arn"), mapping(target.get("DeadLetterConfig")).get("Arn")):
                if stack.by("SQS::Queue", arn, "arn"):
                    yield from _of_service(stack, "events", "sqs:SendMessage", arn, rule.arn)
    for alarm in stack.of("CloudWatch::Alarm")[:1]:
        for topic in stack.of("SNS::Topic"):
            if _resource_policy(stack, topic.ref) and topic.ref in items(alarm.get("AlarmActions")):
                yield from _of_service(stack, "cloudwatch", "sns:Publish", topic.ref, alarm.arn)
    for permission in stack.of("Lambda::Permission"):
        arn, source = str(permission.get("FunctionName")), str(permission.get("SourceArn"))
        if arn.startswith("arn:") and permission.get("Principal") == "apigateway.amazonaws.com":
            request = source.replace("*", "POST")
            yield from _of_service(stack, "apigateway", "lambda:InvokeFunction", arn, request, tls=False)


def _of_service(stack, service, action, arn, source, tls=True):
    """A service asks for its own resource; then in the clear, where that matters; and for another account's."""
    own, foreign = _called_by(service, source, ACCOUNT), source.replace(ACCOUNT, OTHER_ACCOUNT)
    contexts = [(own, True), (_called_by(service, foreign, OTHER_ACCOUNT), False)]
    contexts += [(own | {"aws:SecureTransport": "false"}, False)] if tls else []
    for context, wanted in contexts:
        yield _asked(stack, f"{service}.amazonaws.com", action, arn, []) | {"context": context}, wanted


def _called_by(service, source, account):
    name = f"{service}.amazonaws.com"
    own = {"aws:SourceArn": source, "aws:SourceAccount": account, "aws:PrincipalServiceName": name}
    return {**TLS, **own, "aws:PrincipalIsAWSService": "true"}


def _closed(stack):
    """Who may send to the webhook's queue where that is for named senders only."""
    sends = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]}
    policies = [{"name": "sends", "policy": sends}]
    for webhook in (function for function, name in programs(stack) if name == "webhook"):
        role = stack.by("IAM::Role", webhook.get("Role"), "arn")
        queue = stack.by("SQS::Queue", environment(webhook).get("QUEUE_URL"))
        if role and queue:
            yield _of_role(stack, role, "sqs:SendMessage", queue.arn), True
            for principal, wanted in ((OPS_ROLE, True), (OTHER_ROLE, False)):
                yield _asked(stack, principal, "sqs:SendMessage", queue.arn, policies), wanted
    yield from _services(stack)


def _of_role(stack, role, action, arn):
    documents = [{"name": str(index), "policy": each} for index, each in enumerate(role_documents(stack, role))]
    return _asked(stack, f"arn:aws:iam::{ACCOUNT}:role/{role.name}", action, arn, documents)


def _asked(stack, principal, action, arn, policies):
    resource = arn
    if action.startswith("logs:") and action.endswith(("Stream", "Events")):
        resource = arn.removesuffix(":*") + ":log-stream:2026/11/26/[1]abc"
    return {
        "principal": principal,
        "action": action,
        "resource": resource,
        "account": ACCOUNT,
        "context": {**TLS, "aws:PrincipalArn": principal, "aws:PrincipalIsAWSService": "false"},
        "policies": policies,
        "resourcePolicy": _resource_policy(stack, arn),
    }


def _resource_policy(stack, arn):
    """The policy of a queue, topic, secret, table, key or function, or None."""
    queue = stack.by("SQS::Queue", arn, "arn")
    holders = [each for each in stack.of("SQS::QueuePolicy") if queue and queue.ref in items(each.get("Queues"))]
    holders += [each for each in stack.of("SNS::TopicPolicy") if arn in items(each.get("Topics"))]
    documents = [each.get("PolicyDocument") for each in holders]
    documents += [
        each.get("ResourcePolicy") for each in stack.of("SecretsManager::ResourcePolicy") if each.get("SecretId") == arn
    ]
    documents += [key.get("KeyPolicy") for key in stack.of("KMS::Key") if key.arn == arn]
    tables = [table for table in stack.of("DynamoDB::Table") if table.arn == arn]
    documents += [table.get("ResourcePolicy", "PolicyDocument") for table in tables]
    found = [statement for document in documents for statement in items(mapping(document).get("Statement"))]
    found += [_statement(each) for each in stack.of("Lambda::Permission") if each.get("FunctionName") == arn]
    return {"Version": "2012-10-17", "Statement": found} if found else None


def _statement(permission):
    """The statement that Lambda makes of a permission."""
    keys = (("ArnLike", "aws:SourceArn", "SourceArn"), ("StringEquals", "aws:SourceAccount", "SourceAccount"))
    return {
        "Effect": "Allow",
        "Principal": {"Service": permission.get("Principal")},
        "Action": permission.get("Action"),
        "Resource": permission.get("FunctionName"),
        "Condition": {operator: {key: permission.get(own)} for operator, key, own in keys if permission.get(own)},
    }
