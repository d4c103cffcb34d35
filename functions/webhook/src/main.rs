//! Wires the webhook function to Lambda, the environment, the clock, SQS and Secrets Manager.

use std::{env, process::ExitCode, sync::Arc};

use billhook_aws::Service;
use billhook_aws::process::{log_panics, print, print_line, unix_ms};
use billhook_core::log::{Level, Line, Log};
use billhook_core::metrics::Metrics;
use billhook_core::scope::Source;
use billhook_core::time::Clock;
use billhook_queue::SqsQueue;
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::{Adapter, Error, Request, Service as _, service_fn};
use serde_json::value::RawValue;
use webhook::Webhook;
use webhook::config::{Config, secrets_variables};
use webhook::headers::request_of;
use webhook::refusals::Refusals;
use webhook::secrets::{Place, Secrets};

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
    let clock: Clock = Arc::new(unix_ms);
    for (source, place) in [
        (Source::Stripe, &config.stripe_secrets),
        (Source::BearBilling, &config.bearbilling_secrets),
    ] {
        if *place == Place::Nowhere {
            let (list, arn) = secrets_variables(source);
            let line = Line::new(
                Level::Error,
                "no signing secret is set: the route answers 500",
            )
            .with("source", source.name())
            .with("variables", format!("{arn} or {list}"));
            log.write(&line);
        }
    }
    let function = Webhook {
        queue: SqsQueue::new(&config.aws, config.queue_url),
        secrets: Secrets::new(
            &config.aws,
            config.stripe_secrets,
            config.bearbilling_secrets,
            &clock,
        ),
        tolerance_secs: config.tolerance_secs,
        path_token: config.path_token,
        addresses: config.addresses,
        refusals: Refusals::default(),
        clock,
        log,
        metrics: Metrics::new(config.stack, print),
    };
    tokio::join!(
        config.aws.open_connection(Service::Sqs),
        function.read_secrets()
    );
    let function = &function;
    let handler =
        service_fn(
            |request: Request| async move { Ok::<_, Error>(function.handle(request).await) },
        );
    let handler = Adapter::from(handler);
    let handler = service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let LambdaEvent { payload, context } = event;
        handler.clone().call(LambdaEvent::new(
            request_of(&payload, &function.log),
            context,
        ))
    });
    lambda_runtime::run(handler).await?;
    Ok(ExitCode::SUCCESS)
}
