"""Changes to our template that are no faults: the judge must let them pass."""

import json
import re

from mutate import add, all_of, drop, put, replace, resource


def renamed(template):
    """Gives every resource another logical id."""
    text = json.dumps(template)
    for index, id in enumerate(sorted(template["Resources"], key=len, reverse=True)):
        text = re.sub(rf'(?<=["{{]){id}(?=["\.}}])', f"Thing{index}", text)
    _become(template, json.loads(text))


def parameters_renamed(template):
    """Gives every parameter another name."""
    text = json.dumps(template)
    for index, name in enumerate(sorted(template["Parameters"], key=len, reverse=True)):
        text = re.sub(rf'(?<=["{{]){name}(?=["}}])', f"Choice{index}", text)
    _become(template, json.loads(text))


def reordered(template):
    """Turns the order of everything round that has none."""
    _become(template, _reversed(template))


def texts_for_attributes(template):
    """Writes `GetAtt` and `Ref` as texts with names in them."""
    text = re.sub(
        r'\{"Fn::GetAtt": \["(\w+)", "(Arn|QueueName|StreamArn)"\]\}', r'{"Fn::Sub": "${\1.\2}"}', json.dumps(template)
    )
    _become(template, json.loads(text))


def _reversed(value):
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [_reversed(item) for item in value]
    return value


def _become(template, other):
    template.clear()
    template.update(other)


def _defaults(**values):
    return all_of(*(put(f"Parameters/{name}/Default", value) for name, value in values.items()))


