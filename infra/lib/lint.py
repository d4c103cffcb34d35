"""The linters that others made: `sam validate --lint`, cfn-lint, checkov, cloudformation-validate and the rules of
cdk-preflight. Each gives a list of findings.
"""

import functools
import json
import os
import subprocess
import sys
import tempfile

from cloudformation_validate import (
    CompositeEngine,
    CompositeEngineConfig,
    ExternalRuleSource,
    ReportStatus,
    Severity,
    TemplateContent,
    ValidateConfig,
)
from filled import filled_in
from preflight import sources

REGION = "us-east-1"
# ARNs that are written out, because parameters are filled in; and a number as text, which CloudFormation takes.
NO_FINDINGS = {"W9002", "W9003", "W9013"}


def sam(path):
    """`sam validate --lint` of a template as it is written."""
    # Of its own folder, so that no samconfig.toml of the caller's has a say.
    command = [_tool("sam"), "validate", "--lint", "--template-file", os.path.abspath(path), "--region", REGION]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return []
    text = done.stdout + done.stderr
    if "Traceback" in text:
        errors = [line for line in text.splitlines() if line.startswith("Error:")] or text.splitlines()[-1:]
        return [f"sam cannot judge this template: {line}" for line in errors]
    # It puts all findings into one line.
    lines = [line.strip() for line in text.replace(", [", "\n[").splitlines()]
    return [line for line in lines if line and not line.startswith("SAM CLI")] or [f"exit status {done.returncode}"]


def cfn(expanded):
    """cfn-lint of an expanded template. Its warnings count."""
    from cfnlint.api import lint
    from cfnlint.config import ManualArgs

    found = lint(json.dumps(expanded, default=str), config=ManualArgs(regions=[REGION]))
    aliases = {id for id, raw in expanded.get("Resources", {}).items() if raw.get("Type") == "AWS::Lambda::Alias"}
    return [
        f"{_where(match)}: {match.message} ({match.rule.id})"
        for match in found
        # SAM hands an alias what is meant for the versions.
        if not (match.rule.id == "W3011" and str(match.path[1]) in aliases)
    ]


def _where(match):
    path = [str(part) for part in getattr(match, "path", None) or []]
    return (
        path[1] + "." + ".".join(path[2:]) if len(path) > 2 and path[0] == "Resources" else ".".join(path) or "template"
    )


def checkov(expanded):
    """checkov of an expanded template, without its own downloads."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "template.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(expanded, file, default=str)
        command = [_tool("checkov"), "--skip-download", "--quiet", "--compact", "--output", "json"]
        command += ["--framework", "cloudformation", "--file", path]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return [f"exit status {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}"]
    if "results" not in report:
        return ["checkov found nothing to look at in the template"] if report.get("resource_count", 0) == 0 else []
    failed = report["results"]["failed_checks"]
    errors = report["results"].get("parsing_errors", [])
    return [f"{item['resource']}: {item['check_name']} ({item['check_id']})" for item in failed] + [
        f"{os.path.basename(item)} cannot be read" for item in errors
    ]


def validate(expanded):
    """AWS's own cloudformation-validate, of the template filled in. Its warnings count, its mere notes do not."""
    return _refusals(expanded, _validator(), ValidateConfig())


def preflight(expanded):
    """The rules of cdk-preflight, of the template filled in: each is a deployment that AWS refused."""
    types = frozenset(str(raw.get("Type")) for raw in expanded["Resources"].values() if isinstance(raw, dict))
    return _refusals(expanded, _refused_deployments(types), ValidateConfig(disable_builtin_rules=True))


@functools.cache
def _validator():
    return CompositeEngine()


@functools.cache
def _refused_deployments(types):
    rules = [ExternalRuleSource(name=name, content=text) for name, text in sources(types)]
    return CompositeEngine(CompositeEngineConfig(rego_rules=rules))


def _refusals(expanded, engine, config):
    found = {}
    for label, template in filled_in(expanded):
        text = json.dumps(template, default=str)
        report = engine.validate_template(TemplateContent(text, "template.json"), config)
        if report.status != ReportStatus.OK:
            found.setdefault("template: was not judged to its end", label)
        for each in report.diagnostics:
            if each.severity not in (Severity.INFO, Severity.DEBUG) and each.rule_id not in NO_FINDINGS:
                place = getattr(each.entity, "logical_id", None) or each.property_path or "template"
                found.setdefault(f"{place}: {each.message} ({each.rule_id})", label)
    return [f"{text} (with {label})" for text, label in found.items()]


def _tool(name):
    return os.path.join(os.path.dirname(sys.executable), name)
