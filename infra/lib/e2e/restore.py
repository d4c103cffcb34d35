"""Both tables are restored under new names, the stack is pointed at them, and events go on where they were.

The restoring is done by the command `infra/restore`, through the AWS CLI. What the emulator does not show: that a table
is restored as it was at the moment asked for (it is copied as it is), how long that takes, and that alarms follow.
"""

import os
import subprocess

from .described import DESCRIPTIONS, covers
from .emulator import CREDENTIALS
from .run import Failed, customer_event, require, subscription_event
from .stack import StackFailed

SUFFIX = "e2e"
SECOND = 1794002100
TAGS = [{"Key": "team", "Value": "billing"}]
PARAMETERS = {"EventsTable": "ExistingEventsTable", "BillingTable": "ExistingBillingTable"}
STREAM = "ExistingBillingTableStream"


def restored(ground):
    """The tables are restored and have all that the template gives a table; again, nothing is done twice."""
    dynamodb = ground.client("dynamodb")
    ground.deliver(customer_event("evt_e2e_rst_0", "cus_e2e_rst", SECOND, "rst@example.test"))
    ground.drain()
    before = {table: ground.items(table) for table in PARAMETERS}
    for table in PARAMETERS:
        arn = dynamodb.describe_table(TableName=ground.id(table))["Table"]["TableArn"]
        dynamodb.tag_resource(ResourceArn=arn, Tags=TAGS)
    refused = _command(ground, "--at", "2001-01-01T00:00:00Z")
    require(refused.returncode == 1 and "choose another moment" in refused.stderr, f"of 2001: {refused.stderr}")
    first = _restore(ground)
    again = _restore(ground)
    steps = [line for line in again.splitlines() if line.endswith(": set")]
    require(not steps and again.count("was there") == 8, f"run again, it did {steps}: {again}")
    ground.restored_names, ground.restored_overrides = _names(ground), _overrides(first)
    for table, name in ground.restored_names.items():
        _require_like_template(ground, table, name)
        pages = dynamodb.get_paginator("scan").paginate(TableName=name)
        found = {(item["pk"]["S"], item["sk"]["S"]): item for page in pages for item in page["Items"]}
        require(found == before[table], f"{name} does not hold what {table} held")
    return ", ".join(ground.restored_names.values())


