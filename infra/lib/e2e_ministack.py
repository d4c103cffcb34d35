"""ministack with one gap filled, as an application for hypercorn. Runs in ministack's own Python.

Stripe's event destination puts its events on the partner bus by PutPartnerEvents, which the emulator accepts and
forgets; and PutEvents takes no source that begins with `aws.`, here as on AWS.
"""

from ministack.app import app
from ministack.services import eventbridge

__all__ = ["app"]


def _put_partner_events(data):
    """Puts a partner's events on the bus that bears the name of their source."""
    entries = [{**entry, "EventBusName": entry.get("Source", "")} for entry in data.get("Entries", [])]
    return eventbridge._put_events({"Entries": entries}, allow_aws_source=True)


eventbridge._put_partner_events = _put_partner_events
