"""Rules about the policies of resources: who may reach a queue, a topic or a secret, and only by TLS."""

from graph import environment, is_ours, program
from iam import statements
from model import ACCOUNT, REGION, items, mapping
from rules import rule

POLICIES = {
    "AWS::SQS::QueuePolicy": "PolicyDocument",
    "AWS::SNS::TopicPolicy": "PolicyDocument",
    "AWS::SecretsManager::ResourcePolicy": "ResourcePolicy",
}


def queue_statements(stack, queue):
    """The statements of a queue's policies."""
    return [
        statement
        for policy in stack.of("SQS::QueuePolicy")
        if queue.ref in items(policy.get("Queues"))
        for statement in statements(policy.get("PolicyDocument"))
    ]


def topic_statements(stack, topic):
    """The statements of a topic's policies; None where it has none, and SNS's own holds."""
    policies = [policy for policy in stack.of("SNS::TopicPolicy") if topic.ref in items(policy.get("Topics"))]
    if not policies:
        return None
    return [statement for policy in policies for statement in statements(policy.get("PolicyDocument"))]


def demands_tls(statement, arn, action="sqs:*"):
    """Whether a statement refuses an action of everybody without TLS; every action, of a queue."""
    # Where the key is not there at all, `BoolIfExists` denies as well.
    condition = statement.condition.get("Bool") or statement.condition.get("BoolIfExists")
    keys = {key.lower(): value for key, value in mapping(condition).items()}
    return (
        statement.effect == "Deny"
        and statement.is_for_everybody()
        and statement.names_action(action)
        and statement.names_resource(arn)
        and not statement.negated
        and len(statement.condition) == len(keys) == 1
        and str(keys.get("aws:securetransport")).lower() == "false"
    )


@rule("every queue refuses calls without TLS")
def tls_only(stack):
    for queue in stack.of("SQS::Queue"):
        if not any(demands_tls(statement, queue.arn) for statement in queue_statements(stack, queue)):
            yield queue.id, (
                'has no policy that denies sqs:* to "*" on its ARN where aws:SecureTransport is "false": events'
                " could be sent and read in the clear"
            )


def names_the_senders(stack, statement, queue):
    """Whether a statement denies sending to all but the functions that send to the queue and what the services may."""
    keys = {key.lower(): value for keys in statement.condition.values() for key, value in mapping(keys).items()}
    senders = {
        function.get("Role")
        for function in stack.of("Lambda::Function")
        if queue.ref in environment(function).values() and program(function) == "webhook"
    }
    return (
        statement.is_for_everybody()
        and statement.actions == ["sqs:SendMessage"]
        and not statement.negated
        and set(statement.condition) == {"ArnNotLike", "Bool"}
        and set(keys) == {"aws:principalarn", "aws:principalisawsservice"}
        and str(keys["aws:principalisawsservice"]).lower() == "false"
        and bool(senders)
        and senders <= set(items(keys["aws:principalarn"]))
    )


@rule("every topic refuses messages without TLS, and takes the alarms")
def topics(stack):
    told = {arn for alarm in stack.of("CloudWatch::Alarm") for arn in items(alarm.get("AlarmActions"))}
    for topic in stack.of("SNS::Topic"):
        found = topic_statements(stack, topic)
        if is_ours(stack) and not any(demands_tls(each, topic.ref, "sns:Publish") for each in found or ()):
            yield topic.id, (
                'has no policy that denies sns:Publish to "*" where aws:SecureTransport is "false": alarms could be'
                " sent in the clear"
            )
        if topic.ref in told and found is not None and not any(lets_alarms_in(each, topic) for each in found):
            yield topic.id, (
                "its policy takes the place of SNS's own and does not allow sns:Publish to cloudwatch.amazonaws.com"
                " for aws:SourceAccount of this account: no alarm arrives"
            )
        for each in found or ():
            if each.effect == "Deny" and not demands_tls(each, topic.ref, "sns:Publish"):
                yield topic.id, f"statement {each.id} of its policy denies more than messages without TLS"


