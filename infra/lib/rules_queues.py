"""Rules about queues: waiting, redriving, keeping, encryption."""

from graph import consumers, dead_letter_queues, is_ours, main_queues, mappings, programs, redrive
from model import items, mapping, number, truth
from rules import rule

RETENTION_MAX = 1209600
# Stripe's events are mostly below 64 KiB; the webhook takes bodies up to 256 KiB, which base64 makes a third longer.
MESSAGE_BYTES_MIN = 400 * 1024


def timeout(function):
    """A function's timeout in seconds."""
    return number(function.get("Timeout") or 3)


def retention(queue):
    """How long a queue keeps a message, in seconds."""
    return number(queue.get("MessageRetentionPeriod") or 345600)


@rule("queue visibility timeouts fit the functions that read the queues")
def visibility(stack):
    for queue in stack.of("SQS::Queue"):
        waits = number(30 if queue.get("VisibilityTimeout") is None else queue.get("VisibilityTimeout"))
        for function in consumers(stack, queue):
            needed = 6 * (timeout(function) or 0)
            if waits is None or waits < needed:
                yield queue.id, (
                    f"VisibilityTimeout is {waits} s, less than six times the timeout of {function.id} ({needed}"
                    f" s): messages come again while they are still worked on; set it to {needed}"
                )
            elif waits > max(5 * needed, 900):
                yield queue.id, (
                    f"VisibilityTimeout is {waits} s, far over the {needed} s that {function.id} needs: a message"
                    " whose consumer died waits that long, and the queue fills with messages in flight; set it to"
                    f" {needed}"
                )


@rule("queues that feed functions redrive to a dead-letter queue")
def dead_letters(stack):
    for queue in main_queues(stack):
        policy, arn = redrive(queue), redrive(queue).get("deadLetterTargetArn")
        target = stack.by("SQS::Queue", arn, "arn")
        if not policy:
            yield queue.id, "has no RedrivePolicy: what cannot be used is tried until it expires, and is lost then"
        elif target is queue:
            yield queue.id, "is its own dead-letter queue: nothing is ever set aside; name another queue"
        elif target is None:
            yield (
                queue.id,
                f"deadLetterTargetArn {arn} is no queue of this template; use GetAtt of the dead-letter queue's Arn",
            )
        elif any(source is target for _, _, source in mappings(stack)):
            yield queue.id, f"its dead letters go to {target.id}, which a function reads as well: nobody ever sees them"
        receives = number(policy.get("maxReceiveCount"))
        if policy and (receives is None or not 5 <= receives <= 1000):
            yield queue.id, (
                f"maxReceiveCount is {receives}: below 5 a short outage or a few throttled batches make dead"
                " letters of good events, and SQS takes at most 1000"
            )
        unknown = set(policy) - {"deadLetterTargetArn", "maxReceiveCount"}
        if unknown:
            yield queue.id, f"RedrivePolicy has unknown members: {', '.join(sorted(unknown))}"


@rule("a message is set aside before it expires")
def in_time(stack):
    for queue in main_queues(stack):
        receives, waits = number(redrive(queue).get("maxReceiveCount")), number(queue.get("VisibilityTimeout") or 30)
        if receives and waits and receives * waits >= (retention(queue) or 0):
            yield queue.id, (
                f"{receives} receives, {waits} s apart, take longer than the {retention(queue)} s that a message is"
                " kept: it expires before it is a dead letter"
            )


@rule("dead-letter queues end the way, and let their sources in")
def dead_letter_ends(stack):
    for queue in dead_letter_queues(stack):
        if redrive(queue):
            yield (
                queue.id,
                "is a dead-letter queue with a RedrivePolicy of its own: dead letters go round or vanish; remove it",
            )
        policy = mapping(queue.get("RedriveAllowPolicy"))
        permission = policy.get("redrivePermission", "allowAll")
        for source in stack.of("SQS::Queue"):
            if redrive(source).get("deadLetterTargetArn") == queue.arn:
                named = source.arn in items(policy.get("sourceQueueArns"))
                if permission == "denyAll" or permission == "byQueue" and not named:
                    yield queue.id, f"RedriveAllowPolicy keeps {source.id} from putting its dead letters here"


