"""A template with its parameters filled in and its conditions decided, for tools that do neither. References stay."""

import copy
import re

from model import DEFAULTS, Stack
from scenarios import SAMPLE, stacks

NO_VALUE = {"Ref": "AWS::NoValue"}
# What stands for the pseudo parameters in texts.
PSEUDO = {
    "AWS::AccountId": "111122223333",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "billhook-live",
    "AWS::URLSuffix": "amazonaws.com",
}
# Values as they would really be, where an option wants one.
REAL = {
    "AlarmEmail": "ops@example.test",
    "MonthlyBudgetUsd": 100,
    "MoreStripeAddresses": "192.0.2.1,2001:db8::1",
    "QueueSenders": "arn:aws:iam::111122223333:role/ops",
    "StripeEventBusName": "aws.partner/stripe.com/ed_test_61abc",
    "WebhookPathToken": "b1llh00k-t0ken_1",
}


def filled_in(expanded):
    """Two templates without parameters and conditions: the defaults, and everything on; each with its name."""
    made = stacks(expanded)
    usual = next(stack for stack in made if stack.label == DEFAULTS)
    full = dict(next(stack for stack in made if stack.label == "all options on").values)
    full |= {name: _real(name, value, expanded["Parameters"][name]) for name, value in full.items()}
    # A stack with tables of its own, of live mode.
    full |= {name: "" for name in full if name.startswith("Existing")} | ({"Mode": "live"} if "Mode" in full else {})
    for stack in (usual, Stack(expanded, full, "everything on")):
        yield stack.label, _concrete(expanded, stack)


def _real(name, value, parameter):
    """A value as it would really be: the one for this name, or for a sample the first that fits."""
    if name in REAL or not str(value).startswith(SAMPLE):
        return REAL.get(name, value)
    pattern = str(parameter.get("AllowedPattern", ""))
    return next((real for real in REAL.values() if re.fullmatch(pattern, str(real))), value)


def _concrete(expanded, stack):
    resources = {}
    for id, raw in expanded["Resources"].items():
        if not isinstance(raw, dict) or not stack.holds(raw.get("Condition")):
            continue
        # SAM hands functions and aliases the policy that is meant for versions, and W3011 asks for its pair.
        left_out = {"Condition", "Metadata"}
        left_out |= {"UpdateReplacePolicy"} if raw.get("Type") in ("AWS::Lambda::Function", "AWS::Lambda::Alias") else set()
        kept = {key: value for key, value in raw.items() if key not in left_out}
        resources[id] = _value(copy.deepcopy(kept), stack)
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}


def _value(value, stack):
    if isinstance(value, list):
        return [item for item in (_value(item, stack) for item in value) if item != NO_VALUE]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((function, argument),) = value.items()
        if function == "Ref" and argument in stack.values:
            return stack.values[argument]
        if function == "Ref" and argument in PSEUDO:
            return PSEUDO[argument]
        if function == "Fn::If":
            return _value(argument[1] if stack.holds(argument[0]) else argument[2], stack)
        if function == "Fn::Sub":
            return _text(argument, stack)
    return {key: item for key, item in ((key, _value(item, stack)) for key, item in value.items()) if item != NO_VALUE}


def _text(argument, stack):
    known = {**stack.values, **PSEUDO}
    text, own = (argument, {}) if isinstance(argument, str) else argument
    own = {name: _value(item, stack) for name, item in own.items()}
    known |= {name: item for name, item in own.items() if isinstance(item, (str, int))}
    text = re.sub(r"\$\{([\w:]+)\}", lambda found: str(known.get(found[1], found[0])), text)
    left = {name: item for name, item in own.items() if f"${{{name}}}" in text}
    if left:
        return {"Fn::Sub": [text, left]}
    return {"Fn::Sub": text} if "${" in text else text
