"""Runs all scenarios, in the order in which they build on each other. See `infra/e2e` for how it is started."""

import argparse
import os
import shutil
import signal
import sys
import tempfile

import expand

from . import access, alias, doors, events, failures, life, logs, permissions, restore, secrets
from .emulator import Emulator
from .proxy import Proxy
from .run import Counter, Ground
from .stack import Stack, newest_released
from .stripe import StripeApi

FUNCTIONS = ("webhook", "consumer", "access")

PARAMETERS = {
    "Mode": "test",
    "BearBilling": "enabled",
    "StripeEventBusName": doors.BUS,
    "Refetch": "enabled",
    "AlarmEmail": "ops@example.test",
    # Where the emulator says that all requests come from.
    "MoreStripeAddresses": "127.0.0.1",
    # A dead letter is one after five receives, and not after twenty.
    "MaxReceiveCount": 5,
    # So many processes at most.
    "ConsumerConcurrency": 4,
    # New environments are the emulator's own affair: one that is throttled would be a refused delivery.
    "WebhookReservedConcurrency": 0,
}


def main():
    """Creates everything, runs everything, cleans up; returns the exit status."""
    parser = argparse.ArgumentParser(prog="infra/e2e", description=__doc__)
    parser.add_argument("--root", required=True, help="the repository")
    parser.add_argument("--ministack", required=True, help="the python that has ministack")
    parser.add_argument("--functions", required=True, help="the folder with the functions' binaries")
    parser.add_argument("--program", required=True, help="the program billhook")
    args = parser.parse_args()
    # Whatever ends it, what it started ends first. A shell's background job would ignore an interrupt.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))

    counter = Counter()
    folder = tempfile.mkdtemp(prefix="e2e-", dir=os.path.join(args.root, ".tools"))
    proxies = {name: Proxy(name) for name in (*FUNCTIONS, "stray")}
    stripe = StripeApi()
    emulator = None

    def stray(port):
        for proxy in proxies.values():
            proxy.upstream_port = port
        return proxies["stray"].endpoint

    try:
        emulator = Emulator(args.ministack, folder, stray)
        emulator.wait_until_ready()
        ground = _ground(args, emulator, proxies, stripe)
        _run(counter, ground)
    finally:
        if emulator is not None:
            emulator.stop()
        for server in (*proxies.values(), stripe):
            server.stop()
        _clean_up(folder, keep_log=bool(counter.failed) or counter.passed == 0)
    print(f"{counter.passed} passed, {len(counter.failed)} failed")
    return 1 if counter.failed else 0


def _clean_up(folder, keep_log):
    """Removes what the emulator unpacked, and its log where nobody has to read it."""
    if not keep_log:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for entry in os.scandir(folder):
        if entry.is_dir():
            shutil.rmtree(entry.path, ignore_errors=True)
    print(f"ministack's log: {folder}/ministack.log")


def _ground(args, emulator, proxies, stripe):
    binaries = {}
    for name in FUNCTIONS:
        path = os.path.join(args.functions, name)
        if os.path.exists(path):
            binaries[name] = path
    endpoints = {name: proxies[name].endpoint for name in FUNCTIONS}
    stack = Stack(emulator, "billhook-e2e", binaries, endpoints, {"consumer": {"STRIPE_API_URL": stripe.url}})
    source = expand.load(os.path.join(args.root, "infra", "template.yaml"))
    return Ground(args.root, args.program, emulator, proxies, stripe, stack, source)


def _run(counter, ground):
    # Stripe's side makes the bus; a stack can only have rules on it.
    ground.client("events").create_event_bus(Name=doors.BUS)
    with_access = "access" in ground.stack.binaries
    with_processes = os.path.isdir("/proc/self")
    parameters = {**PARAMETERS, "AccessEvents": "enabled" if with_access else "disabled"}

    counter.run("the stack is created", lambda ground: ground.stack.create(ground.source, **parameters), ground)
    if counter.failed:
        return
    if with_access:
        access.listen(ground)
    run = counter.run
    run("what was created is what the template says", life.described, ground)
    run("what the emulator leaves out of a template it takes by its API", life.left_out, ground)
    run("the smallest stack, of live mode, is what the template says", life.smallest, ground)
    run("without a secret the answer is 500", secrets.missing, ground)
    run("a secret that is put is used without a restart", secrets.arrives, ground)
    run("what is forged, unsigned, stale or elsewhere is refused", events.refusals, ground)
    run("a roll begins: both secrets sign", secrets.roll_begins, ground)
    run("lives in any order, some twice, end in their state", events.lives, ground)
    run("duplicates change nothing", events.duplicates, ground)
    run("what is no event is parked with a reason", events.poison, ground)
    run("an event of the other mode changes nothing", events.other_mode, ground)
    run("texts that look like metrics are texts", events.forged_metrics, ground)
    run("what events leave open is read from Stripe", events.refetch, ground)
    run("EventBridge's events reach the state", doors.eventbridge, ground)
    run("the roll goes on: the new secret signs alone", secrets.roll_turns, ground)
    run("Bear Billing's events reach the state", doors.bearbilling, ground)
    run("throttled tables: it comes again until they take it", failures.throttled, ground)
    run("what the tables refuse is a dead letter, and applies when driven again", failures.dead_letters, ground)
    run("a queue that takes nothing is a 503", failures.queue_unavailable, ground)
    if with_processes:
        run("a consumer killed in a batch loses and doubles nothing", failures.killed, ground)
    run("Secrets Manager is out: what runs goes on", secrets.outage, ground)
    if with_processes:
        run("a webhook killed while it enqueues has said no", failures.webhook_killed, ground)
        run("the roll ends: the old secret is dropped", secrets.old_one_is_dropped, ground)
    else:
        counter.skip("functions that are killed", "there is no /proc to find their processes in")
    if with_access:
        run("access events tell exactly what changed", access.told, ground)
        run("the last access event of each life is its state", access.agree, ground)
    else:
        counter.skip("access events", "the function access is not built")
    run("the functions called only what their roles allow", permissions.allowed, ground)
    if os.path.exists(os.path.join(ground.root, "infra", "lib", "calls.json")):
        run("the functions called what calls.json lists", permissions.listed, ground)
    else:
        counter.skip("the list of calls", "there is no infra/lib/calls.json")
    run("logs hold JSON and nothing that was planted", logs.clean, ground)
    run("metrics are written as alarms and graphs name them", logs.metrics, ground)
    run("an update keeps all data", life.updated, ground)
    run("new settings reach the running functions", life.settings_arrive, ground)
    if newest_released(os.path.join(ground.root, "infra", "released")):
        run("a stack of the newest release is updated and keeps its data", life.released, ground)
    else:
        print("an update from a release to this template is tested from the second release on", flush=True)
    if shutil.which("aws"):
        run("infra/alias goes back to the version before, and to the stack's", alias.way_back, ground)
        run("the tables are restored by infra/restore, complete", restore.restored, ground)
        run("a restore that broke off is completed", restore.half_restored, ground)
        run("the stack uses the restored tables and keeps the old ones", restore.pointed_at, ground)
    else:
        counter.skip("going back and restoring tables", "the AWS CLI is not there")
    run("deleted, the stack leaves its data behind", life.deleted, ground)
    for gap in sorted(ground.gaps):
        print(f"not shown here: {gap}")
    for name in sorted(ground.stack.taken_out):
        print(f"not created here: {name}, which the emulator does not know")


if __name__ == "__main__":
    sys.exit(main())
