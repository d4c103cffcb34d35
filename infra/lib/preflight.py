"""Holds a template against the rules of cdk-preflight, each of which is a deployment that AWS was seen to refuse. As a
program: reads a template from standard input, prints a list of findings as JSON. It starts node, which it needs.
"""

import json
import sys
import tempfile
from pathlib import Path


def findings(template):
    """What the rules find, an error or a warning each."""
    import aws_cdk
    from aws_cdk import cloudformation_include
    from cdk_preflight import Preflight

    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder, "template.json"), Path(folder, "out")
        file.write_text(json.dumps(template))
        app = aws_cdk.App(outdir=str(out))
        Preflight.apply(app, strict=True)
        stack = aws_cdk.Stack(app, "S", env=aws_cdk.Environment(region="us-east-1", account="111122223333"))
        cloudformation_include.CfnInclude(stack, "T", template_file=str(file))
        refused = None
        try:
            app.synth()
        except RuntimeError as error:
            refused = str(error).strip().splitlines()[0]
        report = next(iter([*out.glob("**/validation-report.json"), *out.glob("**/policy-validation-report.json")]), None)
        if report is None:
            return [refused] if refused else []
        return list(_violations(json.loads(report.read_text())))


def _violations(report):
    for plugin in report.get("pluginReports") or []:
        for violation in plugin.get("violations") or []:
            yield f"{violation.get('ruleName')}: {violation.get('description')}"


if __name__ == "__main__":
    json.dump(findings(json.load(sys.stdin)), sys.stdout)
