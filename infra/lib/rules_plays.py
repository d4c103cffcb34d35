"""Rules that play what happens and look when each alarm is on.

What AWS measures is put in as numbers, what the functions measure as the lines that they write (`metric_lines.json`). Each
play is run with data in time and up to three minutes late: all of them alike, or those of one side only.
"""

import functools
import json
import os
import unittest
from dataclasses import dataclass

import alarms
from graph import is_ours
from model import STACK_NAME
from rules import rule
from rules_alarms import watched

# By how many minutes what the functions measure, and what AWS measures, is late.
LATENESS = ((0, 0), (1, 0), (1, 1), (2, 2), (3, 3), (3, 0), (0, 3))
HOUR, DAY = 60, 1440
# When a story begins: whatever is looked at before it is empty.
START = 20_000
# How long a canary lasts, in minutes.
CANARY = 10


@dataclass(frozen=True)
class Aws:
    """A metric that the alarm watches has a value: one of AWS's, or one of ours whose value is no matter of a line's."""

    name: str
    value: float


@dataclass(frozen=True)
class Only:
    """The n-th metric of the alarm has a value, and no other."""

    index: int
    value: float


@dataclass(frozen=True)
class Line:
    """The functions write what they write when this happens, so many times."""

    what: str
    times: int = 1


@dataclass(frozen=True)
class Story:
    """What happens in each of some minutes, every so many minutes."""

    happens: tuple
    minutes: int
    every: int = 1


@dataclass(frozen=True)
class Play:
    """What sets an alarm off and for how long it may wait, when it must be over, and what must not set it off.

    With `stays` it may not be over before so many minutes after the end either. With `each` any of its metrics alone sets
    it off.
    """

    sets_off: tuple
    within: int
    over: int
    harmless: tuple = ()
    stays: int = 0
    each: bool = False


def every_minute(*happens, minutes=12):
    """It happens in each minute."""
    return Story(happens, minutes)


def now_and_then(*happens):
    """It happens every twenty minutes, as in a small shop."""
    return Story(happens, 2 * HOUR, 20)


def once(*happens):
    """It happens in one minute."""
    return Story(happens, 1)


FORGED, FROM_STRIPE = "webhook: a forged delivery", "webhook: a forged delivery from an address of Stripe's"
APPLIED = Line("consumer: an event is applied")
# By strangers, while the shop goes on.
FLOOD = every_minute(
    *(Line(FORGED, 1000), Line("webhook: too large", 50), Aws("4xx", 1050), Aws("Count", 1110)),
    *(APPLIED, Aws("NumberOfMessagesSent", 60)),
    minutes=40,
)
USUAL = every_minute(APPLIED, Aws("NumberOfMessagesSent", 60), Aws("Count", 60), Aws("Duration", 12), minutes=40)


def spells(*happens, **more):
    """Of an alarm that wants two bad spells: often or now and then, but not once."""
    return Play((every_minute(*happens, minutes=20), now_and_then(*happens)), 45, 90, (USUAL, once(*happens)), **more)


