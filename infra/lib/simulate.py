"""Asks an IAM simulator what each role may do: every call of `calls.json` must be allowed where it is meant for, and what is
not there must not be. It also evaluates what our rules do not: policies of queues with their conditions.

The simulator, @cloud-copilot/iam-simulate, is under the AGPL: a tool beside this project, neither linked nor shipped.
"""

import json
import os
import shutil
import subprocess

from graph import programs
from iam import role_documents
from model import ACCOUNT, Stack, items
from rules_iam import functions_and_needs
from scenarios import stacks

PACKAGE = "@cloud-copilot/iam-simulate@0.1.173"
ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
FOLDER = os.path.join(ROOT, ".tools", "iam")
# What is asked of each resource of a type, beside what is needed.
ASKED = {
    "AWS::SQS::Queue": ("sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:PurgeQueue", "sqs:DeleteQueue"),
    "AWS::DynamoDB::Table": tuple(
        f"dynamodb:{name}"
        for name in "GetItem PutItem UpdateItem DeleteItem Query Scan BatchGetItem BatchWriteItem DeleteTable".split()
    ),
    "AWS::SecretsManager::Secret": ("secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"),
    "AWS::Logs::LogGroup": ("logs:DeleteLogGroup",),
    "AWS::Lambda::Function": ("lambda:InvokeFunction", "lambda:UpdateFunctionCode"),
}
TLS = {"aws:SecureTransport": "true"}
OTHER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/other"
BUS = "aws.partner/stripe.com/ed_test_61abc"


def missing():
    """What the simulator needs and is not on this machine, or None."""
    return next((f"there is no {tool}" for tool in ("node", "npm") if not shutil.which(tool)), None)


def install():
    """Installs the simulator, once; why it cannot be had, or None."""
    marker = os.path.join(FOLDER, ".ready")
    if os.path.exists(marker) and open(marker, encoding="utf-8").read() == PACKAGE:
        return None
    os.makedirs(FOLDER, exist_ok=True)
    command = ["npm", "install", "--prefix", FOLDER, "--silent", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"npm cannot install {PACKAGE}: {done.stderr.strip()[-200:]}"
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
    """All questions, each with whether it must be allowed: with everything on, first open to the account, then closed."""
    full = dict(next(stack for stack in stacks(expanded) if stack.label == "all options on").values)
    full |= {name: "" for name in full if name.startswith("Existing")} | {"StripeEventBusName": BUS, "QueueSenders": ""}
    stack = Stack(expanded, full, "open")
    for function, role, needed, may in functions_and_needs(stack):
        for action, arn in sorted(needed):
            yield _question(stack, role, action, arn), True
        for resource in stack.resources.values():
            for action in ASKED.get(resource.type, ()):
                if (action, resource.arn) not in needed | may:
                    yield _question(stack, role, action, resource.arn), False
    queues = [stack.resources[id] for id in ("EventsQueue", "DeadLetterQueue") if id in stack.resources]
    rule = stack.resources.get("StripeEventRule")
    for queue in queues if rule else ():
        for source, tls, wanted in ((rule.arn, "true", True), (rule.arn, "false", False), (f"{rule.arn}x", "true", False)):
            context = {"aws:SourceArn": source, "aws:SecureTransport": tls, "aws:PrincipalIsAWSService": "true"}
            yield _of_service(stack, queue, context), wanted
    closed = Stack(expanded, full | {"QueueSenders": f"arn:aws:iam::{ACCOUNT}:role/ops"}, "closed")
    yield from _closed(closed)


def _closed(stack):
    queue, rule = stack.resources["EventsQueue"], stack.resources.get("StripeEventRule")
    sends = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]}
    policies = [{"name": "sends", "policy": sends}]
    webhook = next(function for function, name in programs(stack) if name == "webhook")
    role = stack.by("IAM::Role", webhook.get("Role"), "arn")
    yield _question(stack, role, "sqs:SendMessage", queue.arn), True
    for principal, wanted in ((f"arn:aws:iam::{ACCOUNT}:role/ops", True), (OTHER_ROLE, False)):
        question = _asked(stack, principal, "sqs:SendMessage", queue.arn, policies)
        yield question, wanted
    if rule:
        context = {"aws:SourceArn": rule.arn, "aws:SecureTransport": "true", "aws:PrincipalIsAWSService": "true"}
        yield _of_service(stack, queue, context), True


def _question(stack, role, action, arn):
    documents = [{"name": str(index), "policy": each} for index, each in enumerate(role_documents(stack, role))]
    return _asked(stack, f"arn:aws:iam::{ACCOUNT}:role/{role.name}", action, arn, documents)


def _asked(stack, principal, action, arn, policies):
    resource = arn
    if action.startswith("logs:") and action.endswith(("Stream", "Events")):
        resource = arn.removesuffix(":*") + ":log-stream:2026/11/26/[1]abc"
    context = {**TLS, "aws:PrincipalArn": principal, "aws:PrincipalIsAWSService": "false"}
    return {
        "principal": principal,
        "action": action,
        "resource": resource,
        "account": ACCOUNT,
        "context": context,
        "policies": policies,
        "resourcePolicy": _queue_policy(stack, arn),
    }


def _of_service(stack, queue, context):
    asked = _asked(stack, "events.amazonaws.com", "sqs:SendMessage", queue.arn, [])
    return asked | {"context": context}


def _queue_policy(stack, arn):
    queue = stack.by("SQS::Queue", arn, "arn")
    for policy in stack.of("SQS::QueuePolicy") if queue else ():
        if queue.ref in items(policy.get("Queues")):
            return policy.get("PolicyDocument")
    return None