def half_restored(ground):
    """A restore that broke off after one table, its description not set, is completed and not begun anew."""
    dynamodb = ground.client("dynamodb")
    target = f"{ground.stack.name}-events-half"
    dynamodb.restore_table_to_point_in_time(
        SourceTableName=ground.id("EventsTable"), TargetTableName=target, UseLatestRestorableTime=True
    )
    done = _command(ground, "--latest", "--table", "events", suffix="half")
    require(done.returncode == 0 and "it exists" in done.stdout, f"{done.stdout} {done.stderr}")
    _require_like_template(ground, "EventsTable", target)
    stray = f"{ground.stack.name}-events-stray"
    dynamodb.create_table(
        TableName=stray,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    refused = _command(ground, "--latest", "--table", "events", suffix="stray")
    require(refused.returncode == 1 and "is no copy" in refused.stderr, f"a stray table: {refused.stderr}")
    for name in (target, stray):
        dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
        dynamodb.delete_table(TableName=name)


def pointed_at(ground):
    """The stack uses the restored tables, new events reach them, and the old tables stay with what they held."""
    old = {table: ground.id(table) for table in PARAMETERS}
    with_access = ground.has("AccessSource")
    if with_access:
        _require_stream_is_asked_for(ground)
    before = ground.items("BillingTable")
    ground.stack.update(ground.source, **ground.restored_overrides)
    for table, name in ground.restored_names.items():
        require(not ground.has(table), f"{table} still belongs to the stack")
        require(ground.id(table) == name, f"{table} is {ground.id(table)}")
        require(ground.stack.outputs[f"{table}Name"] == name, f"the output {table}Name tells another table")
    if with_access:
        source = ground.client("lambda").get_event_source_mapping(UUID=ground.id("AccessSource"))["EventSourceArn"]
        require(f"table/{ground.restored_names['BillingTable']}/stream/" in source, f"the mapping reads {source}")
    calls = len(ground.proxies["consumer"].calls())
    ground.deliver(
        subscription_event("evt_e2e_rst_1", "cus_e2e_rst", SECOND + 1, kind="customer.subscription.created")
    )
    ground.drain()
    state = ground.state("cus_e2e_rst")
    require(state and state["access"]["granted"], f"the new event did not reach the restored state: {state}")
    written = {str(call.resource).partition("/")[0] for call in ground.proxies["consumer"].calls()[calls:]}
    require(not written & set(old.values()), f"the consumer still calls {written & set(old.values())}")
    if with_access:
        ground.wait(lambda: ground.listener.about("cus_e2e_rst"), "the product is not told of the new event")
    _require_kept(ground, old, before)
    return "the old tables are kept"


def _require_stream_is_asked_for(ground):
    """With access events, a billing table without its stream is refused before anything is changed."""
    overrides = {**ground.restored_overrides, STREAM: ""}
    values = dict(ground.stack.values)
    try:
        ground.stack.update(ground.source, **overrides)
    except StackFailed as error:
        raise Failed(f"without a stream the update began, and failed: {error}") from error
    except Exception as error:
        require(STREAM in str(error), f"without a stream: {error}")
    else:
        raise Failed("an update without a stream was taken")
    ground.stack.values = values


def _require_kept(ground, old, billing):
    """The tables that the stack made are there, and the billing table holds what it held."""
    dynamodb = ground.client("dynamodb")
    for name in old.values():
        dynamodb.describe_table(TableName=name)
    pages = dynamodb.get_paginator("scan").paginate(TableName=old["BillingTable"])
    found = {(item["pk"]["S"], item["sk"]["S"]): item for page in pages for item in page["Items"]}
    require(found == billing, "the old billing table is not what it was")


def _require_like_template(ground, table, name):
    """A table has every property that the template gives its own, and the tags of the old one."""
    properties = ground.stack.resolver().value(ground.source["Resources"][table]["Properties"])
    found = DESCRIPTIONS["AWS::DynamoDB::Table"](ground, name, properties)
    wrong = [key for key, value in properties.items() if not covers(_sorted(found.get(key)), _sorted(value))]
    require(not wrong, f"{name} differs from the template's {table} in {wrong}")
    tags = ground.client("dynamodb").list_tags_of_resource(ResourceArn=found["TableArn"])["Tags"]
    require(all(tag in tags for tag in TAGS), f"{name} has the tags {tags}")


def _sorted(value):
    """Attributes and indexes in an order of their own: they have none."""
    if not isinstance(value, list):
        return value
    return sorted(value, key=lambda each: str(each.get("IndexName") or each.get("AttributeName")))


def _restore(ground):
    done = _command(ground, "--latest")
    require(done.returncode == 0, f"infra/restore ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _command(ground, *options, suffix=SUFFIX):
    """Runs `infra/restore` as its user does."""
    command = [os.path.join(ground.root, "infra", "restore"), "--stack", ground.stack.name, "--suffix", suffix, "--yes"]
    command += ["--endpoint-url", ground.emulator.endpoint, *options]
    environment = {**os.environ, **CREDENTIALS}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def _names(ground):
    return {table: f"{ground.stack.name}-{table.removesuffix('Table').lower()}-{SUFFIX}" for table in PARAMETERS}


def _overrides(told):
    """The parameters of the `sam deploy` that the command ends with."""
    (line,) = [line for line in told.splitlines() if "--parameter-overrides" in line]
    return dict(word.split("=", 1) for word in line.split("--parameter-overrides ")[1].split())