# By what an alarm watches: name space, metric and reason.
AWS_PLAYS = {
    "ApproximateNumberOfMessagesVisible": Play((every_minute(Aws("ApproximateNumberOfMessagesVisible", 1)),), 8, 10),
    "ApproximateAgeOfOldestMessage": Play((every_minute(Aws("ApproximateAgeOfOldestMessage", 5000)),), 12, 12),
    "Errors": spells(Aws("Errors", 1)),
    "Throttles": spells(Aws("Throttles", 1)),
    "5xx": spells(Aws("5xx", 1)),
    "4xx": Play((every_minute(Aws("4xx", 2000), minutes=25),), 20, 25, (USUAL,)),
    "Duration": Play((every_minute(Aws("Duration", 9900)),), 12, 12, (USUAL,)),
    "IteratorAge": Play((every_minute(Aws("IteratorAge", 5e7)),), 12, 12),
    "FailedInvocations": Play((every_minute(Aws("FailedInvocations", 1)), now_and_then(Aws("FailedInvocations", 1))), 12, 90),
    "Count": Play((every_minute(Aws("Count", 1e8)),), 8, 30, (USUAL,)),
}
PLAYS = {
    ("Parked", None): Play(
        (once(Line("consumer: an event is parked")),), 8, DAY + 20, (USUAL,), stays=DAY - 20
    ),
    ("NeedsRefetch", None): Play(
        (every_minute(Line("consumer: a row is open")), now_and_then(Line("consumer: a row is open"))), 8, 7 * HOUR, (USUAL,)
    ),
    ("RefetchFailed", None): spells(Line("consumer: a refetch fails")),
    ("SecretRefreshFailures", None): spells(Line("webhook: a secret that cannot be read")),
    ("OldSecretOnly", None): spells(Line("webhook: old secret only")),
    ("LagSecs", None): spells(Aws("LagSecs", 1e6)),
    ("RefusedFromStripe", "signature_mismatch"): Play(
        (every_minute(Line(FROM_STRIPE, 4)), now_and_then(Line(FROM_STRIPE, 4))), 45, 90, (USUAL, FLOOD)
    ),
    ("RefusedFromStripe", "body_too_large"): Play(
        (once(Line("webhook: too large, from Stripe's")),), 8, 25, (USUAL, FLOOD)
    ),
}
# Of metric math: by all that it is made of.
SUMS = {
    ("Refused", "timestamp_too_old"): Play(
        (now_and_then(Line("webhook: timestamp too old", 4)), now_and_then(Line("webhook: timestamp in the future", 4))),
        45,
        90,
        (USUAL, FLOOD),
    ),
    ("OtherMode", None): Play(
        (Story((Line("consumer: an event of the other mode"),), 2 * HOUR, 5),),
        2 * HOUR,
        3 * HOUR,
        (USUAL, every_minute(Line("consumer: an event of the other mode"), APPLIED, minutes=90)),
    ),
    ("4xx", None): Play((every_minute(Aws("4xx", 2000), minutes=25),), 20, 25, (USUAL, FLOOD)),
    ("WriteThrottleEvents", None): Play((), 12, 12, each=True),
    # What CodeDeploy asks while a new version has a tenth of the traffic.
    ("EnqueueFailures", None): Play(
        (
            every_minute(Aws("Errors", 4), minutes=5),
            every_minute(Line("webhook: no secret", 4), minutes=5),
            every_minute(Line("webhook: the queue is down", 4), minutes=5),
        ),
        CANARY,
        12,
        (USUAL, FLOOD),
    ),
    ("NumberOfMessagesSent", None): Play(
        (every_minute(Line(FROM_STRIPE, 6), Aws("NumberOfMessagesSent", 54), minutes=5),),
        CANARY,
        12,
        (USUAL, FLOOD, every_minute(Line(FROM_STRIPE, 4), Aws("NumberOfMessagesSent", 4000))),
    ),
    ("Parked", None): Play(
        (every_minute(Aws("Errors", 1), minutes=5), once(Line("consumer: an event is parked"))),
        CANARY,
        12,
        (USUAL, FLOOD),
    ),
}


def play_of(alarm):
    """The play of an alarm, or None where there is none."""
    seen = [(each.name, each.dimensions.get("Reason")) for each in watched(alarm)]
    if len(seen) == 1:
        ((name, _),) = seen
        return PLAYS.get(seen[0]) or AWS_PLAYS.get(name)
    return next((play for key, play in SUMS.items() if key in seen), None)


def is_silence(alarm):
    """Whether it is the alarm that goes off when nothing comes."""
    return [each.name for each in watched(alarm)] == ["StripeEvents"]


@rule("the evaluator of alarms does what CloudWatch's guide says", once=True)
def evaluator(_written):
    yield from _failed_tests()


@functools.cache
def _failed_tests():
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromName("test_alarms").run(result)
    return [
        (test.id(), f"fails: {text.strip().splitlines()[-1]}") for test, text in result.failures + result.errors
    ] or ([] if result.testsRun else [("test_alarms", "has no tests")])


@rule("every alarm goes off when it should, and is over when it should")
def played(stack):
    for alarm in stack.of("CloudWatch::Alarm") if is_ours(stack) else ():
        asked = not alarm.get("AlarmActions")
        for problem in _problems(json.dumps(alarm.properties, sort_keys=True), asked, _Alarm(alarm)):
            yield alarm.id, problem


class _Alarm:
    """An alarm that is hashed as nothing, so that only what it says counts."""

    def __init__(self, alarm):
        self.alarm = alarm

    def __hash__(self):
        return 0

    def __eq__(self, other):
        return True


@functools.lru_cache(maxsize=None)
def _problems(_content, is_asked_only, holder):
    alarm = holder.alarm
    play = play_of(alarm)
    if play is None and not is_silence(alarm):
        return ["nobody has seen it go off: give it a play in infra/lib/rules_plays.py"] if _is_known(alarm) else []
    try:
        evaluation = alarms.Alarm(alarm.properties)
        found = _silence(evaluation) if is_silence(alarm) else _played(evaluation, play, is_asked_only)
        return list(dict.fromkeys(found))
    except alarms.CannotTell as error:
        return [f"cannot be played: {error}"]


def _is_known(alarm):
    """Whether it watches a metric that there is; another rule tells where it does not."""
    return any(each.metric for each in watched(alarm))


