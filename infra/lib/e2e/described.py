"""Whether what was created is what the template says: each resource's description, property by property.

CREATE_COMPLETE says little in an emulator that leaves out what it does not know. What it is known to leave out is in
GAPS; that is judged by the expanded template alone.
"""

import json

# Properties that ministack 1.5.33 does not keep, with what it does instead.
GAPS = {
    ("AWS::DynamoDB::Table", "TimeToLiveSpecification"): "ignored in a template",
    ("AWS::DynamoDB::Table", "PointInTimeRecoverySpecification"): "ignored in a template",
    ("AWS::Lambda::Function", "ReservedConcurrentExecutions"): "ignored in a template",
    ("AWS::ApiGatewayV2::Stage", "DefaultRouteSettings"): "kept in a form that is not described",
}


class Described:
    """Collects where a stack is not what its template says."""

    def __init__(self, ground, stack):
        self.ground = ground
        self.stack = stack
        self.resolver = stack.resolver()
        self.problems = []
        self.gaps = set()
        self.compared = 0

    def all(self):
        """Compares every resource of the template."""
        stack = self.stack
        for logical, resource in stack.template["Resources"].items():
            wanted = self.resolver.conditions(resource)
            if logical in stack.taken_out:
                continue
            if wanted != (logical in stack.ids):
                self.problems.append(f"{logical} {'is missing' if wanted else 'should not be there'}")
                continue
            if not wanted:
                continue
            properties = self.resolver.value(resource.get("Properties", {}))
            kind = resource["Type"]
            describe = DESCRIPTIONS.get(kind)
            if describe is None:
                self.problems.append(f"{logical}: nobody knows how to describe an {kind}")
                continue
            found = describe(self.ground, stack.ids[logical], properties)
            for name, value in properties.items():
                if name in NOT_COMPARED.get(kind, ()):
                    continue
                self._compare(logical, kind, name, value, found.get(name))
        return self

    def _compare(self, logical, kind, name, wanted, found):
        self.compared += 1
        if name == "Tags" and isinstance(found, list):
            found = [tag for tag in found if tag in wanted]
        if covers(found, wanted):
            return
        if (kind, name) in GAPS:
            self.gaps.add(f"{kind}.{name} ({GAPS[kind, name]})")
        else:
            self.problems.append(f"{logical}.{name} is {_short(found)}, the template says {_short(wanted)}")


def _short(value):
    text = json.dumps(value, default=str, sort_keys=True)
    return text if len(text) < 160 else text[:160] + "…"


