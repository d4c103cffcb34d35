"""The thirty faults that the linters were measured with: cfn-lint sees four of them in the source, ten expanded."""

from mutate import drop, put, replace

WEBHOOK_POLICY = "WebhookRole/Policies/0/PolicyDocument/Statement"
CONSUMER_POLICY = "ConsumerRole/Policies/0/PolicyDocument/Statement"

FAULTS = [
    ("visibility below the function's timeout", put("EventsQueue/VisibilityTimeout", 10)),
    ("visibility below six times the timeout", put("EventsQueue/VisibilityTimeout", 60)),
    ("no dead-letter queue", drop("EventsQueue/RedrivePolicy")),
    ("maxReceiveCount 1", put("EventsQueue/RedrivePolicy/maxReceiveCount", 1)),
    ("dead letters kept for a day", put("DeadLetterQueue/MessageRetentionPeriod", 86400)),
    ("retention over SQS's maximum", put("EventsQueue/MessageRetentionPeriod", 1209601)),
    ("no ReportBatchItemFailures", drop("ConsumerSource/FunctionResponseTypes")),
    ("a typo in ReportBatchItemFailures", put("ConsumerSource/FunctionResponseTypes", ["ReportBatchItemFailure"])),
    ("MaximumConcurrency 1", put("ConsumerSource/ScalingConfig/MaximumConcurrency", 1)),
    ("a batch of 100 without a window", put("ConsumerSource/BatchSize", 100)),
    ("IAM action sqs:*", put(f"{WEBHOOK_POLICY}/0/Action", "sqs:*")),
    ("IAM resource *", put(f"{WEBHOOK_POLICY}/0/Resource", "*")),
    ("an IAM action missing", put(f"{CONSUMER_POLICY}/0/Action", ["sqs:ReceiveMessage", "sqs:GetQueueAttributes"])),
    ("a bogus IAM action", put(f"{CONSUMER_POLICY}/2/Action", "dynamodb:PutItems")),
    ("no point-in-time recovery", drop("BillingTable/PointInTimeRecoverySpecification")),
    ("no deletion protection", drop("BillingTable/DeletionProtectionEnabled")),
    ("a table without a DeletionPolicy", drop("Resources/BillingTable/DeletionPolicy")),
    ("a secret in a variable", put("WebhookFunction/Environment/Variables/STRIPE_WEBHOOK_SECRETS", "whsec_0123456789")),
    ("a dangling Ref", put("WebhookFunction/Environment/Variables/QUEUE_URL", {"Ref": "Quue"})),
    (
        "a wrong GetAtt",
        put("EventsQueue/RedrivePolicy/deadLetterTargetArn", {"Fn::GetAtt": ["DeadLetterQueue", "QueueArn"]}),
    ),
    ("runtime provided.al2024", put("Globals/Function/Runtime", "provided.al2024")),
    ("the deprecated runtime provided.al2", put("Globals/Function/Runtime", "provided.al2")),
    ("a key attribute not declared", drop("EventsTable/AttributeDefinitions/3")),
    ("an alarm on the wrong metric", put("DeadLettersAlarm/MetricName", "NumberOfMessagesSent")),
    (
        "an alarm on the wrong queue",
        put("DeadLettersAlarm/Dimensions/0/Value", {"Fn::GetAtt": ["EventsQueue", "QueueName"]}),
    ),
    ("an API integration's timeout above its limit", put("WebhookIntegration/TimeoutInMillis", 60000)),
    ("the TLS-only Deny turned into Allow", put("EventsQueuePolicy/PolicyDocument/Statement/0/Effect", "Allow")),
    ("a dashboard with invalid JSON", replace("Dashboard/DashboardBody/Fn::Sub/0", '"widgets": [', '"widgets": [,')),
    ("no encryption of the queue", put("EventsQueue/SqsManagedSseEnabled", False)),
    ("log retention of 89 days", put("ConsumerLogGroup/RetentionInDays", 89)),
]
