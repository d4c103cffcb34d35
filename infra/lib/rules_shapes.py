"""Rules about the calls that make the resources: each is held against the shapes in AWS's service models.

CloudFormation's schemas leave out much of what a service refuses: lengths, patterns, bounds. The models come with
botocore.
"""

import functools
import json
import re

from botocore.loaders import Loader
from botocore.model import ServiceModel
from model import ACCOUNT, NAME_PROPERTIES, items, mapping, number, truth
from rules import rule

# In the patterns of the models, which are Java's.
CLASSES = {r"\p{Alnum}": "A-Za-z0-9", r"\p{L}": "A-Za-zÀ-ÿ", r"\p{Z}": " ", r"\p{S}": "$+<=>^`|~", r"\p{N}": "0-9"}
CLASSES |= {r"\p{P}": r"!-#%-*,-/:;?@\[-\]_{}", r"\p{M}": "", r"\p{IsAlphabetic}": "A-Za-z"}


def _lower_first(value):
    """Names as CodeDeploy and CloudWatch Logs write them."""
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: _lower_first(item) for key, item in value.items()}
    return [_lower_first(item) for item in value] if isinstance(value, list) else value


def _texts(values):
    """Attributes of SQS and SNS, which are all texts."""
    return {key: json.dumps(item) if isinstance(item, (dict, list)) else str(item) for key, item in values.items()}


def _made(resource, longest):
    """A resource's name; where CloudFormation makes it, of the stack's and some letters, no longer than it may be."""
    return resource.get(NAME_PROPERTIES.get(resource.type)) or resource.name[:longest]


def _plain(service, operation, name=None, drop=()):
    """A call that takes the properties as they are, and the resource's name."""

    def call(resource, properties):
        given = {key: value for key, value in properties.items() if key not in drop}
        yield service, operation, given | ({name: resource.name} if name else {})

    return call


def _role(resource, properties):
    document = json.dumps(properties.get("AssumeRolePolicyDocument"))
    rest = {key: value for key, value in properties.items() if key not in ("Policies", "ManagedPolicyArns")}
    yield "iam", "CreateRole", rest | {"RoleName": _made(resource, 64), "AssumeRolePolicyDocument": document}
    for policy in map(mapping, items(properties.get("Policies"))):
        document = json.dumps(policy.get("PolicyDocument"))
        call = {"RoleName": _made(resource, 64), "PolicyName": policy.get("PolicyName"), "PolicyDocument": document}
        yield "iam", "PutRolePolicy", call


def _table(resource, properties):
    apart = ("PointInTimeRecoverySpecification", "TimeToLiveSpecification", "StreamSpecification")
    call = {key: value for key, value in properties.items() if key not in apart} | {"TableName": resource.name}
    if "ResourcePolicy" in properties:
        call["ResourcePolicy"] = json.dumps(mapping(properties["ResourcePolicy"]).get("PolicyDocument"))
    if "StreamSpecification" in properties:
        call["StreamSpecification"] = {"StreamEnabled": True, **mapping(properties["StreamSpecification"])}
    yield "dynamodb", "CreateTable", call
    for key, operation in (("TimeToLiveSpecification", "UpdateTimeToLive"), (apart[0], "UpdateContinuousBackups")):
        if key in properties:
            yield "dynamodb", operation, {"TableName": resource.name, key: properties[key]}


def _rule(resource, properties):
    rest = {key: value for key, value in properties.items() if key != "Targets"}
    rest |= {"Name": _made(resource, 64), "EventPattern": json.dumps(properties.get("EventPattern"))}
    yield "events", "PutRule", rest
    yield "events", "PutTargets", {"Rule": _made(resource, 64), "Targets": properties.get("Targets")}


def _secret(resource, properties):
    generated = properties.get("GenerateSecretString")
    rest = {key: value for key, value in properties.items() if key != "GenerateSecretString"}
    yield "secretsmanager", "CreateSecret", rest | {"Name": resource.name}
    if generated:
        yield "secretsmanager", "GetRandomPassword", generated


def _function(resource, properties):
    rest = {key: value for key, value in properties.items() if key not in ("ReservedConcurrentExecutions", "Tags")}
    yield "lambda", "CreateFunction", rest | {"FunctionName": _made(resource, 64)}


def _log_group(resource, properties):
    yield "logs", "CreateLogGroup", {"logGroupName": resource.name}
    retention = properties.get("RetentionInDays")
    yield "logs", "PutRetentionPolicy", {"logGroupName": resource.name, "retentionInDays": retention}


def _queue(resource, properties):
    rest = {key: value for key, value in properties.items() if key not in ("QueueName", "Tags")}
    yield "sqs", "CreateQueue", {"QueueName": resource.name, "Attributes": _texts(rest)}


def _policy(resource, properties):
    call = {"PolicyName": resource.name, "PolicyDocument": json.dumps(properties.get("PolicyDocument"))}
    yield "iam", "CreatePolicy", call | {key: properties[key] for key in ("Description",) if key in properties}


def _codedeploy(operation, name):
    def call(resource, properties):
        given = _lower_first(properties)
        yield "codedeploy", operation, {name: _made(resource, 100)} | given

    return call


def _topic(resource, properties):
    yield "sns", "CreateTopic", {"Name": resource.name, "Attributes": _texts(properties)}


def _permission(_resource, properties):
    yield "lambda", "AddPermission", properties | {"StatementId": "stack-permission"}


def _policy_of(service, operation, target, holders, attributes):
    """A call that gives each of some resources a policy."""

    def call(_resource, properties):
        text = json.dumps(properties.get("PolicyDocument"))
        for each in items(properties.get(holders)):
            yield service, operation, {target: each, **attributes(text)}

    return call