def lets_alarms_in(statement, topic):
    """Whether a statement lets this account's alarms publish to the topic."""
    wanted = {
        "aws:sourceaccount": lambda value: value == ACCOUNT,
        "aws:sourcearn": lambda value: value.startswith(f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:"),
    }
    held = [
        key.lower() in wanted and any(wanted[key.lower()](str(item)) for item in items(value))
        for values in statement.condition.values()
        for key, value in mapping(values).items()
    ]
    return (
        statement.allows
        and "cloudwatch.amazonaws.com" in statement.services()
        and statement.names_action("sns:Publish")
        and statement.names_resource(topic.ref)
        and set(statement.condition) <= {"ArnEquals", "ArnLike", "StringEquals", "StringLike"}
        and all(held)
    )


@rule("queue policies keep nobody out who must get in")
def no_lockout(stack):
    for queue in stack.of("SQS::Queue"):
        for statement in queue_statements(stack, queue):
            if (
                statement.effect == "Deny"
                and statement.names_resource(queue.arn)
                and not demands_tls(statement, queue.arn)
                and not names_the_senders(stack, statement, queue)
            ):
                yield queue.id, (
                    f"statement {statement.id} of its policy denies more than calls without TLS: the functions"
                    " could be kept out"
                )
    for policy in stack.of("SQS::QueuePolicy"):
        known = {queue.ref: queue for queue in stack.of("SQS::Queue")}
        queues = items(policy.get("Queues"))
        for url in queues:
            if url not in known:
                yield policy.id, f"is for {url}, the URL of no queue of this template"
        for statement in statements(policy.get("PolicyDocument")):
            for arn in statement.resources:
                everything = arn == "*" and statement.effect == "Deny"
                if not everything and not any(known[url].arn == arn for url in queues if url in known):
                    yield policy.id, f"statement {statement.id} is about {arn}, which is none of its queues"


@rule("nobody but the services that must may use a queue, topic or secret")
def grants(stack):
    for policy in (resource for resource in stack.resources.values() if resource.type in POLICIES):
        for statement in statements(policy.get(POLICIES[policy.type])):
            if not statement.allows:
                continue
            if statement.negated or (statement.is_for_everybody() and not pinned(statement)):
                yield policy.id, (
                    f"statement {statement.id} allows {', '.join(statement.actions)} to everybody: forged events"
                    " would count as verified"
                )
            if "*" in mapping(statement.principal) or mapping(statement.principal).get("AWS"):
                yield policy.id, f"statement {statement.id} allows accounts or users what only the functions should do"
            if statement.services() and not pinned(statement):
                yield policy.id, (
                    f"statement {statement.id} allows a service without aws:SourceArn: anybody's rule in any"
                    " account may send"
                )
            for action in statement.actions:
                if "*" in action:
                    yield policy.id, f"statement {statement.id} allows {action}; name the action"
    for resource in stack.of("DynamoDB::Table", "KMS::Key", "Events::EventBusPolicy"):
        document = (
            resource.get("ResourcePolicy", "PolicyDocument")
            or resource.get("KeyPolicy")
            or {"Statement": resource.get("Statement")}
        )
        open_to_all = any(each.allows and each.is_for_everybody() and not pinned(each) for each in statements(document))
        if open_to_all or resource.get("Principal") == "*":
            yield resource.id, "its policy lets everybody in"


def pinned(statement):
    """Whether a statement holds only for one sender."""
    keys = {key.lower() for values in statement.condition.values() for key in mapping(values)}
    exact = set(statement.condition) <= {"ArnEquals", "ArnLike", "StringEquals", "StringLike", "Bool"}
    return exact and bool(keys & {"aws:sourcearn", "aws:principalorgid", "aws:sourceaccount"})


@rule("rules may send to the queues they name, and only they")
def rule_targets(stack):
    for rule_ in stack.of("Events::Rule"):
        for item in items(rule_.get("Targets")):
            for arn in (mapping(item).get("Arn"), mapping(mapping(item).get("DeadLetterConfig")).get("Arn")):
                queue = stack.by("SQS::Queue", arn, "arn")
                if queue and not any(lets_in(statement, rule_, queue) for statement in queue_statements(stack, queue)):
                    yield queue.id, (
                        "its policy does not allow sqs:SendMessage to events.amazonaws.com for aws:SourceArn of"
                        f" {rule_.id}: EventBridge cannot deliver"
                    )
    arns = {rule_.arn for rule_ in stack.of("Events::Rule")}
    for queue in stack.of("SQS::Queue"):
        for statement in queue_statements(stack, queue):
            named = {
                arn
                for values in statement.condition.values()
                for key, value in mapping(values).items()
                if key.lower() == "aws:sourcearn"
                for arn in items(value)
            }
            if "events.amazonaws.com" in statement.services() and not named <= arns:
                yield queue.id, (
                    f"statement {statement.id} of its policy lets {sorted(named - arns)} send, which is no rule of"
                    " this template"
                )
            if (
                statement.allows
                and statement.services()
                and "events.amazonaws.com" not in statement.services()
                and "sns.amazonaws.com" not in statement.services()
            ):
                yield queue.id, (
                    f"statement {statement.id} of its policy lets {statement.services()} send; only EventBridge has"
                    " something to send"
                )


def lets_in(statement, rule_, queue):
    """Whether a statement lets this rule send to the queue."""
    wanted = [
        value
        for operator, values in statement.condition.items()
        if operator in ("ArnEquals", "ArnLike", "StringEquals", "StringLike")
        for key, value in mapping(values).items()
        if key.lower() == "aws:sourcearn"
    ]
    return (
        statement.allows
        and "events.amazonaws.com" in statement.services()
        and statement.names_action("sqs:SendMessage")
        and statement.names_resource(queue.arn)
        and any(rule_.arn in items(value) for value in wanted)
        and set(statement.condition) <= {"ArnEquals", "ArnLike", "StringEquals", "StringLike"}
    )