@rule("the consumer knows its queue's maxReceiveCount")
def receive_count(stack):
    for function, program in programs(stack):
        told = number(function.get("Environment", "Variables", "MAX_RECEIVE_COUNT"))
        for queue in main_queues(stack):
            if program == "consumer" and function in consumers(stack, queue):
                counted = number(redrive(queue).get("maxReceiveCount"))
                if counted is not None and told != counted:
                    yield function.id, (
                        f"MAX_RECEIVE_COUNT is {told}, but {queue.id} hands a message out {counted} times: the"
                        " event is parked too early, or is a dead letter before it is parked; give both the same"
                        " value"
                    )


@rule("messages are kept for as long as SQS can, dead letters no shorter")
def kept(stack):
    for queue in stack.of("SQS::Queue"):
        keeps = retention(queue)
        if keeps is None or not 60 <= keeps <= RETENTION_MAX:
            yield queue.id, f"MessageRetentionPeriod is {keeps} s; SQS takes 60 to {RETENTION_MAX}"
    for queue in dead_letter_queues(stack):
        if retention(queue) != RETENTION_MAX:
            yield queue.id, (
                f"keeps dead letters for {retention(queue)} s; they are events that were paid for: keep them for 14"
                f" days, {RETENTION_MAX}"
            )
    for queue in main_queues(stack):
        target = stack.by("SQS::Queue", redrive(queue).get("deadLetterTargetArn"), "arn")
        if is_ours(stack) and (retention(queue) or 0) < 4 * 86400:
            yield (
                queue.id,
                f"keeps events for {retention(queue)} s only: a broken consumer over a long weekend loses them",
            )
        if target and (retention(target) or 0) < (retention(queue) or 0):
            yield target.id, (
                f"keeps messages shorter than {queue.id}, and their age counts from the first enqueueing: they may "
                "expire on arrival"
            )


@rule("queues are encrypted")
def encrypted(stack):
    for queue in stack.of("SQS::Queue"):
        key = queue.get("KmsMasterKeyId")
        if not key and truth(queue.get("SqsManagedSseEnabled")) is not True:
            yield queue.id, "is not encrypted at rest; set SqsManagedSseEnabled: true"
        if key and truth(queue.get("SqsManagedSseEnabled")):
            yield queue.id, "has both SqsManagedSseEnabled and KmsMasterKeyId; SQS takes one of them"


@rule("queues take what is sent, at once")
def takes(stack):
    for queue in stack.of("SQS::Queue"):
        if number(queue.get("DelaySeconds") or 0) != 0:
            yield (
                queue.id,
                f"DelaySeconds is {queue.get('DelaySeconds')}: every event waits that long for nothing; remove it",
            )
        largest = number(queue.get("MaximumMessageSize") or 1048576)
        if largest is None or not MESSAGE_BYTES_MIN <= largest <= 1048576:
            yield queue.id, (
                f"MaximumMessageSize is {largest}: events that the webhook verified would be refused for ever (it"
                " takes 256 KiB, a third more in base64); leave SQS's own maximum"
            )
        polls = number(queue.get("ReceiveMessageWaitTimeSeconds") or 0)
        if polls is None or not 0 <= polls <= 20:
            yield queue.id, f"ReceiveMessageWaitTimeSeconds is {polls}; SQS takes 0 to 20"
        named_fifo = str(queue.get("QueueName") or "").endswith(".fifo")
        fifo = truth(queue.get("FifoQueue")) is True
        if fifo != named_fifo and queue.get("QueueName"):
            yield queue.id, "FifoQueue and the ending .fifo of QueueName must go together"
        if fifo and is_ours(stack):
            yield queue.id, (
                "is a FIFO queue: a message that fails holds up all of its customer's, and the webhook sends no "
                "deduplication id; order is kept by the consumer, so use a standard queue"
            )
        if not fifo and queue.get("ContentBasedDeduplication") is not None:
            yield queue.id, "ContentBasedDeduplication is for FIFO queues only"
