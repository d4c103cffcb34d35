"""The template's intrinsic functions, answered from a created stack: what a property must be in the end.

Knows the forms of ARNs and the few functions that the template uses; an unknown one raises.
"""

import re

from .emulator import ACCOUNT, REGION

NO_VALUE = object()
PSEUDO = {
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": NO_VALUE,
}


class Resolver:
    """Resolves values of a template with these parameters, physical ids, and ARNs of streams and secrets."""

    def __init__(self, template, values, stack_name, physical_ids, arns):
        self.template = template
        self.refs = {**PSEUDO, "AWS::StackName": stack_name, **values}
        self.ids = physical_ids
        self.arns = arns

    def conditions(self, resource):
        """Whether the resource's condition holds."""
        return "Condition" not in resource or self.condition(resource["Condition"])

    def condition(self, name):
        """Whether a condition holds."""
        return self._truth(self.template["Conditions"][name])

    def _truth(self, value):
        (function, argument), = value.items()
        if function == "Fn::Equals":
            left, right = (self.value(item) for item in argument)
            return str(left) == str(right)
        if function == "Fn::Not":
            return not self._truth(argument[0])
        if function == "Fn::And":
            return all(self._truth(item) for item in argument)
        if function == "Fn::Or":
            return any(self._truth(item) for item in argument)
        if function == "Condition":
            return self.condition(argument)
        raise ValueError(f"unknown condition function {function}")

    def value(self, value):
        """The value with every function in it resolved."""
        if isinstance(value, list):
            items = [self.value(item) for item in value]
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (function, argument), = value.items()
            if function == "Ref":
                return self._ref(argument)
            if function.startswith("Fn::"):
                return self._call(function, argument)
        items = {key: self.value(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if item is not NO_VALUE}

    def _call(self, function, argument):
        if function == "Fn::GetAtt":
            return self._attribute(*argument)
        if function == "Fn::If":
            condition, yes, no = argument
            return self.value(yes if self.condition(condition) else no)
        if function == "Fn::Sub":
            text, own = (argument, {}) if isinstance(argument, str) else argument
            return re.sub(r"\$\{([^!}][^}]*)\}", lambda match: self._in_text(match.group(1), own), text)
        if function == "Fn::Join":
            return argument[0].join(str(item) for item in self.value(argument[1]))
        if function == "Fn::Select":
            return self.value(argument[1])[int(argument[0])]
        if function == "Fn::Split":
            return self.value(argument[1]).split(argument[0])
        raise ValueError(f"unknown function {function}")

    def _in_text(self, name, own):
        if name in own:
            return str(self.value(own[name]))
        if "." in name:
            return self._attribute(*name.split(".", 1))
        return str(self._ref(name))

    def _ref(self, name):
        if name in self.refs:
            return self.refs[name]
        if self.template["Resources"][name]["Type"] == "AWS::SecretsManager::Secret":
            return self.arns[name]
        if self.template["Resources"][name]["Type"] == "AWS::Events::Rule" and self._bus(name):
            return self._bus(name).rstrip("/") + "|" + self.ids[name]
        return self.ids[name]

    def _attribute(self, name, attribute):
        kind = self.template["Resources"][name]["Type"]
        physical = self.ids[name]
        last = str(physical).rsplit("/", 1)[-1]
        if attribute == "Arn":
            resource = {
                "AWS::SQS::Queue": f"sqs:{REGION}:{ACCOUNT}:{last}",
                "AWS::DynamoDB::Table": f"dynamodb:{REGION}:{ACCOUNT}:table/{physical}",
                "AWS::Lambda::Function": f"lambda:{REGION}:{ACCOUNT}:function:{physical}",
                "AWS::IAM::Role": f"iam::{ACCOUNT}:role/{physical}",
                "AWS::Logs::LogGroup": f"logs:{REGION}:{ACCOUNT}:log-group:{physical}:*",
                "AWS::Events::Rule": f"events:{REGION}:{ACCOUNT}:rule/{self._bus(name)}{physical}",
            }[kind]
            return f"arn:aws:{resource}"
        if attribute == "QueueName":
            return last
        if attribute == "StreamArn":
            return self.arns[name]
        if attribute == "Version":
            return str(physical).rsplit(":", 1)[-1]
        raise ValueError(f"unknown attribute {kind}.{attribute}")

    def _bus(self, rule):
        """The part of a rule's ARN that names its bus."""
        bus = self.value(self.template["Resources"][rule]["Properties"].get("EventBusName", "default"))
        return "" if bus == "default" else f"{bus}/"
