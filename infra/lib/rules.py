"""The rules: what they are, and how a template is judged by them.

A rule is a generator over a stack (see `model.py`) that yields findings: the resource's logical id and a sentence
which says what is wrong, what comes of it and what to do. It is asked once for each stack of `scenarios.py`; one that
is about the template as it is written is asked once.
"""

import importlib
import traceback
from dataclasses import dataclass, field
from typing import Callable

import scenarios

MODULES = [
    "rules_queues",
    "rules_mappings",
    "rules_functions",
    "rules_environment",
    "rules_iam",
    "rules_policies",
    "rules_tables",
    "rules_secrets",
    "rules_api",
    "rules_logs",
    "rules_events",
    "rules_deploy",
    "rules_alarms",
    "rules_plays",
    "rules_shapes",
    "rules_coverage",
    "rules_dashboard",
    "rules_parameters",
    "rules_template",
]
RULES = []


@dataclass
class Rule:
    """A rule, with the name that it is reported by."""

    name: str
    judge: Callable
    once: bool


@dataclass
class Judgement:
    """What a rule found."""

    rule: Rule
    findings: list = field(default_factory=list)


@dataclass
class Written:
    """A template as it is written and as it is expanded."""

    source: dict
    expanded: dict
    path: str
    # Whether it is this project's own file, beside which its other files lie.
    own: bool
    stacks: list = field(default_factory=list)


def rule(name, once=False):
    """Makes a generator a rule. With `once` it is given the `Written` template, else each stack."""

    def register(judge):
        RULES.append(Rule(name, judge, once))
        return judge

    return register


def load():
    """All rules."""
    for module in MODULES:
        importlib.import_module(module)
    return RULES


def judge(written):
    """What each rule finds in the template, each finding once."""
    written.stacks = scenarios.stacks(written.expanded)
    return [Judgement(rule, list(_findings(rule, written))) for rule in load()]


def _findings(rule, written):
    seen = set()
    for subject in [written] if rule.once else written.stacks:
        for where, message in _asked(rule, subject):
            if (where, message) not in seen:
                seen.add((where, message))
                usual = rule.once or subject is written.stacks[0]
                yield f"{where}: {message}" + ("" if usual else f" (with {subject.label})")


def _asked(rule, subject):
    """The findings; that the template is too odd for the rule is one as well."""
    try:
        yield from rule.judge(subject)
    except Exception:
        place = traceback.format_exc().strip().splitlines()
        yield "template", f"is of a form that this rule cannot judge: {place[-1].strip()} ({place[-3].strip()})"