_TOPIC_POLICY = _policy_of(
    "sns", "SetTopicAttributes", "TopicArn", "Topics", lambda text: {"AttributeName": "Policy", "AttributeValue": text}
)
_QUEUE_POLICY = _policy_of(
    "sqs", "SetQueueAttributes", "QueueUrl", "Queues", lambda text: {"Attributes": {"Policy": text}}
)


def _budget(_resource, properties):
    budget = mapping(properties.get("Budget"))
    amount = {**mapping(budget.get("BudgetLimit"))}
    amount["Amount"] = str(amount.get("Amount"))
    given = {"BudgetName": "stack", **budget, "BudgetLimit": amount}
    subscribers = properties.get("NotificationsWithSubscribers")
    call = {"AccountId": ACCOUNT, "Budget": given, "NotificationsWithSubscribers": subscribers}
    yield "budgets", "CreateBudget", call


CALLS = {
    "AWS::Budgets::Budget": _budget,
    "AWS::ApiGatewayV2::Api": _plain("apigatewayv2", "CreateApi"),
    "AWS::ApiGatewayV2::Integration": _plain("apigatewayv2", "CreateIntegration"),
    "AWS::ApiGatewayV2::Route": _plain("apigatewayv2", "CreateRoute"),
    "AWS::ApiGatewayV2::Stage": _plain("apigatewayv2", "CreateStage"),
    "AWS::CloudWatch::Alarm": _plain("cloudwatch", "PutMetricAlarm", "AlarmName"),
    "AWS::CloudWatch::Dashboard": _plain("cloudwatch", "PutDashboard"),
    "AWS::CodeDeploy::Application": _codedeploy("CreateApplication", "applicationName"),
    "AWS::CodeDeploy::DeploymentGroup": _codedeploy("CreateDeploymentGroup", "deploymentGroupName"),
    "AWS::DynamoDB::Table": _table,
    "AWS::Events::Rule": _rule,
    "AWS::IAM::ManagedPolicy": _policy,
    "AWS::IAM::Role": _role,
    "AWS::Lambda::Alias": _plain("lambda", "CreateAlias"),
    "AWS::Lambda::EventSourceMapping": _plain("lambda", "CreateEventSourceMapping"),
    "AWS::Lambda::Function": _function,
    "AWS::Lambda::Permission": _permission,
    "AWS::Lambda::Version": _plain("lambda", "PublishVersion"),
    "AWS::Logs::LogGroup": _log_group,
    "AWS::SNS::Subscription": _plain("sns", "Subscribe"),
    "AWS::SNS::Topic": _topic,
    "AWS::SNS::TopicPolicy": _TOPIC_POLICY,
    "AWS::SQS::Queue": _queue,
    "AWS::SQS::QueuePolicy": _QUEUE_POLICY,
    "AWS::SecretsManager::Secret": _secret,
}


@rule("each resource can be made by the calls that make it")
def shapes(stack):
    for resource in stack.resources.values():
        if resource.type in CALLS:
            for service, operation, call in CALLS[resource.type](resource, resource.properties):
                for problem in _problems(service, operation, json.dumps(call, sort_keys=True, default=str)):
                    yield resource.id, f"{operation} would be refused: {problem}"


@functools.lru_cache(maxsize=None)
def _problems(service, operation, call):
    shape = _service(service).operation_model(operation).input_shape
    return list(_against(shape, json.loads(call), ""))


@functools.cache
def _service(name):
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


def _against(shape, value, path):
    """What is wrong with a value of a shape."""
    kind, limits = shape.type_name, shape.metadata
    if kind == "structure":
        yield from _structure(shape, value, path)
    elif kind == "list":
        if not isinstance(value, list):
            yield f"{path} is no list"
            return
        yield from _within(len(value), limits, f"the number of {path}")
        for index, item in enumerate(value):
            yield from _against(shape.member, item, f"{path}[{index}]")
    elif kind == "map":
        for key, item in mapping(value).items():
            yield from _against(shape.key, key, f"the key {path}.{key}")
            yield from _against(shape.value, item, f"{path}.{key}")
    elif kind == "string":
        yield from _string(shape, value, path)
    elif kind in ("integer", "long", "double", "float"):
        if number(value) is None:
            yield f"{path} is {value!r}, no number"
        else:
            yield from _within(number(value), limits, path)
    elif kind == "boolean" and truth(value) is None:
        yield f"{path} is {value!r}, neither true nor false"


def _structure(shape, value, path):
    if not isinstance(value, dict):
        yield f"{path} is {value!r}, no structure"
        return
    for name in shape.required_members:
        if name not in value:
            yield f"{path}.{name} is missing"
    for name, item in value.items():
        if name not in shape.members:
            yield f"there is no {path}.{name}"
        else:
            yield from _against(shape.members[name], item, f"{path}.{name}")


def _string(shape, value, path):
    if isinstance(value, (dict, list)):
        yield f"{path} is no text"
        return
    text, limits = str(value), shape.metadata
    yield from _within(len(text), limits, f"the length of {path}")
    if shape.enum and text not in shape.enum:
        yield f"{path} is {text}, which is none of {', '.join(shape.enum[:8])}"
    pattern = _pattern(limits.get("pattern"))
    if pattern and not pattern.fullmatch(text):
        yield f"{path} is {text[:80]!r}, which does not match {limits['pattern'][:100]}"


@functools.cache
def _pattern(text):
    for java, python in CLASSES.items():
        text = (text or "").replace(java, python)
    try:
        return re.compile(text, re.DOTALL) if text else None
    except re.error:
        return None


def _within(value, limits, what):
    if "min" in limits and value < limits["min"]:
        yield f"{what} is {value}, less than {limits['min']}"
    if "max" in limits and value > limits["max"]:
        yield f"{what} is {value}, more than {limits['max']}"
