"""The AWS CLI, for commands that people run: what it answers, and errors that say what to do."""

import json
import re
import subprocess


class Problem(Exception):
    """Why it cannot go on, and what to do."""


class AwsError(Problem):
    """What AWS answered."""

    def __init__(self, code, text, hint=None):
        super().__init__(f"{text}\n  What to do: {hint}" if hint else text)
        self.code = code


class Aws:
    """The AWS CLI, with the options that go with every call. `hints` say what to do about an error, by its code."""

    def __init__(self, options, hints):
        self.hints = hints
        self.options = ["--output", "json"]
        for name in ("region", "profile", "endpoint_url"):
            if getattr(options, name):
                self.options += [f"--{name.replace('_', '-')}", getattr(options, name)]

    def __call__(self, service, operation, *arguments):
        """Calls an operation; what it answers."""
        command = ["aws", service, operation, *arguments, *self.options]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        except FileNotFoundError:
            raise Problem("the AWS CLI is not there: install it, see infra/README.md") from None
        if done.returncode == 0:
            return json.loads(done.stdout or b"{}")
        text = " ".join(done.stderr.decode(errors="replace").split())
        found = re.search(r"\((\w+)\) when calling", text)
        code = found.group(1) if found else None
        raise AwsError(code, f"aws {service} {operation}: {text}", self.hints.get(code))


def add_options(parser):
    """Adds the options that are passed on to the AWS CLI."""
    for name in ("--region", "--profile", "--endpoint-url"):
        parser.add_argument(name)
