"""A template as the stack that it makes: every property with its values filled in, for given parameters.

References become what AWS would put there (a queue's URL, its ARN, its name), so that two ways of writing the same
thing are the same to the rules, and a rule can ask for instance whether a policy's resource is this queue's ARN.
Physical names are made up, except where the template gives them. What cannot be known becomes text that equals
nothing else. Nothing here raises on an odd template: odd things are left for the rules and for cfn-lint.
"""

import functools
import json
import re

REGION, ACCOUNT, STACK_NAME = "eu-central-1", "111122223333", "stack"
NO_VALUE = object()
# What ends the ARN of every stream.
STREAM_LABEL = "2026-01-01T00:00:00.000"
STREAM_LABELS = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+")
# The label of the stack that is made of the defaults.
DEFAULTS = "the defaults"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::NoValue": NO_VALUE,
    "AWS::NotificationARNs": [],
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK_NAME}/id",
    "AWS::StackName": STACK_NAME,
    "AWS::URLSuffix": "amazonaws.com",
}
# Under which property a type keeps its physical name.
NAME_PROPERTIES = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Events::EventBus": "Name",
    "AWS::Events::Rule": "Name",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Role": "RoleName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SecretsManager::Secret": "Name",
}


def mapping(value):
    """The value if it is a dictionary, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value):
    """The value as a list: a single one is a list of one, none an empty one."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def number(value):
    """The value as a number, or None. CloudFormation takes numbers as text as well."""
    if isinstance(value, bool):
        return None
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(result) if result.is_integer() else result


def truth(value):
    """The value as a boolean, or None."""
    return {"true": True, "false": False}.get(str(value).lower())


