"""The way back to the version before, and back to the stack's, by the command `infra/alias`.

What the emulator does not show: that CodeDeploy refuses a deployment while the alias stands elsewhere.
"""

import os
import subprocess

from .emulator import CREDENTIALS
from .run import customer_event, require


def way_back(ground):
    """The alias goes back by one version, deliveries go on, and the reset puts it where the stack has it."""
    client = ground.client("lambda")
    running = _running(client, ground)
    shown = _command(ground)
    require(f"{running}" in shown and "runs, the stack's" in shown, f"it shows {shown}")
    told = _command(ground, "--back", "webhook")
    require(_running(client, ground) < running, f"the alias did not go back: {told}")
    require("--reset" in told, f"it does not say what to do before the next deployment: {told}")
    require("the next sam deploy fails" in _command(ground), "it does not warn of the next deployment")
    ground.deliver(customer_event("evt_e2e_alias", "cus_e2e_alias", 1794002050, "alias@example.test"))
    ground.drain()
    require(ground.state("cus_e2e_alias") is not None, "an event was not taken by the version before")
    _command(ground, "--reset")
    require(_running(client, ground) == running, "the reset did not put the alias back")
    failed = _run(ground, "--back", "webhook", "--to", "99")
    require(failed.returncode == 1 and "there is no version 99" in failed.stderr, f"of version 99: {failed.stderr}")


def _running(client, ground):
    return int(client.get_alias(FunctionName=ground.id("WebhookFunction"), Name="current")["FunctionVersion"])


def _command(ground, *arguments):
    done = _run(ground, *arguments)
    require(done.returncode == 0, f"infra/alias {' '.join(arguments)}: {done.stdout} {done.stderr}")
    return done.stdout


def _run(ground, *arguments):
    command = [os.path.join(ground.root, "infra", "alias"), "--stack", ground.stack.name, *arguments]
    command += ["--region", "us-east-1", "--endpoint-url", ground.emulator.endpoint]
    environment = {**os.environ, **CREDENTIALS}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
