//! Amazon SQS.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::MessageAttributeValue;
use billhook_aws::{AwsEnvironment, CallLimits, Service};
use billhook_core::log::causes;
use billhook_core::token::token;

use crate::{EnqueueError, Message, Queue};

/// The webhook function has ten seconds, so that an answer is out before API Gateway (15 s) or the
/// sender gives up; a call must be over before the function is.
const LIMITS: CallLimits = CallLimits {
    attempt: Duration::from_secs(2),
    call: Duration::from_secs(7),
    attempts: 3,
};

/// A queue in Amazon SQS.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    client: Client,
    url: String,
}

impl SqsQueue {
    /// The queue at this URL.
    #[must_use]
    pub fn new(environment: &AwsEnvironment, url: String) -> Self {
        let client = Client::new(&environment.sdk_config(Service::Sqs, LIMITS));
        Self { client, url }
    }
}

impl Queue for SqsQueue {
    async fn enqueue(&self, message: Message) -> Result<(), EnqueueError> {
        let mut request = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(message.body)
            .message_group_id(message.group);
        for (name, value) in message.attributes {
            let value = MessageAttributeValue::builder()
                .data_type("String")
                .string_value(value);
            let value = value.build().map_err(|error| failed(error.to_string()))?;
            request = request.message_attributes(name, value);
        }
        let answer = request.send().await;
        let answer = answer.map_err(|error| failed(reason(&error)))?;
        // The SDK takes any 200 for a success, also an empty one that some proxy made.
        if answer.message_id().is_none_or(str::is_empty) {
            return Err(failed("the answer names no message".to_owned()));
        }
        Ok(())
    }
}

fn failed(reason: String) -> EnqueueError {
    EnqueueError { reason }
}

/// The service's own code where it answered, else the whole chain of causes (timeouts, connections),
/// which holds nothing of the message.
fn reason<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            format!(
                "{} ({status})",
                token(answer.err().code().unwrap_or("unknown"))
            )
        }
        other => causes(other),
    }
}
