"""A stack's life: created as the template says, updated with its data kept, deleted with its data kept."""

import json

import expand

from .deliveries import Api
from .described import Described, covers
from .run import Failed, customer_event, require
from .stack import Stack, newest_released

# What must survive everything, by what would be lost with it.
KEPT = ("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::SecretsManager::Secret", "AWS::Logs::LogGroup")


def described(ground):
    """What was created is what the template says, property by property."""
    found = Described(ground, ground.stack).all()
    ground.gaps |= found.gaps
    require(not found.problems, f"{len(found.problems)} differences: {found.problems[:6]}")
    return f"{len(ground.stack.ids)} resources, {found.compared} properties compared"


def left_out(ground):
    """What the emulator leaves out of a template it takes through its API, as it stands in the template."""
    stack, resolver = ground.stack, ground.stack.resolver()
    alarms = ground.client("cloudwatch")
    put = []
    for logical, resource in stack.taken_out.items():
        if resource["Type"] != "AWS::CloudWatch::Alarm" or not resolver.conditions(resource):
            continue
        properties = resolver.value(resource["Properties"])
        alarms.put_metric_alarm(AlarmName=logical, **properties)
        found = alarms.describe_alarms(AlarmNames=[logical])["MetricAlarms"][0]
        # The client checks the form of the metric math; the emulator forgets it.
        wrong = [name for name, value in properties.items() if name != "Metrics" and not covers(found.get(name), value)]
        require(not wrong, f"{logical} is described with other {wrong}")
        ground.gaps.add("AWS::CloudWatch::Alarm.Metrics (accepted and forgotten)")
        put.append(logical)
    dynamodb = ground.client("dynamodb")
    for logical, resource in stack.template["Resources"].items():
        if resource["Type"] != "AWS::DynamoDB::Table":
            continue
        if not resolver.conditions(resource):
            continue
        name, properties = stack.ids[logical], resolver.value(resource["Properties"])
        recovery = properties["PointInTimeRecoverySpecification"]
        dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=recovery)
        if "TimeToLiveSpecification" in properties:
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=properties["TimeToLiveSpecification"])
        put.append(logical)
    return ", ".join(put)


def smallest(ground):
    """A stack of live mode with nothing optional is what the template says too, and has no route for Bear Billing."""
    stack = Stack(ground.emulator, "billhook-live", ground.stack.binaries, ground.stack.endpoints, {})
    stack.create(ground.source, Mode="live", BearBilling="disabled", WebhookReservedConcurrency=100)
    try:
        found = Described(ground, stack).all()
        ground.gaps |= found.gaps
        require(not found.problems, f"{len(found.problems)} differences: {found.problems[:6]}")
        status, _ = Api(ground.emulator.port, stack.ids["Api"]).bearbilling(b"{}", "bbsec")
        require(status == 404, f"Bear Billing's route answers {status}")
    finally:
        stack.delete()
    return f"{len(stack.ids)} resources, {found.compared} properties compared"


def updated(ground):
    """With other parameters, what holds data stays the same and keeps it, and settings are the new ones."""
    before = _kept(ground.stack), ground.items("BillingTable"), ground.items("EventsTable"), _secrets(ground)
    ground.stack.update(ground.source, LogRetentionDays=60, MaxReceiveCount=7, LagSeconds=600, WebhookMemory=512)
    after = _kept(ground.stack), ground.items("BillingTable"), ground.items("EventsTable"), _secrets(ground)
    for what, old, new in zip(("resources", "billing items", "events", "secrets"), before, after):
        require(old == new, f"the {what} are not what they were: {_first_difference(old, new)}")
    found = Described(ground, ground.stack).all()
    require(not found.problems, f"{len(found.problems)} differences: {found.problems[:6]}")
    ground.deliver(customer_event("evt_e2e_upd", "cus_e2e_upd", 1794002000, "upd@example.test"))
    ground.drain()
    require(ground.state("cus_e2e_upd") is not None, "an event after the update did not reach the state")


