"""Proves the judge: puts faults into our template, one at a time, and says which check notices each.

What these faults change stands in `faults_known.py` and `faults_more.py`; `variants.py` has changes that are none.
The linters that others made are asked only where no rule of our own noticed a fault: they take seconds each.
"""

import copy
from multiprocessing import Pool

import check
import expand
import faults_known
import faults_more
import simulate
import variants

PROCESSES = 2
LISTS = {"known": faults_known.FAULTS, "more": faults_more.FAULTS, "variants": variants.VARIANTS}
SUMS = {"known": "{} of {} caught", "more": "{} of {} more caught", "variants": "{} of {} variants pass"}
FAST = ("cfn-lint", "cloudformation-validate", "cdk-preflight", "the IAM simulator")
# checkov takes as long for a variant as all else together, and looks at nothing that they change.
LINTERS = {"known": (*FAST, "checkov"), "more": (*FAST, "checkov"), "variants": FAST}


def main(path, more):
    """Judges the template with each fault, and with more each variant; the exit status."""
    source = expand.load(path)
    # Here, and not in each process: it may have to be installed.
    missing = simulate.missing() or simulate.install()
    if missing:
        print(f"SKIPPED: the IAM simulator: {missing}")
    left_out = {"the IAM simulator"} if missing else set()
    linters = {kind: [name for name in names if name not in left_out] for kind, names in LINTERS.items()}
    noticed = notice(source, path, linters["known"])
    print(f"{'FAIL' if noticed else 'PASS'}  the template without a fault" + (f": {noticed}" if noticed else ""))
    results, sums = [not noticed], []
    with Pool(PROCESSES) as pool:
        for kind in LISTS if more else ["known"]:
            tasks = [(source, path, kind, index, linters[kind]) for index in range(len(LISTS[kind]))]
            ok = [_told(kind, *each) for each in zip(LISTS[kind], pool.imap(_judge, tasks))]
            sums.append(SUMS[kind].format(ok.count(True), len(ok)))
            results += ok
    print("\n".join(sums))
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


def _told(kind, change, judged):
    """Prints what became of a changed template; whether that is right."""
    noticed, made = judged
    ok = made and (noticed is None) == (kind == "variants")
    print(f"{'PASS' if ok else 'FAIL'}  {change[0]}: {noticed or 'nothing notices it'}", flush=True)
    return ok


def _judge(task):
    """What notices a change. It is named by its place: a function of another's cannot be handed to a process."""
    source, path, kind, index, linters = task
    changed = copy.deepcopy(source)
    try:
        LISTS[kind][index][1](changed)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        return f"cannot be put into the template: {type(error).__name__} {error}", False
    if kind != "variants" and changed == source:
        return "changes nothing", False
    return notice(changed, path, linters), True


def notice(source, path, linters):
    """The first check that notices something, with its first finding; nothing where none does."""
    expanded, problems = check.expansion(source)
    if problems:
        return f"expansion: {problems[0]}"
    # Not as our own file: what lies beside it is not part of it.
    for name, findings in check.own_rules(source, expanded, path, own=False):
        if findings:
            return f"{name}: {findings[0]}"
    for linter in linters:
        findings = check.attempt(linter, expanded)
        if findings:
            return f"{linter}: {findings[0]}"
    return None
