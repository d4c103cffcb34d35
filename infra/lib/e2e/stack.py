"""A stack in the emulator: expanded, adapted, created, updated, deleted and asked about.

Knows CloudFormation; what is in the template it looks up there.
"""

import copy
import io
import json
import logging
import os
import re
import time
import zipfile

import expand

from .adapt import adapt
from .resolve import Resolver

# It speaks of its own switches.
logging.getLogger("samtranslator").setLevel(logging.CRITICAL)

BUCKET = "artifacts"
DONE_SECS = 180


class StackFailed(Exception):
    """CloudFormation could not do it."""


class Stack:
    """A stack of this name, of a source template (SAM, or expanded already)."""

    def __init__(self, emulator, name, binaries, endpoints, variables):
        self.emulator = emulator
        self.name = name
        self.binaries = binaries
        self.endpoints = endpoints
        self.variables = variables
        # Is in the functions' packages, so that another one makes other code.
        self.label = "current"
        self.cloudformation = emulator.client("cloudformation")
        self.taken_out = {}
        self.template = None
        self.adapted = None
        self.values = {}
        self.ids = {}
        self.outputs = {}

    def create(self, source, **parameters):
        """Creates it."""
        self._put(self.cloudformation.create_stack, "CREATE_COMPLETE", source, parameters)

    def update(self, source, **parameters):
        """Updates it; what is not named keeps the value that it has."""
        self._put(self.cloudformation.update_stack, "UPDATE_COMPLETE", source, {**self.values, **parameters})

    def delete(self):
        """Deletes it. What it retains stays."""
        self.cloudformation.delete_stack(StackName=self.name)
        self._wait("DELETE_COMPLETE", missing_is_done=True)

    def resolver(self):
        """Answers the template's functions."""
        dynamodb, secrets = self.emulator.client("dynamodb"), self.emulator.client("secretsmanager")
        arns = {}
        for logical, physical in self.ids.items():
            kind = self.template["Resources"][logical]["Type"]
            if kind == "AWS::DynamoDB::Table":
                arns[logical] = dynamodb.describe_table(TableName=physical)["Table"].get("LatestStreamArn")
            elif kind == "AWS::SecretsManager::Secret":
                arns[logical] = secrets.describe_secret(SecretId=physical)["ARN"]
        stack = self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]["StackId"]
        return Resolver(self.template, {"AWS::StackId": stack, **self.values}, self.name, self.ids, arns)

    def _put(self, call, done, source, parameters):
        declared = source["Parameters"]
        values = {name: it["Default"] for name, it in declared.items() if "Default" in it}
        values.update({name: value for name, value in parameters.items() if name in declared})
        # AWS hands the transform the parameters' values, and new values make new versions of the functions.
        source = copy.deepcopy(source)
        for name, value in values.items():
            source["Parameters"][name]["Default"] = value
        self.template = expand.expand(source)
        self.values = values
        self.adapted, self.taken_out = adapt(
            self.template, values, self._upload(), self.endpoints, self.variables
        )
        # Too long for a request, as on AWS, where `sam deploy` puts it into a bucket as well.
        s3 = self.emulator.client("s3")
        s3.put_object(Bucket=BUCKET, Key=f"{self.name}.json", Body=json.dumps(self.adapted).encode())
        call(
            StackName=self.name,
            TemplateURL=f"{self.emulator.endpoint}/{BUCKET}/{self.name}.json",
            Parameters=[{"ParameterKey": name, "ParameterValue": str(value)} for name, value in values.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        self._wait(done)
        resources = self.cloudformation.describe_stack_resources(StackName=self.name)["StackResources"]
        self.ids = {it["LogicalResourceId"]: it["PhysicalResourceId"] for it in resources}
        stack = self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]
        self.outputs = {it["OutputKey"]: it["OutputValue"] for it in stack.get("Outputs", [])}

    def _upload(self):
        """Puts the functions' code where Lambda takes it from."""
        s3 = self.emulator.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        codes = {}
        for binary, path in self.binaries.items():
            key = f"{binary}-{self.label}.zip"
            s3.put_object(Bucket=BUCKET, Key=key, Body=_package(path, self.label))
            codes[binary] = {"S3Bucket": BUCKET, "S3Key": key}
        return codes

    def _wait(self, done, missing_is_done=False):
        deadline = time.monotonic() + DONE_SECS
        while True:
            try:
                stack = self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]
            except self.cloudformation.exceptions.ClientError:
                if missing_is_done:
                    return
                raise
            status = stack["StackStatus"]
            if status == done:
                return
            if not status.endswith("_IN_PROGRESS") or time.monotonic() > deadline:
                raise StackFailed(f"{self.name}: {status}, {self._reasons(stack)}")
            time.sleep(0.2)

    def _reasons(self, stack):
        events = self.cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
        reasons = [
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in events
            if "FAILED" in event["ResourceStatus"] and event.get("ResourceStatusReason")
        ]
        return "; ".join(reasons) or stack.get("StackStatusReason", "no reason given")


def newest_released(folder):
    """The file of the newest released template, or none. Names hold the version: `0.10.0.json` is after `0.9.0.json`."""
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".json")]
    except FileNotFoundError:
        return None
    names.sort(key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    return os.path.join(folder, names[-1]) if names else None


def _package(path, label):
    """A deployment package, as cargo-lambda makes it, with a label in it."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, open(path, "rb") as file:
        entry = zipfile.ZipInfo("bootstrap", (2026, 1, 1, 0, 0, 0))
        entry.external_attr = 0o100755 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(zipfile.ZipInfo("label", (2026, 1, 1, 0, 0, 0)), label)
        archive.writestr(entry, file.read(), compresslevel=1)
    return data.getvalue()
