"""The rules of cdk-preflight, each of which is a deployment that AWS was seen to refuse.

They are written in Rego for the engine of cloudformation-validate, and are handed to that here: neither the CDK nor
node is needed, which they are made for. The package keeps them as JSON, in a JavaScript file within an archive.
"""

import functools
import json
import tarfile
from importlib import metadata

REGION, ACCOUNT = "us-east-1", "111122223333"
# What cdk-preflight adds to the rules: where the template goes.
PLACE = f'package cdk_preflight\n\nimport rego.v1\n\ndeploy_region := "{REGION}"\ndeploy_account := "{ACCOUNT}"\n'


def sources(types):
    """The rules about any of these types of resources, and what they share, each as a name and its text."""
    rules, shared = _bundled()
    about = [rule for rule in rules if not rule["resourceTypes"] or {"*", *types} & set(rule["resourceTypes"])]
    yield "place", PLACE
    yield from ((each["name"], each["rego"]) for each in shared)
    yield from ((each["id"], each["rego"]) for each in about)


@functools.cache
def _bundled():
    archive = next(file for file in metadata.files("cdk-preflight") if file.name.endswith(".jsii.tgz"))
    with tarfile.open(archive.locate()) as files:
        text = files.extractfile("package/lib/rules.generated.js").read().decode()
    return [_assigned(text, name) for name in ("BUNDLED_RULES", "BUNDLED_LIBS")]


def _assigned(text, name):
    """What a script assigns to an export of this name, where that is written as JSON."""
    begin = f"exports.{name} = "
    # The first assignment only announces the name.
    start = text.index(begin + "[") + len(begin)
    return json.JSONDecoder().raw_decode(text, start)[0]
