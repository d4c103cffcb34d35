"""Rules about log groups."""

from graph import is_ours
from model import items, mapping, number
from rules import rule

RETENTIONS = {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}


@rule("logs are kept for a time that CloudWatch takes")
def kept(stack):
    for group in stack.of("Logs::LogGroup"):
        days = number(group.get("RetentionInDays"))
        if days not in RETENTIONS:
            yield group.id, (
                f"RetentionInDays is {group.get('RetentionInDays')}: without one logs are kept and paid for ever;"
                f" CloudWatch takes {sorted(RETENTIONS)}"
            )
        elif stack.is_default and days < 3 and is_ours(stack):
            yield group.id, f"RetentionInDays is {days} by default: what happened two days ago cannot be looked up"
        if group.get("LogGroupClass") not in (None, "STANDARD"):
            yield group.id, "LogGroupClass is not STANDARD: no metrics are made of its lines"


@rule("the retention of logs can be set only to what CloudWatch takes", once=True)
def choices(written):
    parameters = mapping(written.source.get("Parameters"))
    for id, raw in mapping(written.expanded.get("Resources")).items():
        days = mapping(mapping(mapping(raw).get("Properties")).get("RetentionInDays"))
        parameter = (
            mapping(parameters.get(days.get("Ref"))) if mapping(raw).get("Type") == "AWS::Logs::LogGroup" else {}
        )
        wrong = [value for value in items(parameter.get("AllowedValues")) if number(value) not in RETENTIONS]
        if wrong or parameter and not parameter.get("AllowedValues"):
            yield id, (
                f"the parameter {days['Ref']} allows {wrong or 'any number'}: the stack cannot be made; CloudWatch"
                f" takes {sorted(RETENTIONS)}"
            )