_NAME = "${AWS::StackName}"
_KEY = {
    "Description": "For the queue.",
    "EnableKeyRotation": True,
    "KeyPolicy": {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Account",
                "Effect": "Allow",
                "Principal": {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}},
                "Action": ["kms:Describe*", "kms:Get*", "kms:Put*", "kms:Decrypt", "kms:GenerateDataKey"],
                "Resource": "*",
            }
        ],
    },
}
_KEY_STATEMENT = {
    "Sid": "Key",
    "Effect": "Allow",
    "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
    "Resource": {"Fn::GetAtt": ["Key", "Arn"]},
}
_TRACE_STATEMENT = {
    "Sid": "Trace",
    "Effect": "Allow",
    "Action": ["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
    "Resource": "*",
}

VARIANTS = [
    ("the template itself", lambda template: None),
    ("other logical ids", renamed),
    ("other names of parameters", parameters_renamed),
    ("another order", reordered),
    ("references in texts", texts_for_attributes),
    (
        "live by default, with everything",
        _defaults(
            Mode="live",
            Refetch="enabled",
            AccessEvents="enabled",
            StripeEventBusName="aws.partner/stripe.com/ed_1",
            AlarmEmail="a@example.test",
        ),
    ),
    (
        "tables that exist already by default",
        _defaults(
            AccessEvents="enabled",
            ExistingEventsTable="live-ledger",
            ExistingBillingTable="live-state",
            ExistingBillingTableStream="2026-11-27T10:20:30.456",
        ),
    ),
    ("without Bear Billing by default", _defaults(BearBilling="disabled")),
    (
        "other numbers by default",
        _defaults(
            SilenceHours=72,
            LagSeconds=60,
            GraceDays=0,
            PurchaseDays="30",
            WebhookRate=500,
            WebhookBurst=200,
            WebhookMemory=512,
            ConsumerMemory=1024,
            ConsumerConcurrency=200,
            MaxReceiveCount=10,
            SignatureToleranceSecs=600,
            EventRetentionDays=400,
            LogRetentionDays=365,
            LogLevel="warn",
        ),
    ),
    (
        "narrower bounds",
        all_of(
            put("Parameters/ConsumerConcurrency/MaxValue", 500),
            put("Parameters/MaxReceiveCount/MinValue", 8),
            put("Parameters/EventRetentionDays/MinValue", 60),
        ),
    ),
    (
        "longer timeouts",
        all_of(
            put("ConsumerFunction/Timeout", 30),
            put("EventsQueue/VisibilityTimeout", 180),
            put("WebhookFunction/Timeout", 15),
            put("WebhookIntegration/TimeoutInMillis", 29000),
        ),
    ),
    ("a longer visibility", put("EventsQueue/VisibilityTimeout", 120)),
    ("the API's own timeout", drop("WebhookIntegration/TimeoutInMillis")),
    (
        "a larger batch with a window",
        all_of(put("ConsumerSource/BatchSize", 50), put("ConsumerSource/MaximumBatchingWindowInSeconds", 1)),
    ),
    ("a smaller batch", put("ConsumerSource/BatchSize", 5)),
    ("a queue that keeps a week", put("EventsQueue/MessageRetentionPeriod", 604800)),
    (
        "numbers as texts",
        all_of(
            put("EventsQueue/VisibilityTimeout", "90"),
            put("DeadLettersAlarm/Threshold", "0"),
            put("EventsQueue/SqsManagedSseEnabled", "true"),
        ),
    ),
    ("Intel processors", put("Globals/Function/Architectures", ["x86_64"])),
    ("another alias", put("Globals/Function/AutoPublishAlias", "live")),
    ("another canary", put("WebhookFunction/DeploymentPreference/Type/Fn::If/1", "Linear10PercentEvery1Minute")),
    (
        "a constant maxReceiveCount",
        all_of(
            drop("Parameters/MaxReceiveCount"),
            put("EventsQueue/RedrivePolicy/maxReceiveCount", 12),
            put("ConsumerFunction/Environment/Variables/MAX_RECEIVE_COUNT", 12),
            replace("ConsumerFunction/VersionDescription/Fn::Sub", "${MaxReceiveCount}", "12"),
            lambda t: [
                group["Parameters"].remove("MaxReceiveCount")
                for group in t["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
                if "MaxReceiveCount" in group["Parameters"]
            ],
        ),
    ),
    ("a queue with a name", put("EventsQueue/QueueName", {"Fn::Sub": f"{_NAME}-events"})),
    (
        "a queue with a name that its alarm repeats",
        all_of(
            put("EventsQueue/QueueName", {"Fn::Sub": f"{_NAME}-events"}),
            put("QueueAgeAlarm/Dimensions/0/Value", {"Fn::Join": ["-", [{"Ref": "AWS::StackName"}, "events"]]}),
        ),
    ),
    (
        "an ARN put together",
        put(
            "WebhookRole/Policies/0/PolicyDocument/Statement/0/Resource",
            {"Fn::Sub": "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:${EventsQueue.QueueName}"},
        ),
    ),
    (
        "one statement for two actions and an action as a list",
        put("WebhookRole/Policies/0/PolicyDocument/Statement/0/Action", ["sqs:SendMessage"]),
    ),
    (
        "TLS as a boolean",
        put("EventsQueuePolicy/PolicyDocument/Statement/0/Condition", {"Bool": {"aws:SecureTransport": False}}),
    ),
    (
        "TLS by BoolIfExists, of everything",
        all_of(
            put(
                "EventsQueuePolicy/PolicyDocument/Statement/0/Condition",
                {"BoolIfExists": {"aws:SecureTransport": "false"}},
            ),
            put("EventsQueuePolicy/PolicyDocument/Statement/0/Resource", "*"),
        ),
    ),
    ("everybody as AWS: *", put("EventsQueuePolicy/PolicyDocument/Statement/0/Principal", {"AWS": "*"})),
    (
        "a key of one's own",
        all_of(
            drop("EventsQueue/SqsManagedSseEnabled"),
            put("EventsQueue/KmsMasterKeyId", {"Fn::GetAtt": ["Key", "Arn"]}),
            resource("Key", "KMS::Key", _KEY, DeletionPolicy="Retain", UpdateReplacePolicy="Retain"),
            add("WebhookRole/Policies/0/PolicyDocument/Statement", _KEY_STATEMENT),
            add("ConsumerRole/Policies/0/PolicyDocument/Statement", _KEY_STATEMENT),
        ),
    ),
    (
        "tracing",
        all_of(
            put("WebhookFunction/Tracing", "Active"),
            add("WebhookRole/Policies/0/PolicyDocument/Statement", _TRACE_STATEMENT),
        ),
    ),
    ("the policy as a resource of its own", lambda t: _apart(t, "WebhookRole")),
    (
        "an alarm from one on",
        all_of(
            put("DeadLettersAlarm/ComparisonOperator", "GreaterThanOrEqualToThreshold"),
            put("DeadLettersAlarm/Threshold", 1),
        ),
    ),
    (
        "slower alarms",
        all_of(
            put("WebhookErrorsAlarm/Period", 300),
            put("QueueAgeAlarm/Threshold", 900),
            put("WebhookDurationAlarm/Threshold", 3000),
        ),
    ),
    ("alarms without OKActions", drop("DeadLettersAlarm/OKActions")),
    (
        "one more alarm",
        resource(
            "ForbiddenAlarm",
            "CloudWatch::Alarm",
            {
                "AlarmDescription": (
                    "Many requests are answered 4xx: somebody forges, or the throttle is too low. First: read the"
                    " access log."
                ),
                "Namespace": "AWS/ApiGateway",
                "MetricName": "4xx",
                "Dimensions": [{"Name": "ApiId", "Value": {"Ref": "Api"}}],
                "Statistic": "Sum",
                "Period": 300,
                "EvaluationPeriods": 1,
                "Threshold": 1000,
                "ComparisonOperator": "GreaterThanThreshold",
                "TreatMissingData": "notBreaching",
                "AlarmActions": [{"Ref": "AlarmTopic"}],
            },
            Condition="HasAlarms",
        ),
    ),
    ("tags", put("EventsQueue/Tags", [{"Key": "team", "Value": "billing"}])),
    (
        "an access log of more",
        replace(
            "ApiStage/AccessLogSettings/Fn::If/1/Format", '{"request_id"', '{"agent":"$context.identity.userAgent","request_id"'
        ),
    ),
    (
        "a permission per route",
        put(
            "WebhookPermission/SourceArn",
            {"Fn::Sub": "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*/*/webhooks/*"},
        ),
    ),
    ("no dashboard", lambda t: _without(t, ["Dashboard"], ["DashboardUrl"], "HasDashboard", "WithDashboard")),
    ("more retries of the stream", put("AccessSource/MaximumRetryAttempts", 50)),
    (
        "the source as a whole name",
        put(
            "StripeEventRule/EventPattern",
            {"source": [{"prefix": "aws.partner/stripe.com"}], "detail-type": [{"exists": True}]},
        ),
    ),
    ("recovery of 14 days", put("BillingTable/PointInTimeRecoverySpecification/RecoveryPeriodInDays", 14)),
]


def _without(template, resources, outputs, condition, parameter):
    """Takes out an option with its parameter."""
    for id in resources:
        del template["Resources"][id]
    for name in outputs:
        del template["Outputs"][name]
    del template["Conditions"][condition]
    del template["Parameters"][parameter]
    for group in template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]:
        if parameter in group["Parameters"]:
            group["Parameters"].remove(parameter)


def _apart(template, role):
    policy = template["Resources"][role]["Properties"].pop("Policies")[0]
    template["Resources"][f"{role}Policy"] = {
        "Type": "AWS::IAM::Policy",
        "Properties": {**policy, "Roles": [{"Ref": role}]},
    }
