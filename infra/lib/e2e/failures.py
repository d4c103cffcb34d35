"""Failures: what the tables or the queue refuse, and functions that are killed. Nothing is lost, nothing is doubled."""

import concurrent.futures
import os
import signal
import time

from .run import body, customer_event, require

# Instead of the template's 90 seconds, so that messages come again while somebody waits.
SOON_SECS = 2


def throttled(ground):
    """The tables are throttled for a while: the message comes again until they take it."""
    ground.set_visibility(SOON_SECS)
    parked = len(ground.parked())
    with ground.proxies["consumer"].failing("dynamodb", "ProvisionedThroughputExceededException") as seen:
        ground.deliver(customer_event("evt_e2e_thr", "cus_e2e_thr", 1794000700, "thr@example.test"))
        ground.wait(lambda: seen, "the consumer did not come to the tables")
    ground.wait(lambda: ground.state("cus_e2e_thr") is not None, "it did not reach the state")
    ground.drain()
    require(len(ground.parked()) == parked and ground.depth("DeadLetterQueue") == 0, "it was set aside")
    ground.set_visibility(90)
    return f"{len(seen)} calls were throttled"


def dead_letters(ground):
    """What the tables refuse even to park becomes a dead letter; mended and driven again, it applies."""
    sqs = ground.client("sqs")
    count = 3
    ground.set_visibility(SOON_SECS)
    with ground.proxies["consumer"].failing("dynamodb", "AccessDeniedException"):
        ground.deliver(
            *(customer_event(f"evt_e2e_dl_{n}", f"cus_e2e_dl_{n}", 1794000800, f"dl{n}@example.test") for n in range(count))
        )
        # The queue moves a message when it is asked for one after its last receive.
        ground.wait(
            lambda: ground.depth("DeadLetterQueue") == count,
            lambda: f"{ground.depth('DeadLetterQueue')} dead letters",
        )
    ground.drain()
    ground.set_visibility(90)
    require(ground.state("cus_e2e_dl_0") is None, "it is in the state, so nothing was refused")
    # The emulator has no StartMessageMoveTask: this is what a redrive does.
    moved = []
    deadline = time.monotonic() + 60
    while len(moved) < count and time.monotonic() < deadline:
        received = sqs.receive_message(
            QueueUrl=ground.id("DeadLetterQueue"),
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        for message in received.get("Messages", []):
            group = message.get("Attributes", {}).get("MessageGroupId")
            sent = sqs.send_message(
                QueueUrl=ground.id("EventsQueue"),
                MessageBody=message["Body"],
                MessageAttributes=message.get("MessageAttributes", {}),
                **({"MessageGroupId": group} if group else {}),
            )
            require(sent["MessageId"] != message["MessageId"], "the message id is the same")
            sqs.delete_message(QueueUrl=ground.id("DeadLetterQueue"), ReceiptHandle=message["ReceiptHandle"])
            moved.append(message["MessageId"])
    ground.drain()
    for number in range(count):
        require(ground.state(f"cus_e2e_dl_{number}") is not None, f"cus_e2e_dl_{number} is unknown after the redrive")
    require(ground.depth("DeadLetterQueue") == 0, "there are dead letters again")
    return f"{len(moved)} driven again"


def queue_unavailable(ground):
    """The queue takes nothing: 503, so Stripe comes again; then the same event is taken."""
    event = customer_event("evt_e2e_503", "cus_e2e_503", 1794000900, "busy@example.test")
    with ground.proxies["webhook"].failing("sqs", "InternalFailure", 500):
        status, answer = ground.api.stripe(body(event), ground.signing)
    require((status, answer) == (503, {"error": "queue_unavailable"}), f"{status} {answer}")
    ground.deliver(event)
    ground.drain()
    require(ground.state("cus_e2e_503") is not None, "it did not reach the state")


def webhook_killed(ground):
    """The webhook is killed while it enqueues: no 200, so Stripe comes again; both messages are one event."""
    event = customer_event("evt_e2e_wk", "cus_e2e_wk", 1794000950, "wk@example.test")
    queue = ground.id("EventsQueue").rsplit("/", 1)[-1]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with ground.proxies["webhook"].holding("sqs:SendMessage", queue) as reached:
            answer = pool.submit(ground.api.stripe, body(event), ground.signing)
            ground.wait(reached.is_set, "the webhook did not come to the queue")
            for pid in ground.emulator.function_processes(ground.id("WebhookFunction")):
                os.kill(pid, signal.SIGKILL)
            # The request that was held is sent all the same: the queue has the message, and nobody was told.
            status, _ = answer.result()
    require(status >= 500, f"the killed webhook answered {status}")
    ground.deliver(event)
    ground.drain()
    require(ground.state("cus_e2e_wk") is not None, "it did not reach the state")
    marks = [key for key in ground.items("EventsTable") if key[1] == "evt_e2e_wk"]
    require(len(marks) == 1, f"{len(marks)} marks")
    return f"answered {status}"


def killed(ground):
    """The consumer is killed in the middle of a batch, its effects written and not yet marked: redelivery ends the same."""
    ground.set_visibility(SOON_SECS)
    events = [customer_event(f"evt_e2e_k_{n}", f"cus_e2e_k_{n}", 1794001000, f"k{n}@example.test") for n in range(4)]
    with ground.proxies["consumer"].holding("dynamodb:PutItem", ground.id("EventsTable")) as reached:
        ground.deliver(*events)
        ground.wait(reached.is_set, "the consumer did not come to the ledger")
        pids = ground.emulator.function_processes(ground.id("ConsumerFunction"))
        require(pids, "no process of the consumer is there")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    ground.drain()
    ground.set_visibility(90)
    for number in range(len(events)):
        require(ground.state(f"cus_e2e_k_{number}") is not None, f"cus_e2e_k_{number} is unknown")
    marks = [key for key in ground.items("EventsTable") if key[1].startswith("evt_e2e_k_")]
    require(len(marks) == len(events), f"{len(marks)} marks for {len(events)} events")
    require(ground.depth("DeadLetterQueue") == 0, "there are dead letters")
    return f"{len(pids)} processes killed"