def covers(found, wanted):
    """Whether everything that is wanted was found. Numbers and booleans may be texts, as some answers have them."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(covers(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(covers, found, wanted))
    if isinstance(wanted, bool) or isinstance(found, bool):
        return str(found).lower() == str(wanted).lower()
    if isinstance(wanted, (int, float)) or isinstance(found, (int, float)):
        try:
            return float(found) == float(wanted)
        except (TypeError, ValueError):
            return False
    return found == wanted


def _api(ground, physical, _):
    return ground.client("apigatewayv2").get_api(ApiId=physical)


def _stage(ground, physical, properties):
    return ground.client("apigatewayv2").get_stage(ApiId=properties["ApiId"], StageName=physical) | {
        "ApiId": properties["ApiId"]
    }


def _integration(ground, physical, properties):
    found = ground.client("apigatewayv2").get_integration(ApiId=properties["ApiId"], IntegrationId=physical)
    return found | {"ApiId": properties["ApiId"]}


def _route(ground, physical, properties):
    api, route = properties["ApiId"], physical.rsplit("/", 1)[-1]
    return ground.client("apigatewayv2").get_route(ApiId=api, RouteId=route) | {"ApiId": api}


def _permission(ground, _, properties):
    function, _, qualifier = properties["FunctionName"].rpartition(":")
    policy = json.loads(ground.client("lambda").get_policy(FunctionName=function, Qualifier=qualifier)["Policy"])
    for statement in policy["Statement"]:
        source = [value for condition in statement.get("Condition", {}).values() for value in condition.values()]
        if properties["SourceArn"] in source:
            principal = statement["Principal"]
            return {
                "Action": statement["Action"],
                "FunctionName": statement["Resource"],
                "Principal": principal.get("Service") if isinstance(principal, dict) else principal,
                "SourceArn": source[0],
            }
    return {}


def _log_group(ground, physical, _):
    groups = ground.client("logs").describe_log_groups(logGroupNamePrefix=physical)["logGroups"]
    group = next((group for group in groups if group["logGroupName"] == physical), {})
    return {"LogGroupName": group.get("logGroupName"), "RetentionInDays": group.get("retentionInDays")}


def _secret(ground, physical, properties):
    client = ground.client("secretsmanager")
    found = client.describe_secret(SecretId=physical)
    value = client.get_secret_value(SecretId=physical).get("SecretString", "")
    wanted = properties.get("GenerateSecretString")
    # Once a value was put, what was generated is over.
    if wanted and (len(value) == wanted["PasswordLength"] or ground.signing):
        found["GenerateSecretString"] = wanted
    return found


def _role(ground, physical, _):
    client = ground.client("iam")
    role = client.get_role(RoleName=physical)["Role"]
    names = client.list_role_policies(RoleName=physical)["PolicyNames"]
    role["Policies"] = [
        {"PolicyName": name, "PolicyDocument": client.get_role_policy(RoleName=physical, PolicyName=name)["PolicyDocument"]}
        for name in names
    ]
    return role


def _managed_policy(ground, physical, _):
    client = ground.client("iam")
    policy = client.get_policy(PolicyArn=physical)["Policy"]
    version = client.get_policy_version(PolicyArn=physical, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
    return {"Description": policy.get("Description"), "PolicyDocument": version["Document"]}


def _queue(ground, physical, _):
    found = ground.client("sqs").get_queue_attributes(QueueUrl=physical, AttributeNames=["All"])["Attributes"]
    if "RedrivePolicy" in found:
        found["RedrivePolicy"] = json.loads(found["RedrivePolicy"])
    return found


def _queue_policy(ground, _, properties):
    queues = properties["Queues"]
    found = ground.client("sqs").get_queue_attributes(QueueUrl=queues[0], AttributeNames=["Policy"])["Attributes"]
    return {"Queues": queues, "PolicyDocument": json.loads(found.get("Policy", "null"))}


def _rule(ground, physical, properties):
    client, bus = ground.client("events"), properties["EventBusName"]
    found = client.describe_rule(Name=physical, EventBusName=bus)
    found["EventPattern"] = json.loads(found["EventPattern"])
    found["Targets"] = client.list_targets_by_rule(Rule=physical, EventBusName=bus)["Targets"]
    return found


def _function(ground, physical, _):
    client = ground.client("lambda")
    found = client.get_function_configuration(FunctionName=physical)
    concurrency = client.get_function_concurrency(FunctionName=physical)
    tags = client.get_function(FunctionName=physical).get("Tags", {})
    return found | {
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        "ReservedConcurrentExecutions": concurrency.get("ReservedConcurrentExecutions"),
    }


def _version(ground, physical, _):
    function, version = physical.rsplit(":", 2)[-2:]
    return ground.client("lambda").get_function_configuration(FunctionName=function, Qualifier=version)


def _alias(ground, physical, properties):
    function = properties["FunctionName"]
    return ground.client("lambda").get_alias(FunctionName=function, Name=properties["Name"]) | {"FunctionName": function}


def _mapping(ground, physical, properties):
    found = ground.client("lambda").get_event_source_mapping(UUID=physical)
    return found | {"FunctionName": found["FunctionArn"], "Enabled": found["State"] == "Enabled"}


def _table(ground, physical, _):
    client = ground.client("dynamodb")
    table = client.describe_table(TableName=physical)["Table"]
    live = client.describe_time_to_live(TableName=physical)["TimeToLiveDescription"]
    backups = client.describe_continuous_backups(TableName=physical)["ContinuousBackupsDescription"]
    recovery = backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
    return table | {
        "BillingMode": table.get("BillingModeSummary", {}).get("BillingMode"),
        "TableClass": table.get("TableClassSummary", {}).get("TableClass") or "STANDARD",
        "TimeToLiveSpecification": {
            "AttributeName": live.get("AttributeName"),
            "Enabled": live["TimeToLiveStatus"] == "ENABLED",
        },
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": recovery == "ENABLED"},
    }


def _topic(ground, physical, _):
    return ground.client("sns").get_topic_attributes(TopicArn=physical)["Attributes"]


def _topic_policy(ground, _, properties):
    topics = properties["Topics"]
    found = ground.client("sns").get_topic_attributes(TopicArn=topics[0])["Attributes"]
    return {"Topics": topics, "PolicyDocument": json.loads(found.get("Policy", "null"))}


def _subscription(ground, _, properties):
    subscriptions = ground.client("sns").list_subscriptions_by_topic(TopicArn=properties["TopicArn"])["Subscriptions"]
    return next((it for it in subscriptions if it["Endpoint"] == properties["Endpoint"]), {})


def _alarm(ground, physical, _):
    alarms = ground.client("cloudwatch").describe_alarms(AlarmNames=[physical])["MetricAlarms"]
    return alarms[0] if alarms else {}


def _dashboard(ground, physical, properties):
    found = ground.client("cloudwatch").get_dashboard(DashboardName=physical)
    # It must be JSON, or the console shows nothing.
    same = json.loads(found["DashboardBody"]) == json.loads(properties["DashboardBody"])
    return {"DashboardName": physical, "DashboardBody": properties["DashboardBody"] if same else found["DashboardBody"]}


DESCRIPTIONS = {
    "AWS::ApiGatewayV2::Api": _api,
    "AWS::ApiGatewayV2::Integration": _integration,
    "AWS::ApiGatewayV2::Route": _route,
    "AWS::ApiGatewayV2::Stage": _stage,
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::CloudWatch::Dashboard": _dashboard,
    "AWS::DynamoDB::Table": _table,
    "AWS::Events::Rule": _rule,
    "AWS::IAM::ManagedPolicy": _managed_policy,
    "AWS::IAM::Role": _role,
    "AWS::Lambda::Alias": _alias,
    "AWS::Lambda::EventSourceMapping": _mapping,
    "AWS::Lambda::Function": _function,
    "AWS::Lambda::Permission": _permission,
    "AWS::Lambda::Version": _version,
    "AWS::Logs::LogGroup": _log_group,
    "AWS::SecretsManager::Secret": _secret,
    "AWS::SNS::Subscription": _subscription,
    "AWS::SNS::Topic": _topic,
    "AWS::SNS::TopicPolicy": _topic_policy,
    "AWS::SQS::Queue": _queue,
    "AWS::SQS::QueuePolicy": _queue_policy,
}

# What the harness sets itself, see `adapt`.
NOT_COMPARED = {"AWS::Lambda::Function": ("Code", "Architectures")}
