"""Who uses whom in a stack: which function a mapping or an integration reaches, which queues hold dead letters."""

import re

from model import items, mapping

# What this project's functions are called, as programs.
PROGRAMS = ("webhook", "consumer", "access")


def program(function):
    """Which of this project's programs a function is, or None."""
    binary = mapping(function.metadata.get("BuildProperties")).get("Binary")
    if binary in PROGRAMS:
        return binary
    code = str(function.get("Code", "S3Key") or "").rsplit("/", 1)[-1]
    if code in PROGRAMS:
        return code
    variables = environment(function)
    if "QUEUE_URL" in variables and "STRIPE_WEBHOOK_SECRET_ARN" in variables:
        return "webhook"
    if "EVENTS_TABLE" in variables and "BILLING_TABLE" in variables:
        return "consumer"
    return "access" if "EVENT_BUS_NAME" in variables and "BILLING_TABLE" in variables else None


def programs(stack):
    """This project's functions, each with the program it is."""
    return [(function, program(function)) for function in stack.of("Lambda::Function") if program(function)]


def is_ours(stack):
    """Whether the stack runs this project's functions; only then the rules about its code hold."""
    return bool(programs(stack))


def environment(function):
    """A function's variables."""
    return mapping(function.get("Environment", "Variables"))


def target(stack, value):
    """The function that a name, an ARN or an integration's URI leads to, and the alias on the way, each or None."""
    text = str(value)
    found = re.search(r"/functions/(arn:[^/]+)/invocations", text)
    text = found.group(1) if found else text
    alias = stack.by("Lambda::Alias", text)
    if alias:
        name = stack.function_name(alias)
    elif text.startswith("arn:"):
        name = text.split(":")[6] if text.count(":") >= 6 else text
    else:
        name = text.split(":")[0]
    return stack.by("Lambda::Function", name), alias


def mappings(stack):
    """The event source mappings, each with its function (or None) and the queue or table it reads (or None)."""
    for each in stack.of("Lambda::EventSourceMapping"):
        function, _ = target(stack, each.get("FunctionName"))
        source = each.get("EventSourceArn")
        yield each, function, stack.by("SQS::Queue", source, "arn") or stack.by("DynamoDB::Table", source, "stream_arn")


def consumers(stack, queue):
    """The functions that take messages off a queue."""
    return [function for _, function, source in mappings(stack) if source is queue and function]


def redrive(queue):
    """A queue's redrive policy, as a dictionary."""
    return mapping(queue.get("RedrivePolicy"))


def failure_destination(each):
    """Where an event source mapping puts what it gave up."""
    return each.get("DestinationConfig", "OnFailure", "Destination")


def dead_letter_queues(stack):
    """The queues that hold what was given up: after too many receives, by a rule, a mapping or a function."""
    arns = {redrive(queue).get("deadLetterTargetArn") for queue in stack.of("SQS::Queue")}
    arns |= {failure_destination(each) for each in stack.of("Lambda::EventSourceMapping")}
    arns |= {function.get("DeadLetterConfig", "TargetArn") for function in stack.of("Lambda::Function")}
    for rule in stack.of("Events::Rule"):
        arns |= {mapping(mapping(item).get("DeadLetterConfig")).get("Arn") for item in items(rule.get("Targets"))}
    read = {source.arn for _, _, source in mappings(stack) if source}
    return [queue for queue in stack.of("SQS::Queue") if queue.arn in arns and queue.arn not in read]


def main_queues(stack):
    """The queues that feed a function."""
    return [queue for queue in stack.of("SQS::Queue") if any(source is queue for _, _, source in mappings(stack))]