def references(value):
    """All names that a value refers to, of parameters, resources and pseudo parameters, with the attributes."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    if not isinstance(value, dict):
        return
    for key, argument in value.items():
        if key == "Ref" and isinstance(argument, str):
            yield argument, None
        elif key == "Fn::GetAtt":
            parts = argument.split(".", 1) if isinstance(argument, str) else items(argument)
            if len(parts) == 2 and isinstance(parts[0], str):
                yield parts[0], parts[1]
        elif key == "Fn::Sub":
            text, own = _sub_parts(argument)
            for name in _PLACEHOLDER.findall(text):
                if name not in own:
                    yield (name, None) if "." not in name else tuple(name.split(".", 1))
            yield from references(own)
        else:
            yield from references(argument)


def conditions_in(value):
    """The names of all conditions that the branches of a value depend on."""
    if isinstance(value, list):
        for item in value:
            yield from conditions_in(item)
    if isinstance(value, dict):
        for key, argument in value.items():
            if key == "Fn::If" and isinstance(argument, list) and argument and isinstance(argument[0], str):
                yield argument[0]
            yield from conditions_in(argument)


class Resource:
    """A resource of a stack."""

    def __init__(self, stack, id, raw):
        self.stack, self.id, self.raw = stack, id, raw
        self.type = str(raw.get("Type"))
        self.metadata = mapping(raw.get("Metadata"))
        self.properties = {}

    @functools.cached_property
    def name(self):
        """Its physical name."""
        given = self.stack.value(mapping(self.raw.get("Properties")).get(NAME_PROPERTIES.get(self.type)))
        return given if isinstance(given, str) and given else f"{STACK_NAME}-{self.id}-PHYSICAL"

    def get(self, *path):
        """The property at this path, or None."""
        value = self.properties
        for key in path:
            value = mapping(value).get(key)
        return value

    @functools.cached_property
    def ref(self):
        """What `Ref` gives."""
        kind, name = self.type, self.name
        if kind == "AWS::SQS::Queue":
            return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"
        if kind == "AWS::Events::Rule" and self.bus != "default":
            return f"{self.bus}|{name}"
        if kind == "AWS::Lambda::Alias":
            return f"{_arn('lambda', 'function')}:{self.stack.function_name(self)}:{self.raw_value('Name')}"
        if kind == "AWS::Lambda::Version":
            return f"{_arn('lambda', 'function')}:{self.stack.function_name(self)}:1"
        if kind in ("AWS::SecretsManager::Secret", "AWS::SNS::Topic", "AWS::IAM::ManagedPolicy"):
            return self.arn
        if kind == "AWS::ApiGatewayV2::Stage":
            return str(self.raw_value("StageName"))
        return name

    @property
    def bus(self):
        """Of a rule: the name of its event bus."""
        bus = self.raw_value("EventBusName")
        return str(bus).rsplit("/", 1)[-1] if str(bus).startswith("arn:") else str(bus or "default")

    @functools.cached_property
    def arn(self):
        """Its ARN, as `GetAtt Arn` gives it."""
        kind, name = self.type, self.name
        if kind == "AWS::Events::Rule":
            return f"{_arn('events', 'rule')}/{'' if self.bus == 'default' else self.bus + '/'}{name}"
        if kind in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy"):
            return f"arn:aws:iam::{ACCOUNT}:{'role' if kind.endswith('Role') else 'policy'}/{name}"
        if kind == "AWS::Lambda::Alias":
            return self.ref
        service, rest = {
            "AWS::CloudWatch::Alarm": ("cloudwatch", f"alarm:{name}"),
            "AWS::DynamoDB::Table": ("dynamodb", f"table/{name}"),
            "AWS::Events::EventBus": ("events", f"event-bus/{name}"),
            "AWS::KMS::Key": ("kms", f"key/{name}"),
            "AWS::Lambda::Function": ("lambda", f"function:{name}"),
            "AWS::Logs::LogGroup": ("logs", f"log-group:{name}:*"),
            "AWS::SNS::Topic": ("sns", name),
            "AWS::SQS::Queue": ("sqs", name),
            "AWS::SecretsManager::Secret": ("secretsmanager", f"secret:{name}-AbCdEf"),
        }.get(kind, ("unknown", f"{kind}/{name}"))
        return _arn(service, rest)

    @property
    def stream_arn(self):
        """Of a table: the ARN of its stream."""
        return f"{self.arn}/stream/{STREAM_LABEL}"

    def attribute(self, attribute):
        """What `GetAtt` gives."""
        known = {
            "Arn": self.arn,
            "AliasArn": self.arn,
            "ApiEndpoint": f"https://{self.name}.execute-api.{REGION}.amazonaws.com",
            "ApiId": self.name,
            "Id": self.ref,
            "Name": self.name,
            "PolicyArn": self.arn,
            "QueueName": self.name,
            "QueueUrl": self.ref,
            "StreamArn": self.stream_arn,
            "TopicArn": self.arn,
            "TopicName": self.name,
            "Version": "1",
        }
        return known.get(str(attribute), f"{self.name}.{attribute}")

    def raw_value(self, key):
        """A property, resolved by itself: for what a reference to this resource consists of."""
        return self.stack.value(mapping(self.raw.get("Properties")).get(key))


def naming_parameter(template, raw):
    """The parameter that names a table which exists already: the table is made only where it is empty. Or None."""
    condition = raw.get("Condition")
    conditions = mapping(template.get("Conditions"))
    if raw.get("Type") != "AWS::DynamoDB::Table" or not isinstance(condition, str):
        return None
    sides = items(mapping(conditions.get(condition)).get("Fn::Equals"))
    names = (mapping(side).get("Ref") for side in sides if "" in sides)
    return next((name for name in names if isinstance(name, str)), None)


class GivenTable(Resource):
    """A table that a parameter names, in the place of the one that the template would make. Taken to be like it."""

    @functools.cached_property
    def name(self):
        """The parameter's value."""
        return str(self.stack.values.get(naming_parameter(self.stack.template, self.raw)))

    @property
    def stream_arn(self):
        """The ARN of its stream, with the label that a parameter gives."""
        labels = (value for value in self.stack.values.values() if STREAM_LABELS.fullmatch(str(value)))
        return f"{self.arn}/stream/{next(labels, STREAM_LABEL)}"