def _played(evaluation, play, is_asked_only):
    alone = [every_minute(Only(index, 1)) for index in range(len(evaluation.metrics))] if play.each else []
    for lateness in LATENESS:
        for story in (*play.sets_off, *alone):
            yield from _sets_off(evaluation, play, story, lateness)
        for story in play.harmless:
            if story.minutes == 1 and evaluation.needed == 1:
                continue
            states = evaluation.states(_data(evaluation, story), START, START + story.minutes + 10, _late(lateness))
            on = next((now - START for now, state in states if state == alarms.ALARM), None)
            if on is not None:
                yield f"goes off in minute {on} of what is harmless ({_said(story)}), {_lateness(lateness)}"
    quiet = {state for _, state in evaluation.states(alarms.Data(), 0, evaluation.periods * evaluation.period + 5)}
    if quiet != {alarms.OK}:
        yield f"is {' and '.join(sorted(quiet))} while nothing happens, and must be OK"
    if is_asked_only and evaluation.periods * evaluation.period > CANARY:
        yield "stays on longer than a canary lasts: the deployment of what mends it could not begin"


def _sets_off(evaluation, play, story, lateness):
    limit, end, over = play.within + max(lateness), story.minutes, story.minutes + play.over + max(lateness)
    states = evaluation.states(_data(evaluation, story), START, START + over + 1, _late(lateness))
    on = {now - START: None for now, state in states if state == alarms.ALARM}
    if min(on, default=limit + 1) > limit:
        yield f"is not on {limit} minutes after the beginning of what it is for ({_said(story)}), {_lateness(lateness)}"
        return
    off = next((minute for minute in range(min(on), end + play.stays) if minute not in on), None)
    if off is not None:
        why = "although it goes on" if off < end else "too soon for somebody to see it"
        yield f"is over in minute {off} {why} ({_said(story)}), {_lateness(lateness)}"
    if over in on:
        minutes = play.over + max(lateness)
        yield f"is still on {minutes} minutes after the end of what it is for ({_said(story)}), {_lateness(lateness)}"


def _silence(evaluation):
    hours = evaluation.periods * evaluation.period // HOUR
    end = START + 2 * hours * HOUR
    alive = _data(evaluation, Story((APPLIED,), 2 * hours * HOUR, 50))
    other = _data(evaluation, Story((Line("consumer: an event of the other mode"),), 2 * hours * HOUR, 5))
    for lateness in LATENESS:
        late = _late(lateness)
        if evaluation.state(alive, end - 5, late=late) != alarms.OK:
            yield f"goes off although an event comes every 50 minutes, {_lateness(lateness)}"
        if evaluation.state(alive, end + (hours + 3) * HOUR, late=late) != alarms.ALARM:
            yield f"is not on after {hours + 3} hours of silence, {_lateness(lateness)}"
        if evaluation.state(other, end, late=late) != alarms.ALARM:
            yield "takes events of the other mode, which are ignored, for a sign of life"


def _data(evaluation, story):
    """What is measured when a story happens, of what the alarm watches and by the functions."""
    return _told(story, tuple(metric for metric, _, _ in evaluation.metrics.values()))


@functools.lru_cache(maxsize=4096)
def _told(story, watched_metrics):
    data = alarms.Data()
    for minute in range(START, START + story.minutes, story.every):
        for what in story.happens:
            if isinstance(what, Line):
                for line in _lines()[what.what]:
                    data.add_line(line, minute, what.times)
            elif isinstance(what, Only):
                data.add(watched_metrics[what.index], minute, what.value)
            else:
                for metric in watched_metrics:
                    if metric[1] == what.name:
                        data.add(metric, minute, what.value)
    return data


@functools.cache
def _lines():
    """The lines that the functions write, by what happens (`tests/tests/metric_lines.rs` makes them)."""
    with open(os.path.join(os.path.dirname(__file__), "metric_lines.json"), encoding="utf-8") as file:
        found = json.load(file)
    assert all(line["Stack"] == STACK_NAME for each in found.values() for line in each)
    return found


def _said(story):
    names = [_named(what) for what in story.happens]
    often = "once" if story.minutes == 1 else "each minute" if story.every == 1 else f"every {story.every} minutes"
    return f"{' and '.join(names)}, {often}"


def _named(what):
    if isinstance(what, Line):
        return what.what
    return f"{what.name if isinstance(what, Aws) else f'metric {what.index + 1} alone'} {what.value:g}"


def _late(lateness):
    """The lateness by name space."""
    ours, of_aws = lateness
    return lambda namespace: ours if namespace == "billhook" else of_aws


def _lateness(lateness):
    ours, of_aws = lateness
    if ours == of_aws:
        return "with data in time" if ours == 0 else f"with data {ours} minutes late"
    return f"with the functions' data {ours} and AWS's {of_aws} minutes late"
