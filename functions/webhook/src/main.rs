//! Wires the webhook function to Lambda, the environment, the clock and SQS.

use std::{env, process::ExitCode, sync::Arc};

use billhook_aws::Service;
use billhook_aws::process::{log_panics, print_line, unix_ms};
use billhook_core::log::{Level, Line, Log};
use billhook_queue::SqsQueue;
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Error, Request, Service as _, service_fn};
use webhook::Webhook;
use webhook::config::{Config, secrets_variable};
use webhook::headers::{drop_false_encoding, keep_every_value};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Error> {
    log_panics();
    let config = match Config::from_variables(&|name| env::var(name).ok()) {
        Ok(config) => config,
        Err(error) => {
            print_line(&Line::new(Level::Error, &error.to_string()));
            return Ok(ExitCode::FAILURE);
        }
    };
    let log = Log::new(config.log_level, print_line);
    for source in &config.without_secret {
        let line = Line::new(
            Level::Error,
            "no signing secret is set: the route answers 500",
        )
        .with("source", source.name())
        .with("variable", secrets_variable(*source));
        log.write(&line);
    }
    config.aws.open_connection(Service::Sqs).await;
    let function = Webhook {
        queue: SqsQueue::new(&config.aws, config.queue_url),
        secrets: config.secrets,
        tolerance_secs: config.tolerance_secs,
        clock: Arc::new(unix_ms),
        log,
    };
    let function = &function;
    let handler =
        service_fn(
            |request: Request| async move { Ok::<_, Error>(function.handle(request).await) },
        );
    let handler = Adapter::from(handler);
    let handler = service_fn(move |event: LambdaEvent<LambdaRequest>| {
        let LambdaEvent { payload, context } = event;
        let event = LambdaEvent::new(drop_false_encoding(keep_every_value(payload)), context);
        handler.clone().call(event)
    });
    lambda_runtime::run(handler).await?;
    Ok(ExitCode::SUCCESS)
}