class Stack:
    """What a template makes of given parameters."""

    def __init__(self, template, values, label):
        self.label = label
        self.template = template
        self.values = values
        # What is being worked out, against going round in circles.
        self._deciding, self._naming = set(), set()
        self._truths = {}
        self.all = {
            id: Resource(self, id, raw)
            for id, raw in mapping(template.get("Resources")).items()
            if isinstance(raw, dict)
        }
        self.resources = {id: r for id, r in self.all.items() if self.holds(r.raw.get("Condition"))}
        # Not in `resources`: a reference to what the template would have made leads nowhere.
        self.given = {
            id: GivenTable(self, id, r.raw)
            for id, r in self.all.items()
            if id not in self.resources and self.values.get(naming_parameter(template, r.raw))
        }
        for resource in (*self.resources.values(), *self.given.values()):
            resource.properties = mapping(self.value(resource.raw.get("Properties")))
        self.outputs = {
            name: mapping(self.value(output))
            for name, output in mapping(template.get("Outputs")).items()
            if isinstance(output, dict) and self.holds(output.get("Condition"))
        }

    @property
    def is_default(self):
        """Whether the parameters are the defaults. What is unwise there may be right for who asks for it."""
        return self.label == DEFAULTS

    def of(self, *types):
        """The resources of these types, tables that parameters name included. Short names are of AWS: `SQS::Queue`."""
        wanted = {f"AWS::{kind}" for kind in types}
        return [each for each in (*self.resources.values(), *self.given.values()) if each.type in wanted]

    def by(self, kind, value, key="ref"):
        """The resource of this type whose name, ref or ARN is this value, or None."""
        return next((r for r in self.of(kind) if value is not None and getattr(r, key) == value), None)

    def function_name(self, resource):
        """The name of the function that an alias or version belongs to."""
        name = str(resource.raw_value("FunctionName"))
        return name.rsplit(":", 1)[-1] if name.startswith("arn:") else name

    def holds(self, name):
        """Whether a condition holds. One that does not exist holds: it is reported elsewhere."""
        conditions = mapping(self.template.get("Conditions"))
        if not isinstance(name, str) or name not in conditions or name in self._deciding:
            return True
        if name not in self._truths:
            self._deciding.add(name)
            self._truths[name] = self._truth(conditions[name])
            self._deciding.discard(name)
        return self._truths[name]

    def _truth(self, value):
        if not isinstance(value, dict) or len(value) != 1:
            return truth(value) is not False
        ((function, argument),) = value.items()
        if function == "Fn::Equals":
            sides = items(self.value(argument))
            return len(sides) == 2 and str(sides[0]) == str(sides[1])
        if function == "Fn::Not":
            return not all(self._truth(item) for item in items(argument))
        if function == "Fn::And":
            return all(self._truth(item) for item in items(argument))
        if function == "Fn::Or":
            return any(self._truth(item) for item in items(argument))
        if function == "Condition":
            return self.holds(argument)
        return True

    def value(self, value):
        """The value with its functions answered; what is `AWS::NoValue` is left out."""
        resolved = self._resolve(value)
        return None if resolved is NO_VALUE else resolved

    def _resolve(self, value):
        if isinstance(value, list):
            resolved = [self._resolve(item) for item in value]
            return [item for item in resolved if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if function == "Ref":
                return self._ref(argument)
            if function.startswith("Fn::"):
                return self._call(function, argument)
        resolved = {key: self._resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not NO_VALUE}

    def _ref(self, name):
        name = str(name)
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.values:
            return self.values[name]
        return self._of(name, lambda resource: resource.ref)

    def _attribute(self, argument):
        parts = argument.split(".", 1) if isinstance(argument, str) else items(argument)
        if len(parts) != 2:
            return f"(unknown {argument})"
        return self._of(str(parts[0]), lambda resource: resource.attribute(self.value(parts[1])))

    def _of(self, id, ask):
        """What a resource is or has. Of one whose name goes back to itself there is nothing to know."""
        if id not in self.all or id in self._naming:
            return f"(unknown {id})"
        self._naming.add(id)
        try:
            return ask(self.all[id])
        finally:
            self._naming.discard(id)

    def _call(self, function, argument):
        if function == "Fn::GetAtt":
            return self._attribute(argument)
        if function == "Fn::If" and isinstance(argument, list) and len(argument) == 3:
            return self._resolve(argument[1] if self.holds(argument[0]) else argument[2])
        if function == "Fn::Sub":
            text, own = _sub_parts(argument)
            text = _PLACEHOLDER.sub(lambda match: self._in_text(match.group(1), own), text)
            return re.sub(r"\$\{!([^}]*)\}", r"${\1}", text)
        argument = self._resolve(argument)
        if not isinstance(argument, list):
            argument = [argument]
        if function == "Fn::Join" and len(argument) == 2 and isinstance(argument[1], list):
            return str(argument[0]).join(str(item) for item in argument[1])
        if function == "Fn::Split" and len(argument) == 2:
            return str(argument[1]).split(str(argument[0])) if argument[0] else [str(argument[1])]
        if function == "Fn::Select" and len(argument) == 2 and isinstance(argument[1], list):
            index = number(argument[0])
            if isinstance(index, int) and 0 <= index < len(argument[1]):
                return argument[1][index]
        if function == "Fn::FindInMap" and len(argument) >= 3:
            found = mapping(self.template.get("Mappings"))
            for key in argument[:3]:
                found = mapping(found).get(str(key))
            return found
        if function == "Fn::ToJsonString":
            return json.dumps(argument[0] if len(argument) == 1 else argument)
        return f"({function} {json.dumps(argument, default=str)})"

    def _in_text(self, name, own):
        if name in own:
            value = self._resolve(own[name])
        else:
            value = self._attribute(name) if "." in name else self._ref(name)
        return "" if value is NO_VALUE else str(value)


_PLACEHOLDER = re.compile(r"\$\{([^!}][^}]*)\}")


def _sub_parts(argument):
    """The text of an `Fn::Sub` and its own variables."""
    if isinstance(argument, list):
        return str(argument[0] if argument else ""), mapping(argument[1] if len(argument) > 1 else None)
    return str(argument), {}


def _arn(service, rest):
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"
