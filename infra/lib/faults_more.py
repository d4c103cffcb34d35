"""Faults of other kinds, to see that the net is not woven around the known ones."""

from faults_known import CONSUMER_POLICY, WEBHOOK_POLICY
from mutate import add, all_of, drop, put, replace, resource, swap

ACCESS_POLICY = "AccessRole/Policies/0/PolicyDocument/Statement"
DEPLOY_POLICY = "DeployRole/Policies/0/PolicyDocument/Statement"
TRUST = "AssumeRolePolicyDocument/Statement/0"
TLS = "PolicyDocument/Statement/0"
EVENT_DESTINATION = "EventsQueuePolicy/PolicyDocument/Statement/1/Fn::If/1"
TABLES_OF = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/"
NEEDS = "Rules/ExistingBillingTableNeedsItsStream"


def get(id, attribute):
    """A `GetAtt`."""
    return {"Fn::GetAtt": [id, attribute]}


def ref(id):
    """A `Ref`."""
    return {"Ref": id}


def sub(text):
    """A `Sub`."""
    return {"Fn::Sub": text}


QUEUES = [
    ("visibility of half an hour", put("EventsQueue/VisibilityTimeout", 1800)),
    ("visibility left at its default", drop("EventsQueue/VisibilityTimeout")),
    ("a longer timeout of the consumer", put("ConsumerFunction/Timeout", 60)),
    ("maxReceiveCount that the consumer is not told of", put("EventsQueue/RedrivePolicy/maxReceiveCount", 12)),
    ("maxReceiveCount over SQS's maximum", put("EventsQueue/RedrivePolicy/maxReceiveCount", 1001)),
    ("MaxReceiveCount may be 1", put("Parameters/MaxReceiveCount/MinValue", 1)),
    (
        "a queue that is its own dead-letter queue",
        put("EventsQueue/RedrivePolicy/deadLetterTargetArn", get("EventsQueue", "Arn")),
    ),
    (
        "a dead-letter queue that redrives to the queue",
        put("DeadLetterQueue/RedrivePolicy", {"deadLetterTargetArn": get("EventsQueue", "Arn"), "maxReceiveCount": 10}),
    ),
    (
        "a dead-letter queue that lets nobody in",
        put("DeadLetterQueue/RedriveAllowPolicy", {"redrivePermission": "denyAll"}),
    ),
    ("the queue keeps events for an hour", put("EventsQueue/MessageRetentionPeriod", 3600)),
    ("dead letters without a retention", drop("DeadLetterQueue/MessageRetentionPeriod")),
    ("a FIFO queue", put("EventsQueue/FifoQueue", True)),
    ("a delay of every message", put("EventsQueue/DelaySeconds", 60)),
    ("messages of 64 KiB at most", put("EventsQueue/MaximumMessageSize", 65536)),
    ("dead letters not encrypted", drop("AccessDeadLetterQueue/SqsManagedSseEnabled")),
    (
        "the consumer's dead letters in the access function's queue",
        put("EventsQueue/RedrivePolicy/deadLetterTargetArn", get("AccessDeadLetterQueue", "Arn")),
    ),
    (
        "TLS demanded where there is TLS",
        put(f"EventsQueuePolicy/{TLS}/Condition", {"Bool": {"aws:SecureTransport": "true"}}),
    ),
    ("TLS demanded for sending only", put(f"EventsQueuePolicy/{TLS}/Action", "sqs:SendMessage")),
    ("TLS demanded of another queue", put(f"DeadLetterQueuePolicy/{TLS}/Resource", get("EventsQueue", "Arn"))),
    (
        "TLS demanded of one account only",
        put(f"EventsQueuePolicy/{TLS}/Principal", {"AWS": sub("arn:aws:iam::${AWS::AccountId}:root")}),
    ),
    ("a Deny without its condition", drop(f"EventsQueuePolicy/{TLS}/Condition")),
    ("TLS by a misspelt key", put(f"EventsQueuePolicy/{TLS}/Condition", {"Bool": {"aws:SecureTransports": "false"}})),
    ("no policy for dead letters", drop("Resources/DeadLetterQueuePolicy")),
    ("a policy for another queue", put("AccessDeadLetterQueuePolicy/Queues", [ref("DeadLetterQueue")])),
    (
        "everybody may send",
        add(
            "EventsQueuePolicy/PolicyDocument/Statement",
            {
                "Sid": "Open",
                "Effect": "Allow",
                "Principal": "*",
                "Action": "sqs:SendMessage",
                "Resource": get("EventsQueue", "Arn"),
            },
        ),
    ),
    ("every account's rules may send", drop("EventsQueuePolicy/PolicyDocument/Statement/1/Fn::If/1/Condition")),
    (
        "another rule may send",
        put(
            "EventsQueuePolicy/PolicyDocument/Statement/1/Fn::If/1/Condition/ArnEquals/aws:SourceArn",
            sub("arn:aws:events:${AWS::Region}:${AWS::AccountId}:rule/other"),
        ),
    ),
    (
        "S3 may send in place of EventBridge",
        put("EventsQueuePolicy/PolicyDocument/Statement/1/Fn::If/1/Principal", {"Service": "s3.amazonaws.com"}),
    ),
    (
        "EventBridge may receive in place of send",
        put("EventsQueuePolicy/PolicyDocument/Statement/1/Fn::If/1/Action", "sqs:ReceiveMessage"),
    ),
    ("EventBridge cannot put its dead letters", drop("DeadLetterQueuePolicy/PolicyDocument/Statement/1")),
    ("a queue deleted with the stack", put("Resources/EventsQueue/DeletionPolicy", "Delete")),
    ("dead letters replaced by an update", drop("Resources/DeadLetterQueue/UpdateReplacePolicy")),
]
MAPPINGS = [
    ("the mapping is disabled", put("ConsumerSource/Enabled", False)),
    ("the consumer reads the dead-letter queue", put("ConsumerSource/EventSourceArn", get("DeadLetterQueue", "Arn"))),
    ("the mapping calls the webhook", put("ConsumerSource/FunctionName", ref("WebhookFunction.Alias"))),
    ("the mapping calls no alias", put("ConsumerSource/FunctionName", ref("ConsumerFunction"))),
    ("no bound of concurrency", drop("ConsumerSource/ScalingConfig")),
    ("concurrency of 1001", put("Parameters/ConsumerConcurrency/MaxValue", 1001)),
    ("a window of a minute", put("ConsumerSource/MaximumBatchingWindowInSeconds", 60)),
    (
        "a filter on the queue",
        put("ConsumerSource/FilterCriteria", {"Filters": [{"Pattern": '{"body":{"source":["stripe"]}}'}]}),
    ),
    (
        "provisioned pollers and a maximum",
        put("ConsumerSource/ProvisionedPollerConfig", {"MinimumPollers": 2, "MaximumPollers": 10}),
    ),
    ("the stream from its latest", put("AccessSource/StartingPosition", "LATEST")),
    ("a stream without bounds of retries", drop("AccessSource/MaximumRetryAttempts")),
    ("a stream's failures go nowhere", drop("AccessSource/DestinationConfig")),
    (
        "a stream's failures go to the events",
        put("AccessSource/DestinationConfig/OnFailure/Destination", get("EventsQueue", "Arn")),
    ),
    ("a stream's batches are not halved", put("AccessSource/BisectBatchOnFunctionError", False)),
    ("a stream's batch fails as a whole", drop("AccessSource/FunctionResponseTypes")),
    ("a filter that is no JSON", put("AccessSource/FilterCriteria/Filters/0/Pattern", "{dynamodb: }")),
    (
        "a filter on what no record has",
        put("AccessSource/FilterCriteria/Filters/0/Pattern", '{"body":{"sk":["access"]}}'),
    ),
    (
        "a filter without subscriptions",
        replace("AccessSource/FilterCriteria/Filters/0/Pattern", '{"prefix":"subscription#"},', ""),
    ),
    (
        "a filter for new rows only",
        put(
            "AccessSource/FilterCriteria/Filters/0/Pattern",
            '{"eventName":["INSERT"],"dynamodb":{"NewImage":{"sk":{"S":[{"prefix":""}]}}}}',
        ),
    ),
    (
        "the access function reads the ledger's stream",
        all_of(
            put("AccessSource/EventSourceArn", get("EventsTable", "StreamArn")),
            put("EventsTable/StreamSpecification", {"StreamViewType": "NEW_AND_OLD_IMAGES"}),
        ),
    ),
]
FUNCTIONS = [
    ("a handler that there is not", put("Globals/Function/Handler", "main")),
    ("an architecture that there is not", put("Globals/Function/Architectures", ["arm"])),
    ("two architectures", put("Globals/Function/Architectures", ["arm64", "x86_64"])),
    ("a timeout above the API's", put("WebhookFunction/Timeout", 20)),
    ("a timeout below a call's", put("WebhookFunction/Timeout", 5)),
    ("no timeout", drop("WebhookFunction/Timeout")),
    ("a timeout of 20 minutes", put("AccessFunction/Timeout", 1200)),
    ("memory below Lambda's", put("AccessFunction/MemorySize", 64)),
    ("WebhookMemory may be 64", put("Parameters/WebhookMemory/MinValue", 64)),
    ("reserved concurrency of none", put("WebhookFunction/ReservedConcurrentExecutions", 0)),
    ("reserved concurrency below the mapping's", put("ConsumerFunction/ReservedConcurrentExecutions", 15)),
    ("no alias", drop("Globals/Function/AutoPublishAlias")),
    ("an alias that settings never reach", drop("ConsumerFunction/AutoPublishAliasAllProperties")),
    ("a log group of another function", put("ConsumerFunction/LoggingConfig/LogGroup", ref("WebhookLogGroup"))),
    ("no log group", drop("WebhookFunction/LoggingConfig")),
    ("logs as text", put("WebhookFunction/LoggingConfig", {"LogGroup": ref("WebhookLogGroup")})),
    ("logs without a retention", drop("WebhookLogGroup/RetentionInDays")),
    ("logs deleted with the stack", put("Resources/ApiLogGroup/DeletionPolicy", "Delete")),
    ("the binary of another function", put("ConsumerFunction/CodeUri", "../target/lambda/webhook/bootstrap.zip")),
    ("not built by cargo-lambda", put("Resources/ConsumerFunction/Metadata/BuildMethod", "makefile")),
    (
        "a function in a VPC",
        put("WebhookFunction/VpcConfig", {"SubnetIds": ["subnet-12345678"], "SecurityGroupIds": ["sg-12345678"]}),
    ),
    ("an open function URL", put("WebhookFunction/FunctionUrlConfig", {"AuthType": "NONE"})),
    ("two functions with one role", put("WebhookFunction/Role", get("ConsumerRole", "Arn"))),
    ("a check skipped without a reason", put("Resources/EventsQueue/Metadata/checkov/skip/0/comment", "")),
    ("cfn-lint switched off", put("Resources/EventsQueue/Metadata/cfn-lint", {"config": {"ignore_checks": ["E"]}})),
]
ENVIRONMENT = [
    ("a required variable is missing", drop("ConsumerFunction/Environment/Variables/BILLING_TABLE")),
    (
        "a misspelt variable",
        all_of(
            drop("ConsumerFunction/Environment/Variables/MAX_RECEIVE_COUNT"),
            put("ConsumerFunction/Environment/Variables/MAX_RECEIVES", ref("MaxReceiveCount")),
        ),
    ),
    (
        "the tables the wrong way round",
        swap(
            "ConsumerFunction/Environment/Variables/EVENTS_TABLE",
            "ConsumerFunction/Environment/Variables/BILLING_TABLE",
        ),
    ),
    ("a queue's ARN for its URL", put("WebhookFunction/Environment/Variables/QUEUE_URL", get("EventsQueue", "Arn"))),
    (
        "the webhook sends to the dead-letter queue",
        put("WebhookFunction/Environment/Variables/QUEUE_URL", ref("DeadLetterQueue")),
    ),
    (
        "one secret for both sources",
        put("WebhookFunction/Environment/Variables/BEARBILLING_WEBHOOK_SECRET_ARN", ref("StripeWebhookSecret")),
    ),
    (
        "the sources' secrets the wrong way round",
        swap(
            "WebhookFunction/Environment/Variables/STRIPE_WEBHOOK_SECRET_ARN",
            "WebhookFunction/Environment/Variables/BEARBILLING_WEBHOOK_SECRET_ARN",
        ),
    ),
    (
        "the signing secret for the API key",
        put("ConsumerFunction/Environment/Variables/STRIPE_API_KEY_SECRET_ARN", ref("StripeWebhookSecret")),
    ),
    ("the mode is always live", put("ConsumerFunction/Environment/Variables/STRIPE_MODE", "live")),
    (
        "the mode is not one of Stripe's",
        all_of(
            put("Parameters/Mode/AllowedValues", ["test", "live", "sandbox"]), put("Parameters/Mode/Default", "sandbox")
        ),
    ),
    ("another stack's name", put("ConsumerFunction/Environment/Variables/STACK_NAME", "billhook")),
    ("no stack's name", drop("WebhookFunction/Environment/Variables/STACK_NAME")),
    (
        "another parameter's value",
        put("ConsumerFunction/Environment/Variables/EVENT_RETENTION_DAYS", ref("LogRetentionDays")),
    ),
    ("events forgotten after 30 days", put("Parameters/EventRetentionDays/MinValue", 30)),
    ("a level of log that there is not", put("Parameters/LogLevel/AllowedValues", ["info", "warn", "error", "trace"])),
    ("a tolerance of a day", put("Parameters/SignatureToleranceSecs/Default", 86400)),
    (
        "a secret resolved into a variable",
        put("ConsumerFunction/Environment/Variables/STRIPE_API_URL", "{{resolve:secretsmanager:stripe:SecretString}}"),
    ),
    ("an API key in a variable", put("ConsumerFunction/Environment/Variables/STRIPE_API_KEY", ref("LogLevel"))),
]
IAM = [
    (
        "the consumer may delete items",
        put(
            f"{CONSUMER_POLICY}/1/Action",
            ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem", "dynamodb:DeleteItem"],
        ),
    ),
    (
        "the webhook may write billing state",
        add(WEBHOOK_POLICY, {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": get("BillingTable", "Arn")}),
    ),
    ("the webhook may not read its secret", drop(f"{WEBHOOK_POLICY}/1")),
    ("the webhook may read only Stripe's secret", put(f"{WEBHOOK_POLICY}/1/Resource", ref("StripeWebhookSecret"))),
    (
        "the webhook may send to the dead-letter queue",
        put(f"{WEBHOOK_POLICY}/0/Resource", get("DeadLetterQueue", "Arn")),
    ),
    ("a queue's URL for its ARN", put(f"{WEBHOOK_POLICY}/0/Resource", ref("EventsQueue"))),
    ("a Deny where Allow is needed", put(f"{CONSUMER_POLICY}/2/Effect", "Deny")),
    (
        "a condition that never holds",
        put(f"{CONSUMER_POLICY}/1/Condition", {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
    ),
    (
        "everything but a few",
        put(
            f"{CONSUMER_POLICY}/1",
            {
                "Sid": "Most",
                "Effect": "Allow",
                "NotAction": "dynamodb:DeleteTable",
                "Resource": get("BillingTable", "Arn"),
            },
        ),
    ),
    (
        "every table",
        put(
            f"{CONSUMER_POLICY}/2/Resource",
            sub("arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/*"),
        ),
    ),
    (
        "a managed policy beside",
        put("ConsumerRole/ManagedPolicyArns", ["arn:aws:iam::aws:policy/AmazonDynamoDBFullAccess"]),
    ),
    (
        "SAM's managed policy beside",
        put(
            "WebhookRole/ManagedPolicyArns",
            [sub("arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole")],
        ),
    ),
    ("anybody may take the role", put(f"ConsumerRole/{TRUST}/Principal", {"AWS": "*"})),
    ("another service may take the role", put(f"ConsumerRole/{TRUST}/Principal", {"Service": "ec2.amazonaws.com"})),
    (
        "one more service may take the role",
        put(f"ConsumerRole/{TRUST}/Principal", {"Service": ["lambda.amazonaws.com", "ec2.amazonaws.com"]}),
    ),
    ("nobody may take the role", put(f"WebhookRole/{TRUST}/Effect", "Deny")),
    ("logs of another function", put(f"{CONSUMER_POLICY}/4/Resource", get("WebhookLogGroup", "Arn"))),
    ("no logs", drop(f"{CONSUMER_POLICY}/4")),
    ("the access function may not read the index", put(f"{ACCESS_POLICY}/1/Resource", [get("BillingTable", "Arn")])),
    ("the access function may not read the stream", put(f"{ACCESS_POLICY}/0/Resource", get("BillingTable", "Arn"))),
    (
        "the access function may put events on any bus",
        put(
            f"{ACCESS_POLICY}/3/Resource",
            sub("arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/*"),
        ),
    ),
    ("what the access function gives up cannot be kept", drop(f"{ACCESS_POLICY}/4")),
    ("the deployment may not shift traffic", put(f"{DEPLOY_POLICY}/0/Action", ["lambda:GetAlias"])),
    ("the deployment may change code", add(f"{DEPLOY_POLICY}/0/Action", "lambda:UpdateFunctionCode")),
    ("the deployment cannot see alarms", drop(f"{DEPLOY_POLICY}/1")),
    ("the readers may write", add("BillingReadPolicy/PolicyDocument/Statement/0/Action", "dynamodb:PutItem")),
    (
        "the readers may read the ledger",
        add("BillingReadPolicy/PolicyDocument/Statement/0/Resource", get("EventsTable", "Arn")),
    ),
    (
        "a user with a key",
        all_of(
            resource("Operator", "IAM::User", {}),
            resource("OperatorKey", "IAM::AccessKey", {"UserName": ref("Operator")}),
        ),
    ),
    ("a policy of the old version", put("WebhookRole/Policies/0/PolicyDocument/Version", "2008-10-17")),
]
TABLES = [
    ("recovery switched off", put("EventsTable/PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled", False)),
    ("a table replaced by an update", put("Resources/BillingTable/UpdateReplacePolicy", "Delete")),
    (
        "an attribute that no key uses",
        add("BillingTable/AttributeDefinitions", {"AttributeName": "status", "AttributeType": "S"}),
    ),
    ("the sort key's type", put("EventsTable/AttributeDefinitions/3/AttributeType", "S")),
    ("the index of another name", put("BillingTable/GlobalSecondaryIndexes/0/IndexName", "by-customer")),
    (
        "the index without the state",
        put("BillingTable/GlobalSecondaryIndexes/0/Projection", {"ProjectionType": "KEYS_ONLY"}),
    ),
    (
        "the index the wrong way round",
        swap(
            "BillingTable/GlobalSecondaryIndexes/0/KeySchema/0/AttributeName",
            "BillingTable/GlobalSecondaryIndexes/0/KeySchema/1/AttributeName",
        ),
    ),
    ("the table without a sort key", drop("BillingTable/KeySchema/1")),
    (
        "billing state expires",
        put("BillingTable/TimeToLiveSpecification", {"AttributeName": "expires", "Enabled": True}),
    ),
    ("events never expire", drop("EventsTable/TimeToLiveSpecification")),
    ("events expire by another attribute", put("EventsTable/TimeToLiveSpecification/AttributeName", "ttl")),
    ("expiry switched off", put("EventsTable/TimeToLiveSpecification/Enabled", False)),
    ("a stream of keys", put("BillingTable/StreamSpecification/StreamViewType", "KEYS_ONLY")),
    (
        "provisioned capacity",
        all_of(
            put("EventsTable/BillingMode", "PROVISIONED"),
            put("EventsTable/ProvisionedThroughput", {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}),
        ),
    ),
    ("a limit of ten writes", put("EventsTable/OnDemandThroughput", {"MaxWriteRequestUnits": 10})),
]
SECRETS = [
    ("a secret in the template", put("StripeWebhookSecret/SecretString", "whsec_123")),
    (
        "a secret from a parameter",
        all_of(
            put("Parameters/StripeSecret", {"Type": "String", "NoEcho": True, "Description": "The secret."}),
            put("StripeWebhookSecret/SecretString", ref("StripeSecret")),
        ),
    ),
    ("a signing secret that is made up", put("StripeWebhookSecret/GenerateSecretString", {"PasswordLength": 32})),
    ("a secret deleted with the stack", drop("Resources/StripeWebhookSecret/DeletionPolicy")),
    (
        "everybody may read the secret",
        resource(
            "OpenSecret",
            "SecretsManager::ResourcePolicy",
            {
                "SecretId": ref("StripeWebhookSecret"),
                "ResourcePolicy": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": "*",
                            "Action": "secretsmanager:GetSecretValue",
                            "Resource": "*",
                        }
                    ],
                },
            },
        ),
    ),
    (
        "an output shows a secret",
        put("Outputs/StripeWebhookSecretArn/Value", sub("{{resolve:secretsmanager:${StripeWebhookSecret}}}")),
    ),
]
API = [
    ("a route to GET", put("StripeRoute/RouteKey", "GET /webhooks/stripe")),
    ("a route of another path", put("StripeRoute/RouteKey", "POST /webhook/stripe")),
    ("every path leads to the webhook", put("StripeRoute/RouteKey", "$default")),
    ("a route to what is no integration", put("StripeRoute/Target", sub("${WebhookIntegration}"))),
    ("a route that asks for IAM", put("StripeRoute/AuthorizationType", "AWS_IAM")),
    ("an integration of another type", put("WebhookIntegration/IntegrationType", "HTTP_PROXY")),
    ("another payload format", put("WebhookIntegration/PayloadFormatVersion", "1.0")),
    ("the integration calls the consumer", put("WebhookIntegration/IntegrationUri", ref("ConsumerFunction.Alias"))),
    ("the integration calls no alias", put("WebhookIntegration/IntegrationUri", get("WebhookFunction", "Arn"))),
    ("the API's timeout below the function's", put("WebhookIntegration/TimeoutInMillis", 9000)),
    ("the permission of another service", put("WebhookPermission/Principal", "events.amazonaws.com")),
    ("the permission of everybody", put("WebhookPermission/Principal", "*")),
    ("the permission without a source", drop("WebhookPermission/SourceArn")),
    (
        "the permission for GET",
        put(
            "WebhookPermission/SourceArn",
            sub("arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*/GET/webhooks/*"),
        ),
    ),
    (
        "the permission of another API",
        put(
            "WebhookPermission/SourceArn",
            sub("arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:abc123/*/POST/webhooks/*"),
        ),
    ),
    ("the permission for the function, not its alias", put("WebhookPermission/FunctionName", ref("WebhookFunction"))),
    ("the permission to read, not to invoke", put("WebhookPermission/Action", "lambda:GetFunction")),
    ("a stage that is not deployed", put("ApiStage/AutoDeploy", False)),
    ("a stage of another name", put("ApiStage/StageName", "prod")),
    ("no throttles", drop("ApiStage/DefaultRouteSettings")),
    ("a throttle of none", put("ApiStage/DefaultRouteSettings/ThrottlingBurstLimit", 0)),
    (
        "a route throttled to none",
        put("ApiStage/RouteSettings", {"POST /webhooks/stripe": {"ThrottlingRateLimit": 0, "ThrottlingBurstLimit": 0}}),
    ),
    ("no access log", drop("ApiStage/AccessLogSettings")),
    ("an access log that is no JSON", put("ApiStage/AccessLogSettings/Fn::If/1/Format", '{"id":$context.requestId')),
    ("an access log without a status", replace("ApiStage/AccessLogSettings/Fn::If/1/Format", '"status":"$context.status",', "")),
    (
        "an access log with a header",
        replace(
            "ApiStage/AccessLogSettings/Fn::If/1/Format",
            '{"request_id"',
            '{"signature":"$request.header.Stripe-Signature","request_id"',
        ),
    ),
    (
        "an access log with a misspelt variable",
        replace("ApiStage/AccessLogSettings/Fn::If/1/Format", "$context.status", "$context.statusCode"),
    ),
    ("an API that nobody can reach", put("Api/DisableExecuteApiEndpoint", True)),
    ("an API for browsers", put("Api/CorsConfiguration", {"AllowOrigins": ["*"]})),
    ("an API for web sockets", put("Api/ProtocolType", "WEBSOCKET")),
    ("an output of another URL", replace("Outputs/StripeWebhookUrl/Value/Fn::If/2/Fn::Sub", "/webhooks/stripe", "/webhook")),
]
EVENTS = [
    ("the rule is disabled", put("StripeEventRule/State", "DISABLED")),
    ("a pattern for one type", put("StripeEventRule/EventPattern/detail-type", ["invoice.paid"])),
    ("a pattern for another source", put("StripeEventRule/EventPattern/source", ["stripe"])),
    ("a pattern for everything", put("StripeEventRule/EventPattern", {"version": ["0"]})),
    ("a rule on the default bus", drop("StripeEventRule/EventBusName")),
    ("a rule to the dead-letter queue", put("StripeEventRule/Targets/0/Arn", get("DeadLetterQueue", "Arn"))),
    ("the rule hands over the detail only", put("StripeEventRule/Targets/0/InputPath", "$.detail")),
    ("the rule has no dead letters", drop("StripeEventRule/Targets/0/DeadLetterConfig")),
    (
        "the rule gives up after a minute",
        put("StripeEventRule/Targets/0/RetryPolicy", {"MaximumEventAgeInSeconds": 60}),
    ),
]
DEPLOYING = [
    ("all at once in live mode", put("WebhookFunction/DeploymentPreference/Type", "AllAtOnce")),
    (
        "by and by in test mode only",
        put("ConsumerFunction/DeploymentPreference/Type/Fn::If", ["IsLive", "AllAtOnce", "Canary10Percent5Minutes"]),
    ),
    ("no deployment preference", drop("ConsumerFunction/DeploymentPreference")),
    ("a deployment without alarms", drop("ConsumerFunction/DeploymentPreference/Alarms")),
    (
        "a deployment that watches another function",
        put("ConsumerFunction/DeploymentPreference/Alarms/0", ref("WebhookErrorsAlarm")),
    ),
]
ALARMS = [
    (
        "two alarms on one function's errors, none on the other's",
        put("ConsumerErrorsAlarm/Dimensions/0/Value", ref("WebhookFunction")),
    ),
    ("an alarm on a misspelt metric", put("WebhookErrorsAlarm/MetricName", "Error")),
    ("a REST API's metric", put("ApiServerErrorsAlarm/MetricName", "5XXError")),
    ("a REST API's dimension", put("ApiServerErrorsAlarm/Dimensions/0/Name", "ApiName")),
    ("a misspelt name space", put("QueueAgeAlarm/Namespace", "AWS/Sqs")),
    ("the dimension is the queue's URL", put("QueueAgeAlarm/Dimensions/0/Value", ref("EventsQueue"))),
    ("a dimension too many", add("WebhookErrorsAlarm/Dimensions", {"Name": "Stack", "Value": ref("AWS::StackName")})),
    ("no dimensions", drop("WebhookErrorsAlarm/Dimensions")),
    ("the average of errors", put("WebhookErrorsAlarm/Statistic", "Average")),
    ("the sum of ages", put("QueueAgeAlarm/Statistic", "Sum")),
    ("the median of the lag", put("LagAlarm/ExtendedStatistic", "p50")),
    ("an alarm that goes off when all is well", put("DeadLettersAlarm/ComparisonOperator", "LessThanThreshold")),
    ("an alarm that is always on", put("ParkedAlarm/ComparisonOperator", "GreaterThanOrEqualToThreshold")),
    ("silence that is never below", put("SilenceAlarm/Threshold", 0)),
    ("silence without data is well", put("SilenceAlarm/TreatMissingData", "notBreaching")),
    ("silence told in test mode only", put("Conditions/IsLive", {"Fn::Equals": [ref("Mode"), "test"]})),
    ("no data is an alarm", put("WebhookErrorsAlarm/TreatMissingData", "breaching")),
    ("a threshold of ten dead letters", put("DeadLettersAlarm/Threshold", 10)),
    ("a threshold that is never reached", put("WebhookDurationAlarm/Threshold", 10000)),
    ("a threshold in seconds for milliseconds", put("AccessLateAlarm/Threshold", 300)),
    ("a threshold in milliseconds for seconds", put("QueueAgeAlarm/Threshold", 300000)),
    ("a threshold of a thousand errors", put("ConsumerErrorsAlarm/Threshold", 1000)),
    ("a period of 45 s", put("WebhookErrorsAlarm/Period", 45)),
    ("more data points than periods", put("QueueAgeAlarm/DatapointsToAlarm", 6)),
    ("a window of more than a day", put("ParkedAlarm/EvaluationPeriods", 289)),
    ("an alarm after a day", put("ParkedAlarm/DatapointsToAlarm", 288)),
    ("an alarm that tells nobody", drop("ConsumerErrorsAlarm/AlarmActions")),
    ("an alarm with actions off", put("DeadLettersAlarm/ActionsEnabled", False)),
    ("an alarm without a description", drop("LagAlarm/AlarmDescription")),
    (
        "a description without a first step",
        put("LagAlarm/AlarmDescription", "Events take too long from Stripe to the state, see the runbook."),
    ),
    ("an alarm to a role", put("LagAlarm/AlarmActions", [get("DeployRole", "Arn")])),
    ("no alarm on dead letters", drop("Resources/DeadLettersAlarm")),
    ("no alarm on signatures", drop("Resources/SignatureMismatchAlarm")),
    ("no alarm on the rule", drop("Resources/EventDestinationAlarm")),
    ("no alarm on the queue's age in test mode", put("Resources/QueueAgeAlarm/Condition", "IsLive")),
    ("a reason that there is not", put("SignatureMismatchAlarm/Dimensions/1/Value", "mismatch")),
    ("another stack's metric", put("ParkedAlarm/Dimensions/0/Value", "billhook-live")),
    (
        "a metric that an expression leaves out",
        put("EventsTableThrottlesAlarm/Metrics/0/Expression", "FILL(writes, 0) + FILL(indexwrites, 0)"),
    ),
    ("an expression of what there is not", put("TimestampAlarm/Metrics/0/Expression", "FILL(old, 0) + FILL(futur, 0)")),
    (
        "an expression of another table",
        put("EventsTableThrottlesAlarm/Metrics/1/MetricStat/Metric/Dimensions/0/Value", ref("BillingTable")),
    ),
    (
        "an index that there is not",
        put("BillingTableThrottlesAlarm/Metrics/2/MetricStat/Metric/Dimensions/1/Value", "parked"),
    ),
    ("two results of an alarm", put("TimestampAlarm/Metrics/1/ReturnData", True)),
    ("a rule without its bus", drop("EventDestinationAlarm/Dimensions/0")),
    ("a topic that CloudWatch cannot use", put("AlarmTopic/KmsMasterKeyId", "alias/aws/sns")),
]
DASHBOARD = [
    (
        "a graph of a misspelt metric",
        replace("Dashboard/DashboardBody/Fn::Sub/0", '"billhook", "Applied"', '"billhook", "Applies"'),
    ),
    (
        "a graph of a queue that there is not",
        replace(
            "Dashboard/DashboardBody/Fn::Sub/0", '"QueueName", "${EventsQueue.QueueName}"', '"QueueName", "events"'
        ),
    ),
    (
        "a graph of another name space",
        replace("Dashboard/DashboardBody/Fn::Sub/0", '"AWS/ApiGateway"', '"AWS/ApiGatewayV2"'),
    ),
    ("a graph of another Region", replace("Dashboard/DashboardBody/Fn::Sub/0", '"${AWS::Region}"', '"us-west-1"')),
    (
        "a graph of a function that may not be there",
        replace(
            "Dashboard/DashboardBody/Fn::Sub/0",
            '"FunctionName", "${ConsumerFunction}", {"label": "consumer errors"}',
            '"FunctionName", "${AccessFunction}", {"label": "consumer errors"}',
        ),
    ),
    ("no widgets", put("Dashboard/DashboardBody", '{"widgets": []}')),
]
WHOLE = [
    ("a dangling GetAtt", put("ApiStage/AccessLogSettings/DestinationArn", get("AccessLog", "Arn"))),
    (
        "a dangling name in a text",
        put("BillingReadPolicy/PolicyDocument/Statement/0/Resource/1", sub("${Billing.Arn}/index/by_customer")),
    ),
    ("an output of a dangling name", put("Outputs/QueueUrl/Value", ref("Queue"))),
    ("an output without its condition", drop("Outputs/BearBillingWebhookSecretArn/Condition")),
    ("a resource without its condition", drop("Resources/AccessErrorsAlarm/Condition")),
    ("a resource that depends on nothing", put("Resources/Dashboard/DependsOn", "Nothing")),
    ("a resource of another condition", put("Resources/AccessRole/Condition", "HasRefetch")),
    ("a condition that there is not", put("Resources/SilenceAlarm/Condition", "IsProduction")),
    ("a condition that can never hold", put("Conditions/IsLive", {"Fn::Equals": [ref("Mode"), "production"]})),
    ("a condition the wrong way round", put("Conditions/HasRefetch", {"Fn::Equals": [ref("Refetch"), "disabled"]})),
    ("a default out of its bounds", put("Parameters/ConsumerConcurrency/Default", 1)),
    ("a default that is not allowed", put("Parameters/Mode/Default", "prod")),
    ("a default that its pattern refuses", put("Parameters/AlarmEmail/Default", "nobody")),
    ("a number without bounds", all_of(drop("Parameters/GraceDays/MinValue"), drop("Parameters/GraceDays/MaxValue"))),
    ("a parameter without a description", drop("Parameters/GraceDays/Description")),
    ("a parameter that nothing uses", put("WebhookFunction/MemorySize", 256)),
    ("a pattern that is none", put("Parameters/AlarmEmail/AllowedPattern", "^([^@]+@[^@]+")),
    ("a missing output", drop("Outputs/BillingTableName")),
    ("a type that there is not", put("Resources/EventsQueue/Type", "AWS::SQS::Queues")),
    ("a property that there is not", put("EventsQueue/VisibilityTimeoutSeconds", 90)),
    ("a property of another type", put("EventsQueue/VisibilityTimeout", "ninety")),
    ("no Transform", drop("Transform")),
    ("a function without code", drop("ConsumerFunction/CodeUri")),
    ("a subscription to another topic", put("AlarmSubscription/TopicArn", ref("StripeWebhookSecret"))),
]
FURTHER = [
    ("no description of a version", drop("AccessFunction/VersionDescription")),
    (
        "a description of a version that leaves a parameter out",
        replace("ConsumerFunction/VersionDescription/Fn::Sub", "retention ${EventRetentionDays}, ", ""),
    ),
    ("a timeout below a call's, by default", drop("AccessFunction/Timeout")),
    ("a secret that nothing uses when it is switched off", drop("Resources/StripeApiKeySecret/Condition")),
    ("a level of log for one function only", drop("WebhookFunction/Environment/Variables/LOG_LEVEL")),
    ("readers that cannot get an item", drop("BillingReadPolicy/PolicyDocument/Statement/0/Action/0")),
    ("a mapping's start for a queue", put("ConsumerSource/StartingPosition", "LATEST")),
    ("policies beside the role", put("WebhookFunction/Policies", ["AmazonSQSFullAccess"])),
    (
        "dead letters of the function that it may not send",
        put("ConsumerFunction/DeadLetterQueue", {"Type": "SQS", "TargetArn": get("DeadLetterQueue", "Arn")}),
    ),
    ("tracing that is not allowed", put("Globals/Function/Tracing", "Active")),
    (
        "a graph of a statistic that there is not",
        replace("Dashboard/DashboardBody/Fn::Sub/0", '"stat": "p99"', '"stat": "99p"'),
    ),
    (
        "two queues of one name",
        all_of(put("EventsQueue/QueueName", "events"), put("DeadLetterQueue/QueueName", "events")),
    ),
    ("a retention of logs that can be 89", add("Parameters/LogRetentionDays/AllowedValues", 89)),
    (
        "a retention of logs of any number",
        all_of(
            drop("Parameters/LogRetentionDays/AllowedValues"),
            put("Parameters/LogRetentionDays/MinValue", 1),
            put("Parameters/LogRetentionDays/MaxValue", 3653),
        ),
    ),
    ("days that can be a word", put("Parameters/PurchaseDays/AllowedPattern", "^.*$")),
    ("an output whose reference is not one", replace("Outputs/StripeWebhookUrl/Value/Fn::If/2/Fn::Sub", "${Api}", "{Api}")),
    ("an output of the wrong queue", put("Outputs/DeadLetterQueueUrl/Value", ref("EventsQueue"))),
    (
        "the tables' outputs the wrong way round",
        swap("Outputs/EventsTableName/Value", "Outputs/BillingTableName/Value"),
    ),
    (
        "calls to another address",
        put("ConsumerFunction/Environment/Variables/AWS_ENDPOINT_URL", "http://localhost:8000"),
    ),
    ("an alarm in another unit", put("LagAlarm/Unit", "Milliseconds")),
    ("an alarm without a period", drop("ParkedAlarm/Period")),
    ("slow answers of the wrong function", put("WebhookDurationAlarm/Dimensions/0/Value", ref("ConsumerFunction"))),
    (
        "one alarm twice for one reason",
        put("TimestampAlarm/Metrics/1/MetricStat/Metric/Dimensions/1/Value", "timestamp_in_future"),
    ),
    ("readers that cannot ask the index", drop("BillingReadPolicy/PolicyDocument/Statement/0/Resource/1")),
    (
        "everybody may put events on a bus",
        resource(
            "OpenBus", "Events::EventBusPolicy", {"StatementId": "open", "Principal": "*", "Action": "events:PutEvents"}
        ),
    ),
    ("a subscription without its condition", drop("Resources/AlarmSubscription/Condition")),
    ("a rule without its condition", drop("Resources/StripeEventRule/Condition")),
    ("a burst of none can be set", put("Parameters/WebhookBurst/MinValue", 0)),
    ("a silence of six weeks can be set", put("Parameters/SilenceHours/MaxValue", 1000)),
    ("Stripe's route only with Bear Billing's", put("Resources/StripeRoute/Condition", "HasBearBilling")),
    ("the permission in live mode only", put("Resources/WebhookPermission/Condition", "IsLive")),
    ("the mapping in live mode only", put("ConsumerSource/Enabled", {"Fn::If": ["IsLive", True, False]})),
    (
        "branches the wrong way round",
        put(
            "WebhookFunction/ReservedConcurrentExecutions/Fn::If",
            ["HasReservedConcurrency", ref("AWS::NoValue"), ref("WebhookReservedConcurrency")],
        ),
    ),
    (
        "messages expire before they are dead letters",
        all_of(put("EventsQueue/MessageRetentionPeriod", 345600), put("EventsQueue/VisibilityTimeout", 600)),
    ),
    (
        "the access log in a function's group",
        put("ApiStage/AccessLogSettings/DestinationArn", get("WebhookLogGroup", "Arn")),
    ),
    (
        "an account may send to the queue",
        add(
            "EventsQueuePolicy/PolicyDocument/Statement",
            {
                "Sid": "Account",
                "Effect": "Allow",
                "Principal": {"AWS": ref("AWS::AccountId")},
                "Action": "sqs:SendMessage",
                "Resource": get("EventsQueue", "Arn"),
            },
        ),
    ),
]
LEDGER = {"Ref": "EventsTable"}
STATE = {"Ref": "BillingTable"}
TOPIC = "AlarmTopicPolicy/PolicyDocument/Statement"
EVENTS_ALARM = "EventsTableThrottlesAlarm/Metrics"
METRIC = "MetricStat/Metric/Dimensions/0/Value"
RESTORE = [
    (
        "a named ledger is told, but may not be written",
        put(f"{CONSUMER_POLICY}/3/Resource", get("EventsTable", "Arn")),
    ),
    (
        "a named ledger may be written, but is not told",
        put("ConsumerFunction/Environment/Variables/EVENTS_TABLE", LEDGER),
    ),
    (
        "the consumer keeps the made billing table",
        put("ConsumerFunction/Environment/Variables/BILLING_TABLE", STATE),
    ),
    (
        "the access function keeps the made billing table",
        put("AccessFunction/Environment/Variables/BILLING_TABLE", STATE),
    ),
    (
        "the names of the tables the wrong way round",
        swap(
            "ConsumerFunction/Environment/Variables/EVENTS_TABLE/Fn::If/2",
            "ConsumerFunction/Environment/Variables/BILLING_TABLE/Fn::If/2",
        ),
    ),
    (
        "the branches of a table's name the wrong way round",
        swap(
            "ConsumerFunction/Environment/Variables/BILLING_TABLE/Fn::If/1",
            "ConsumerFunction/Environment/Variables/BILLING_TABLE/Fn::If/2",
        ),
    ),
    ("the open rows of every table", put(f"{CONSUMER_POLICY}/2/Resource/Fn::If/2", sub(TABLES_OF + "*/index/open"))),
    (
        "the open rows of the ledger",
        put(f"{CONSUMER_POLICY}/2/Resource/Fn::If/2", sub(TABLES_OF + "${ExistingEventsTable}/index/open")),
    ),
    (
        "a named table's index is another one",
        replace(f"{CONSUMER_POLICY}/2/Resource/Fn::If/2/Fn::Sub", "/index/open", "/index/ends"),
    ),
    (
        "a table of another account",
        replace(f"{CONSUMER_POLICY}/3/Resource/Fn::If/2/Fn::Sub", "${AWS::AccountId}", "444455556666"),
    ),
    (
        "a named table of another Region",
        replace(f"{CONSUMER_POLICY}/3/Resource/Fn::If/2/Fn::Sub", "${AWS::Region}", "eu-west-1"),
    ),
    (
        "readers may read the made billing table only",
        put("BillingReadPolicy/PolicyDocument/Statement/0/Resource/0", get("BillingTable", "Arn")),
    ),
    (
        "readers may read a named ledger",
        replace(
            "BillingReadPolicy/PolicyDocument/Statement/0/Resource/0/Fn::If/2/Fn::Sub",
            "${ExistingBillingTable}",
            "${ExistingEventsTable}",
        ),
    ),
    ("the alarm looks at the made ledger", put(f"{EVENTS_ALARM}/1/{METRIC}", LEDGER)),
    ("the alarm on an index looks at the made ledger", put(f"{EVENTS_ALARM}/2/{METRIC}", LEDGER)),
    (
        "the alarm looks at the ledger in place of the state",
        put(f"BillingTableThrottlesAlarm/Metrics/1/{METRIC}/Fn::If/2", ref("ExistingEventsTable")),
    ),
    ("the dashboard shows the made ledger", put("Dashboard/DashboardBody/Fn::Sub/1/EventsTableName", LEDGER)),
    ("the output tells the made billing table", put("Outputs/BillingTableName/Value", STATE)),
    (
        "the outputs of named tables the wrong way round",
        swap("Outputs/EventsTableName/Value/Fn::If/2", "Outputs/BillingTableName/Value/Fn::If/2"),
    ),
    (
        "the mapping reads the made table's stream",
        put("AccessSource/EventSourceArn", get("BillingTable", "StreamArn")),
    ),
    (
        "the mapping reads the ledger's stream",
        replace(
            "AccessSource/EventSourceArn/Fn::If/2/Fn::Sub", "${ExistingBillingTable}/", "${ExistingEventsTable}/"
        ),
    ),
    (
        "the mapping reads a table in place of its stream",
        replace("AccessSource/EventSourceArn/Fn::If/2/Fn::Sub", "/stream/${ExistingBillingTableStream}", ""),
    ),
    (
        "the access function may read the made table's stream only",
        put(f"{ACCESS_POLICY}/0/Resource", get("BillingTable", "StreamArn")),
    ),
    ("a table is made beside the named one", drop("Resources/EventsTable/Condition")),
    ("the tables' conditions the wrong way round", swap("Conditions/MakesEventsTable", "Conditions/MakesBillingTable")),
    (
        "a table is made only where one is named",
        put("Conditions/MakesBillingTable", {"Fn::Not": [{"Fn::Equals": [ref("ExistingBillingTable"), ""]}]}),
    ),
    ("both tables hang on one parameter", put("Conditions/MakesEventsTable/Fn::Equals/0", ref("ExistingBillingTable"))),
    ("a table's name is anything", drop("Parameters/ExistingBillingTable/AllowedPattern")),
    (
        "a named ledger makes no new version",
        replace("ConsumerFunction/VersionDescription/Fn::Sub", "${ExistingEventsTable}", ""),
    ),
    (
        "a named billing table makes no new version of the access function",
        replace("AccessFunction/VersionDescription/Fn::Sub", "${ExistingBillingTable}", ""),
    ),
    ("a rule of the parameters that names none", put(f"{NEEDS}/RuleCondition/Fn::And/0/Fn::Equals/0", ref("Access"))),
    ("a stream is not asked for", drop("Rules/ExistingBillingTableNeedsItsStream")),
    ("no policy of the topic", drop("Resources/AlarmTopicPolicy")),
    ("a topic in the clear", drop(f"{TOPIC}/0")),
    ("a topic's TLS where there is TLS", put(f"{TOPIC}/0/Condition", {"Bool": {"aws:SecureTransport": "true"}})),
    ("a topic that lets nobody in", drop(f"{TOPIC}/0/Condition")),
    ("a topic that takes no alarms", drop(f"{TOPIC}/1")),
    (
        "a topic that takes EventBridge's messages and no alarms",
        put(f"{TOPIC}/1/Principal", {"Service": "events.amazonaws.com"}),
    ),
    (
        "a topic that takes another account's alarms",
        put(f"{TOPIC}/1/Condition/StringEquals/aws:SourceAccount", "444455556666"),
    ),
    ("a topic that takes everybody's alarms", drop(f"{TOPIC}/1/Condition")),
    ("a topic whose alarms may subscribe", put(f"{TOPIC}/1/Action", "sns:Subscribe")),
    ("a policy of another topic", put("AlarmTopicPolicy/Topics", [])),
]
_REFUSED = "SignatureMismatchAlarm"
PLAYED = [
    (
        "a rollback alarm with FILL and one of one",
        all_of(
            put("WebhookRollbackAlarm/Metrics/0/Expression", "FILL(errors, 0) + FILL(nosecret, 0) + FILL(noqueue, 0)"),
            put("WebhookRollbackAlarm/EvaluationPeriods", 1),
        ),
    ),
    (
        "a rollback alarm that any forgery raises",
        all_of(
            put("WebhookRollbackAlarm/Metrics/2/MetricStat/Metric/MetricName", "Refused"),
            put("WebhookRollbackAlarm/Metrics/2/MetricStat/Metric/Dimensions/1/Value", "signature_mismatch"),
        ),
    ),
    (
        "a rollback alarm on all refusals",
        put("RefusedRollbackAlarm/Metrics/1/MetricStat/Metric/MetricName", "Refused"),
    ),
    ("a rollback alarm on any refusal", put("RefusedRollbackAlarm/Metrics/0/Expression", "refused - 0 * sent")),
    ("a rollback alarm that stays on for an hour", put("ConsumerRollbackAlarm/EvaluationPeriods", 60)),
    ("mismatches that strangers bring about", put(f"{_REFUSED}/MetricName", "Refused")),
    (
        "mismatches that a small shop never has enough of",
        all_of(put(f"{_REFUSED}/EvaluationPeriods", 3), put(f"{_REFUSED}/Threshold", 3)),
    ),
    ("large bodies of strangers", put("BodyTooLargeAlarm/MetricName", "Refused")),
    (
        "open rows that flap",
        all_of(put("UndecidedAlarm/EvaluationPeriods", 1), drop("UndecidedAlarm/DatapointsToAlarm")),
    ),
    (
        "failed refetches in a row, which a small shop has not",
        all_of(put("RefetchFailedAlarm/EvaluationPeriods", 2), put("RefetchFailedAlarm/DatapointsToAlarm", 2)),
    ),
    (
        "an old secret in a row, which a small shop has not",
        all_of(put("OldSecretAlarm/EvaluationPeriods", 3), put("OldSecretAlarm/DatapointsToAlarm", 2)),
    ),
    (
        "throttles of an index that come to nothing",
        put(
            "EventsTableThrottlesAlarm/Metrics/0/Expression",
            "FILL(writes, 0) + FILL(parkedwrites, 0) + 0 * timelinewrites + FILL(reads, 0)",
        ),
    ),
    (
        "refusals that pass for throttling",
        put("ThrottledRequestsAlarm/Metrics/0/Expression", "IF(clienterrors - 0 * refused >= 100, 1, 0)"),
    ),
    ("a flood that is none", put("Parameters/FloodRequests/MinValue", 1)),
    (
        "the other mode beside events of this one",
        put("OtherModeAlarm/Metrics/0/Expression", "IF(other > 0, 1, 0) + 0 * applied"),
    ),
    ("a metric that the function does not write", put("ParkedAlarm/MetricName", "ParkedEvents")),
    ("silence by a metric that ignored events keep alive", put("SilenceAlarm/MetricName", "Ignored")),
    ("dead letters seen only in time", all_of(put("DeadLettersAlarm/EvaluationPeriods", 1), drop("DeadLettersAlarm/DatapointsToAlarm"))),
    (
        "an alarm that nobody has seen go off",
        resource(
            "RetryAlarm",
            "CloudWatch::Alarm",
            {
                "AlarmDescription": "Deliveries fail and are retried. First: read the consumer's log for the outcome retry.",
                "Namespace": "billhook",
                "MetricName": "Retry",
                "Dimensions": [{"Name": "Stack", "Value": ref("AWS::StackName")}],
                "Statistic": "Sum",
                "Period": 300,
                "EvaluationPeriods": 1,
                "Threshold": 10,
                "ComparisonOperator": "GreaterThanThreshold",
                "TreatMissingData": "notBreaching",
                "AlarmActions": [ref("AlarmTopic")],
            },
            Condition="HasAlarms",
        ),
    ),
]
# Alarms that are well formed, and do not go off, do not stop, or wake for nothing: only a play shows it.
ALARM_PLAYS = [
    (
        "a consumer's rollback alarm whose last point is always filled",
        all_of(
            put("ConsumerRollbackAlarm/Metrics/0/Expression", "FILL(errors, 0) + FILL(parked, 0)"),
            put("ConsumerRollbackAlarm/EvaluationPeriods", 1),
        ),
    ),
    ("a rollback alarm of one period, whose data are late", put("WebhookRollbackAlarm/EvaluationPeriods", 1)),
    (
        "a share of what is there already",
        put("RefusedRollbackAlarm/Metrics/0/Expression", "IF(refused >= 3 AND refused > 0.05 * (sent + refused), 1, 0)"),
    ),
    (
        "timestamps filled, in one period",
        all_of(
            put("TimestampAlarm/Metrics/0/Expression", "FILL(old, 0) + FILL(future, 0)"),
            put("TimestampAlarm/EvaluationPeriods", 1),
            put("TimestampAlarm/DatapointsToAlarm", 1),
        ),
    ),
    ("the sum of open rows", put("UndecidedAlarm/Statistic", "Sum")),
    (
        "lag within fifteen minutes only",
        all_of(put("LagAlarm/EvaluationPeriods", 3), put("LagAlarm/DatapointsToAlarm", 2)),
    ),
    ("parked events that are forgotten after minutes", put("ParkedAlarm/EvaluationPeriods", 3)),
    ("an alarm that is never over", put("ParkedAlarm/TreatMissingData", "ignore")),
    ("an alarm that knows nothing while nothing happens", drop("ParkedAlarm/TreatMissingData")),
    (
        "throttles without data points in between",
        put("EventsTableThrottlesAlarm/Metrics/0/Expression", "reads + writes + parkedwrites + timelinewrites"),
    ),
    (
        "throttles that are late",
        all_of(
            put(
                "EventsTableThrottlesAlarm/Metrics/0/Expression",
                "FILL(reads, 0) + FILL(writes, 0) + FILL(parkedwrites, 0) + FILL(timelinewrites, 0)",
            ),
            put("EventsTableThrottlesAlarm/EvaluationPeriods", 5),
        ),
    ),
    (
        "nothing applied is no number",
        put("OtherModeAlarm/Metrics/0/Expression", "IF(other > 0, IF(applied > 0, 0, 1), 0)"),
    ),
    ("one data point more than there can be", put("SecretRefreshAlarm/DatapointsToAlarm", 13)),
    ("a metric of ours that nobody has thought of", put("LagAlarm/MetricName", "Duplicate")),
]
# What AWS refuses in places where no rule of ours looks.
REFUSED = [
    ("a role described at too great a length", put("WebhookRole/Description", "x" * 1001)),
    ("a function described at too great a length", put("WebhookFunction/Description", "x" * 257)),
    ("a version described at too great a length", replace("WebhookFunction/VersionDescription/Fn::Sub", "memory", "memory" * 40)),
    ("an alarm described at too great a length", put("LagAlarm/AlarmDescription", "First: see. " * 90)),
    ("a rule described at too great a length", put("StripeEventRule/Description", "x" * 513)),
    ("a dashboard's name with a blank", put("Dashboard/DashboardName", sub("${AWS::StackName} live"))),
    ("a log group's name with a blank", put("WebhookLogGroup/LogGroupName", "billhook webhook")),
    ("a policy name with a slash", put("WebhookRole/Policies/0/PolicyName", "web/hook")),
    ("a misspelt member of a target", put("StripeEventRule/Targets/0/DeadletterConfig", {"Arn": get("DeadLetterQueue", "Arn")})),
    ("a statistic that there is not", put("FloodAlarm/Statistic", "Total")),
    ("a unit of a budget that there is not", put("CostBudget/Budget/TimeUnit", "WEEKLY")),
    ("a role's name of more than 64 letters", put("WebhookRole/RoleName", sub("${AWS::StackName}-" + "x" * 64))),
    ("a function's name of more than 64 letters", put("WebhookFunction/FunctionName", "x" * 65)),
    ("a topic shown by too long a name", put("AlarmTopic/DisplayName", "x" * 101)),
    ("a mail address without a host", put("AlarmSubscription/Endpoint", "ops")),
    ("a role in a path of AWS's own", put("WebhookRole/Path", "/aws-service-role/billhook/")),
    ("two statements of one name", put(f"{WEBHOOK_POLICY}/2/Sid", "Enqueue")),
    (
        "a generated secret of no letters at all",
        put(
            "BearBillingWebhookSecret/GenerateSecretString",
            {f"Exclude{kind}": True for kind in ("Lowercase", "Uppercase", "Numbers", "Punctuation")},
        ),
    ),
    (
        "warm throughput below the least",
        put("EventsTable/WarmThroughput", {"ReadUnitsPerSecond": 100, "WriteUnitsPerSecond": 100}),
    ),
    (
        "attributes in an index of keys only",
        put("BillingTable/GlobalSecondaryIndexes/1/Projection/NonKeyAttributes", ["customer"]),
    ),
]
# Policies of resources that let in whom they must not, or keep out whom they must let in.
SIMULATED = [
    (
        "EventBridge of another account may send",
        put(f"{EVENT_DESTINATION}/Condition/StringEquals", {"aws:SourceAccount": "999988887777"}),
    ),
    (
        "a table that a role may scan by the table's policy",
        put(
            "BillingTable/ResourcePolicy",
            {
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Sid": "Scan",
                            "Effect": "Allow",
                            "Principal": {"AWS": get("WebhookRole", "Arn")},
                            "Action": "dynamodb:Scan",
                            "Resource": "*",
                        }
                    ],
                }
            },
        ),
    ),
    (
        "a secret that is for a network that the functions are not in",
        resource(
            "SecretPolicy",
            "SecretsManager::ResourcePolicy",
            {
                "SecretId": ref("StripeWebhookSecret"),
                "ResourcePolicy": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Sid": "Network",
                            "Effect": "Deny",
                            "Principal": "*",
                            "Action": "secretsmanager:GetSecretValue",
                            "Resource": "*",
                            "Condition": {"StringNotEquals": {"aws:SourceVpc": "vpc-0123456789abcdef0"}},
                        }
                    ],
                },
            },
        ),
    ),
]
OPTIONS = [
    ("versions that go with new settings", drop("Resources/ConsumerFunction/UpdateReplacePolicy")),
    ("versions that go with new code", put("Resources/ConsumerFunction/DeletionPolicy", "Delete")),
    (
        "senders that leave out the webhook's role",
        put("EventsQueuePolicy/PolicyDocument/Statement/2/Fn::If/1/Condition/ArnNotLike/aws:PrincipalArn", [ref("QueueSenders")]),
    ),
    (
        "senders that leave out EventBridge",
        drop("EventsQueuePolicy/PolicyDocument/Statement/2/Fn::If/1/Condition/Bool"),
    ),
    (
        "a deny of more than sending",
        put("EventsQueuePolicy/PolicyDocument/Statement/2/Fn::If/1/Action", "sqs:*"),
    ),
    ("a route without the token", put("StripeRoute/RouteKey", "POST /webhooks/stripe")),
    ("a token that the function is not told of", drop("WebhookFunction/Environment/Variables/WEBHOOK_PATH_TOKEN")),
    ("recovery of the ledger off by default", put("Parameters/LedgerRecovery/Default", "disabled")),
    ("no access log by default", put("Parameters/ApiLog/Default", "disabled")),
    ("no alarms by default", put("Parameters/WithAlarms/Default", "disabled")),
    (
        "the source in place of an archive, and no way to build it",
        put("ConsumerFunction/CodeUri", "../functions/consumer"),
    ),
]

FAULTS = (
    FURTHER
    + QUEUES
    + MAPPINGS
    + FUNCTIONS
    + ENVIRONMENT
    + IAM
    + TABLES
    + SECRETS
    + API
    + EVENTS
    + DEPLOYING
    + ALARMS
    + DASHBOARD
    + WHOLE
    + RESTORE
    + PLAYED
    + ALARM_PLAYS
    + REFUSED
    + SIMULATED
    + OPTIONS
)