def settings_arrive(ground):
    """New settings reach the versions of the functions that the alias points to, which are the ones that run."""
    client = ground.client("lambda")
    resolver = ground.stack.resolver()
    stale = []
    for logical, resource in ground.stack.template["Resources"].items():
        if resource["Type"] != "AWS::Lambda::Function" or not ground.has(logical):
            continue
        wanted = resolver.value(resource["Properties"])
        running = client.get_function_configuration(FunctionName=ground.id(logical), Qualifier="current")
        variables = running["Environment"]["Variables"]
        stale += [
            f"{logical} runs with {name}={variables.get(name)}, set is {value}"
            for name, value in wanted["Environment"]["Variables"].items()
            if variables.get(name) != str(value)
        ]
        if running["MemorySize"] != int(wanted["MemorySize"]):
            stale.append(f"{logical} runs with {running['MemorySize']} MB, set are {wanted['MemorySize']}")
    require(not stale, "; ".join(stale))


def released(ground):
    """A stack of the newest release, with data in it, becomes one of this template and keeps them."""
    path = newest_released(f"{ground.root}/infra/released")
    if path is None:
        raise Failed("there is no release")
    stack = Stack(ground.emulator, "billhook-released", ground.stack.binaries, ground.stack.endpoints, {})
    # Its functions were others: there is only the template of a release, so the same binaries stand in for them.
    stack.label = "released"
    stack.create(expand.load(path), Mode="test")
    dynamodb, sqs, secrets = (ground.client(name) for name in ("dynamodb", "sqs", "secretsmanager"))
    item = {"pk": {"S": "kept"}, "sk": {"S": "kept"}}
    for table in ("BillingTable", "EventsTable"):
        dynamodb.put_item(TableName=stack.ids[table], Item=item)
    sqs.send_message(QueueUrl=stack.ids["DeadLetterQueue"], MessageBody="kept")
    secrets.put_secret_value(SecretId=stack.ids["StripeWebhookSecret"], SecretString="whsec_kept")
    before = _kept(stack)
    stack.label = "current"
    stack.update(ground.source)
    after = _kept(stack)
    lost = [name for name, physical in before.items() if after.get(name) != physical]
    require(not lost, f"not the same after the update: {lost}")
    for table in ("BillingTable", "EventsTable"):
        found = dynamodb.get_item(TableName=stack.ids[table], Key=item).get("Item")
        require(found == item, f"{table} lost an item")
    received = sqs.receive_message(QueueUrl=stack.ids["DeadLetterQueue"]).get("Messages", [])
    require([message["Body"] for message in received] == ["kept"], "the dead letters are lost")
    value = secrets.get_secret_value(SecretId=stack.ids["StripeWebhookSecret"])["SecretString"]
    require(value == "whsec_kept", "the signing secret is lost")
    stack.delete()
    return path.rsplit("/", 1)[-1]


def deleted(ground):
    """Deleted, the stack leaves behind what holds data."""
    kept = _kept(ground.stack)
    billing = ground.items("BillingTable")
    ground.stack.delete()
    dynamodb, sqs, secrets, logs = (ground.client(name) for name in ("dynamodb", "sqs", "secretsmanager", "logs"))
    lost = []
    for logical, physical in kept.items():
        kind = ground.stack.template["Resources"][logical]["Type"]
        try:
            if kind == "AWS::DynamoDB::Table":
                dynamodb.describe_table(TableName=physical)
            elif kind == "AWS::SQS::Queue":
                sqs.get_queue_attributes(QueueUrl=physical, AttributeNames=["QueueArn"])
            elif kind == "AWS::SecretsManager::Secret":
                require("DeletedDate" not in secrets.describe_secret(SecretId=physical), "deleted")
            elif not logs.describe_log_groups(logGroupNamePrefix=physical)["logGroups"]:
                lost.append(logical)
        except Exception as error:
            lost.append(f"{logical} ({error})")
    require(not lost, f"gone: {lost}")
    require(ground.items("BillingTable") == billing, "the billing state is not what it was")
    names = [it["FunctionName"] for it in ground.client("lambda").list_functions()["Functions"]]
    left = [name for name in names if name.startswith(f"{ground.stack.name}-")]
    require(not left, f"functions are left: {left}")
    return f"{len(kept)} resources retained"


def _kept(stack):
    return {
        logical: physical
        for logical, physical in stack.ids.items()
        if stack.template["Resources"][logical]["Type"] in KEPT
    }


def _secrets(ground):
    client = ground.client("secretsmanager")
    return {
        logical: client.get_secret_value(SecretId=physical)["SecretString"]
        for logical, physical in _kept(ground.stack).items()
        if "Secret" in logical
    }


def _first_difference(old, new):
    different = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return json.dumps([str(key) for key in different[:3]])
