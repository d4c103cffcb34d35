"""Rules about tables: keys and indexes as the code uses them, and that nothing precious is lost."""

import sources
from graph import environment, is_ours, mappings, programs
from model import items, mapping, number, truth
from rules import rule


@rule("tables can be restored, and cannot be deleted by mistake")
def protected(stack):
    for table in stack.of("DynamoDB::Table"):
        recovery = truth(table.get("PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled"))
        # The ledger's can be turned off: Stripe can send the last 30 days again.
        if recovery is not True and (stack.is_default or not is_ledger(stack, table)):
            yield (
                table.id,
                "has no point-in-time recovery: what a bug overwrites is gone; set PointInTimeRecoveryEnabled: true",
            )
        days = number(table.get("PointInTimeRecoverySpecification", "RecoveryPeriodInDays") or 35)
        if days is None or days < 7:
            yield table.id, f"RecoveryPeriodInDays is {days}: a fault found after a week's holiday cannot be undone"
        if truth(table.get("DeletionProtectionEnabled")) is not True:
            yield table.id, "has no deletion protection: one call deletes it; set DeletionProtectionEnabled: true"
        if table.get("SSESpecification") and truth(table.get("SSESpecification", "SSEEnabled")) is False:
            yield table.id, "SSESpecification turns a key off; remove it"
    for kind in ("DynamoDB::GlobalTable",):
        for table in stack.of(kind):
            yield (
                table.id,
                "is a global table, whose replicas write without each other's conditions; use AWS::DynamoDB::Table",
            )


def is_ledger(stack, table):
    """Whether a table is the ledger, by what the functions call it."""
    return any(environment(function).get("EVENTS_TABLE") == table.name for function in stack.of("Lambda::Function"))


@rule("what holds data outlives the stack")
def retained(stack):
    for resource in stack.of("DynamoDB::Table", "SQS::Queue", "SecretsManager::Secret", "Logs::LogGroup", "KMS::Key"):
        for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
            allowed = ("Retain", "RetainExceptOnCreate") if policy == "DeletionPolicy" else ("Retain",)
            if resource.raw.get(policy) not in allowed:
                yield resource.id, (
                    f"{policy} is {resource.raw.get(policy)}: its data goes with the stack or with a change of its"
                    " name; set Retain"
                )


@rule("key attributes are declared, and nothing else is")
def declared(stack):
    for table in stack.of("DynamoDB::Table"):
        types = {
            mapping(each).get("AttributeName"): mapping(each).get("AttributeType")
            for each in items(table.get("AttributeDefinitions"))
        }
        used = set()
        for where, schema in schemas(table):
            used |= {name for name, _ in schema}
            kinds = [kind for _, kind in schema]
            if kinds not in (["HASH"], ["HASH", "RANGE"]):
                yield table.id, f"the key of {where} is {kinds}; it must be HASH, or HASH and RANGE"
        for index in map(mapping, items(table.get("GlobalSecondaryIndexes"))):
            projection = mapping(index.get("Projection"))
            if (projection.get("ProjectionType") == "INCLUDE") != bool(projection.get("NonKeyAttributes")):
                yield table.id, (
                    f"the index {index.get('IndexName')} must have NonKeyAttributes with the ProjectionType INCLUDE, and"
                    " with no other: the table cannot be made"
                )
        for name in sorted(used - set(types), key=str):
            yield table.id, f"the key attribute {name} is not in AttributeDefinitions: the table cannot be made"
        for name in sorted(set(types) - used, key=str):
            yield table.id, f"{name} is in AttributeDefinitions, but in no key: the table cannot be made"
        for name, kind in types.items():
            if kind not in ("S", "N", "B"):
                yield table.id, f"the type of {name} is {kind}; it must be S, N or B"


