"""ministack as an application for hypercorn that ends with the harness, with one gap filled. Runs in its own Python.

Stripe's event destination puts its events on the partner bus by PutPartnerEvents, which the emulator accepts and
forgets; and PutEvents takes no source that begins with `aws.`, here as on AWS.
"""

import os
import signal
import threading
import time

from ministack.app import app
from ministack.services import eventbridge

__all__ = ["app"]


def _end_with(pid):
    """Ends the emulator and its functions once the process that started it is gone, however it went."""
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            os.killpg(0, signal.SIGKILL)
        time.sleep(1)


threading.Thread(target=_end_with, args=(int(os.environ["E2E_PID"]),), daemon=True).start()


def _put_partner_events(data):
    """Puts a partner's events on the bus that bears the name of their source."""
    entries = [{**entry, "EventBusName": entry.get("Source", "")} for entry in data.get("Entries", [])]
    return eventbridge._put_events({"Entries": entries}, allow_aws_source=True)


eventbridge._put_partner_events = _put_partner_events
