"""Expands a SAM template into the CloudFormation template that AWS makes of it, without AWS.

No tool lints a SAM source well: a dangling reference passes unseen. So everything here judges the expansion.
Input and output are plain dictionaries, in which the short forms of intrinsic functions are written out
(`!Ref x` is `{"Ref": "x"}`). As a program it prints the expansion of the file that it is given.
"""

import copy
import json
import os
import sys

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

# SAM resolves the names of managed policies; it needs a table of them, and this project uses none.
NO_MANAGED_POLICIES = {}


def load(path):
    """Reads a template, YAML or JSON."""
    with open(path, encoding="utf-8") as file:
        return plain(yaml_parse(file.read()))


def expand(template):
    """The expansion of a template; of one without the SAM transform, the template itself."""
    template = copy.deepcopy(template)
    if "AWS::Serverless-2016-10-31" not in str(template.get("Transform", "")):
        return template
    for resource in template.get("Resources", {}).values():
        properties = resource.get("Properties", {})
        # `sam package` would put an S3 address here.
        if resource.get("Type") == "AWS::Serverless::Function" and isinstance(properties.get("CodeUri"), str):
            properties["CodeUri"] = {"Bucket": "artifacts", "Key": code_name(properties["CodeUri"])}
    return plain(transform(template, {}, _Policies()))


def code_name(uri):
    """What a function's code is called: the folder of its source or of its archive."""
    return uri.rstrip("/").removesuffix("/bootstrap.zip").rsplit("/", 1)[-1]


def plain(value):
    """Ordered dictionaries and other subclasses as plain ones."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


class _Policies:
    """Stands in for the loader that asks IAM."""

    def load(self):
        return NO_MANAGED_POLICIES


if __name__ == "__main__":
    json.dump(expand(load(sys.argv[1])), sys.stdout, indent=2)
    print()
