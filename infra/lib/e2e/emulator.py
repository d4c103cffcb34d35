"""ministack as a child process: the emulator of AWS that runs the functions' own binaries without containers.

Knows nothing of the stack.
"""

import os
import signal
import socket
import subprocess
import time
import urllib.request

import boto3
from botocore.config import Config

REGION = "us-east-1"
ACCOUNT = "000000000000"

# Nobody checks them, but a client without any would look for the user's own.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": REGION}

START_SECS = 120

# Where e2e_ministack is.
LIBRARY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Emulator:
    """A running ministack on a free port of 127.0.0.1."""

    def __init__(self, python, folder, stray_endpoint):
        """`stray_endpoint` is where a function's call goes that no endpoint variable of its own sends elsewhere."""
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.log_path = os.path.join(folder, "ministack.log")
        # Functions inherit the emulator's environment: nothing of the caller's may get in. Temporary files are the
        # unpacked functions.
        environment = {
            **CREDENTIALS,
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "TMPDIR": folder,
            "AWS_ENDPOINT_URL": stray_endpoint(self.port),
            "GATEWAY_PORT": str(self.port),
            # It would listen on a fixed port.
            "IOT_MTLS_ENABLED": "0",
            "E2E_PID": str(os.getpid()),
            "PYTHONPATH": LIBRARY,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [python, "-m", "hypercorn", "e2e_ministack:app", "--bind", f"127.0.0.1:{self.port}"],
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: the functions are in it, and all of them end together.
                start_new_session=True,
            )

    def wait_until_ready(self):
        """Waits until it answers."""
        deadline = time.monotonic() + START_SECS
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"ministack ended with {self.process.returncode}, see {self.log_path}")
            try:
                urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=5).read()
                return
            except OSError as error:
                if getattr(error, "code", None) is not None:
                    return
                if time.monotonic() > deadline:
                    raise RuntimeError(f"ministack did not start, see {self.log_path}") from error
            time.sleep(0.1)

    def client(self, service):
        """A client of a service."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"max_attempts": 2}, max_pool_connections=20, read_timeout=120),
        )

    def function_processes(self, function_name):
        """The processes of a function's environments; none where the system has no /proc."""
        found = []
        for entry in os.listdir("/proc") if os.path.isdir("/proc/self") else []:
            if not entry.isdigit() or not _is_in_group(int(entry), self.process.pid):
                continue
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    variables = file.read().split(b"\0")
            except OSError:
                continue
            if f"AWS_LAMBDA_FUNCTION_NAME={function_name}".encode() in variables:
                found.append(int(entry))
        return found

    def stop(self):
        """Ends it and every function in it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                return
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                continue


def free_port():
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _is_in_group(pid, group):
    try:
        return os.getpgid(pid) == group
    except ProcessLookupError:
        return False