def schemas(table):
    """The key schemas of a table and its indexes, as pairs of attribute and kind."""

    def pairs(schema):
        return [(mapping(each).get("AttributeName"), mapping(each).get("KeyType")) for each in items(schema)]

    yield "the table", pairs(table.get("KeySchema"))
    for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        for index in items(table.get(kind)):
            yield f"the index {mapping(index).get('IndexName')}", pairs(mapping(index).get("KeySchema"))


@rule("tables take any load")
def on_demand(stack):
    for table in stack.of("DynamoDB::Table"):
        if table.get("BillingMode") != "PAY_PER_REQUEST":
            yield (
                table.id,
                f"BillingMode is {table.get('BillingMode')}: a burst of events is throttled; use PAY_PER_REQUEST",
            )
        if table.get("ProvisionedThroughput"):
            yield table.id, "has ProvisionedThroughput beside on-demand billing; remove it"
        for holder in [table.properties, *map(mapping, items(table.get("GlobalSecondaryIndexes")))]:
            limits = mapping(holder.get("OnDemandThroughput"))
            for key, value in limits.items():
                if number(value) is None or number(value) < 1000 and number(value) != -1:
                    yield table.id, f"{key} is {value}: events above that are throttled"


@rule("tables have the keys and the index that the code uses")
def schema(stack):
    for variable, indexes in sources.indexes().items():
        projections = {name: projection for name, _, projection in indexes}
        for table in tables_of(stack, variable):
            types = {
                mapping(each).get("AttributeName"): mapping(each).get("AttributeType")
                for each in items(table.get("AttributeDefinitions"))
            }
            expected = [("the table", sources.table_keys())]
            expected += [(f"the index {name}", keys) for name, keys, _ in indexes]
            found = dict(schemas(table))
            for where, keys in expected:
                has = [(name, types.get(name)) for name, _ in found.get(where, [])]
                if has != list(keys):
                    yield table.id, f"the key of {where} is {has}; the code ({variable}) uses {list(keys)}"
            for each in items(table.get("GlobalSecondaryIndexes")):
                name = mapping(each).get("IndexName")
                projection = mapping(mapping(each).get("Projection")).get("ProjectionType")
                if projection != projections.get(name, projection):
                    yield table.id, (
                        f"the index {name} projects {projection} and not {projections[name]}: what is read through it"
                        " lacks what the code looks for, or every write pays for more"
                    )
            for extra in set(found) - {where for where, _ in expected}:
                yield table.id, f"has {extra}, which the code does not use: every write pays for it"


def tables_of(stack, variable):
    """The tables that functions of this project are given by a variable."""
    names = {environment(function).get(variable) for function, _ in programs(stack)} - {None}
    return [table for table in stack.of("DynamoDB::Table") if table.name in names]


@rule("records of events expire, billing state never")
def expiry(stack):
    for table in tables_of(stack, "EVENTS_TABLE"):
        ttl = mapping(table.get("TimeToLiveSpecification"))
        if truth(ttl.get("Enabled")) is not True or ttl.get("AttributeName") != sources.expiry_attribute():
            yield table.id, (
                f"its records do not expire by {sources.expiry_attribute()}, which the code sets: the ledger grows"
                " for ever"
            )
    for table in tables_of(stack, "BILLING_TABLE"):
        if truth(table.get("TimeToLiveSpecification", "Enabled")):
            yield table.id, "has a time to live: billing state never expires; remove TimeToLiveSpecification"


@rule("streams show what was and what is")
def streamed(stack):
    read = [source for _, _, source in mappings(stack)]
    for table in stack.of("DynamoDB::Table"):
        view = table.get("StreamSpecification", "StreamViewType")
        billing = table in tables_of(stack, "BILLING_TABLE")
        if (table in read and is_ours(stack) or billing) and view != "NEW_AND_OLD_IMAGES":
            yield table.id, f"StreamViewType is {view}; a change can be told only from NEW_AND_OLD_IMAGES"
        elif table in read and not view:
            yield table.id, "has no stream, but a function reads it"
