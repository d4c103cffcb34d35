"""Judges the stack's template: with the linters that others made, and with the rules of this project's own.

usage: infra/check                        judges infra/template.yaml
       infra/check --template FILE        judges another template, SAM or CloudFormation
       infra/check --faults [--more]      proves the judge: puts faults into the template, one at a time

Exit status: 0 where everything passed, 1 where something failed, 2 where the file cannot be read.
"""

import argparse
import logging
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.realpath(__file__))
OWN_TEMPLATE = os.path.join(os.path.dirname(HERE), "template.yaml")
# More findings of one rule are the same one again.
SHOWN_MAX = 12


def main():
    """The command."""
    options = arguments()
    # SAM notes that a switch of AWS's own service is not set, at each expansion.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    if options.faults:
        import faults

        return faults.main(OWN_TEMPLATE, options.more)
    return judge_file(options.template or OWN_TEMPLATE)


def arguments():
    """The options; wrong ones end the program with status 2."""
    usage = __doc__.split("usage: ")[1].split("\n\n")[0]
    parser = argparse.ArgumentParser(prog="infra/check", usage=usage, add_help=True)
    parser.add_argument("--template", metavar="FILE")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--more", action="store_true")
    options = parser.parse_args()
    if options.faults and options.template or options.more and not options.faults:
        parser.error("--faults stands alone or with --more")
    return options


def judge_file(path):
    """Judges a file and prints what was found; the exit status."""
    import expand

    try:
        source = expand.load(path)
    except OSError as error:
        print(f"infra/check: cannot read {path}: {error.strerror}", file=sys.stderr)
        return 2
    except UnicodeDecodeError:
        print(f"infra/check: {path} is not text", file=sys.stderr)
        return 2
    except Exception as error:
        print(f"infra/check: {path} is neither YAML nor JSON: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    if not isinstance(source, dict):
        print(f"infra/check: {path} is no template: it holds a {type(source).__name__}", file=sys.stderr)
        return 2

    with ThreadPoolExecutor() as pool:
        # The two that run in processes of their own; this one goes on meanwhile.
        sam = pool.submit(attempt, "sam validate --lint", path)
        expanded, problems = expansion(source)
        results = [("the template can be expanded", problems)]
        if not problems:
            checkov = pool.submit(attempt, "checkov", expanded)
            own = os.path.realpath(path) == os.path.realpath(OWN_TEMPLATE)
            results += own_rules(source, expanded, path, own)
            results.append(("cfn-lint, of the expanded template", attempt("cfn-lint", expanded)))
            for linter in ("cloudformation-validate", "cdk-preflight"):
                results.append((f"{linter}, of the template filled in", attempt(linter, expanded)))
            if own:
                results += simulated(expanded)
            results.append(("checkov, of the expanded template", checkov.result()))
        results.insert(0, ("sam validate --lint", sam.result()))
    return report(results)


def expansion(source):
    """The expanded template, and why it cannot be expanded."""
    import expand

    try:
        return expand.expand(source), []
    except Exception as error:
        causes = getattr(error, "causes", None) or [error]
        return None, [getattr(cause, "message", None) or f"{type(cause).__name__}: {cause}" for cause in causes]


def attempt(linter, subject):
    """What a linter finds; that it fails is a finding too."""
    import lint
    import simulate

    function = {
        "sam validate --lint": lint.sam,
        "cfn-lint": lint.cfn,
        "cloudformation-validate": lint.validate,
        "checkov": lint.checkov,
        "cdk-preflight": lint.preflight,
        "the IAM simulator": simulate.findings,
    }[linter]
    try:
        return function(subject)
    except Exception as error:
        return [f"{linter} cannot judge this template: {type(error).__name__}: {error}"]


def simulated(expanded):
    """What the IAM simulator finds; where it cannot be had that is said."""
    import simulate

    name = "roles and queues let in whom they must, says an IAM simulator"
    missing = simulate.missing()
    # A tool that can be installed is there where everything is required.
    if missing and os.environ.get("BILLHOOK_REQUIRE_ALL") == "1":
        return [(name, [f"{missing}, and BILLHOOK_REQUIRE_ALL=1 is set"])]
    missing = missing or simulate.install()
    if missing:
        print(f"SKIPPED: the IAM simulator: {missing}")
        return []
    return [(name, attempt("the IAM simulator", expanded))]


def own_rules(source, expanded, path, own):
    """What each of our rules finds, by name. With `own` what lies beside the template is judged with it."""
    import rules

    written = rules.Written(source, expanded, os.path.abspath(path), own)
    try:
        judgements = rules.judge(written)
    except Exception as error:
        return [("the template can be filled in", [f"it is of a form that cannot be: {type(error).__name__}: {error}"])]
    return [(judgement.rule.name, judgement.findings) for judgement in judgements]


def report(results):
    """Prints the results; the exit status."""
    for name, findings in results:
        print(f"{'FAIL' if findings else 'PASS'}  {name}")
        for finding in findings[:SHOWN_MAX]:
            print(f"      {finding}")
        if len(findings) > SHOWN_MAX:
            print(f"      and {len(findings) - SHOWN_MAX} more")
    failed = sum(1 for _, findings in results if findings)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
