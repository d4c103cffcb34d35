//! Wires the consumer function to Lambda, the environment, the clock and DynamoDB.

use std::sync::atomic::{AtomicBool, AtomicI64};
use std::{env, process::ExitCode, sync::Arc};

use aws_lambda_events::event::sqs::SqsEvent;
use billhook_aws::Service;
use billhook_aws::process::{deadline_ms, log_panics, print, print_line, unix_ms};
use billhook_core::log::{Level, Line, Log};
use billhook_core::metrics::Metrics;
use billhook_core::time::Clock;
use billhook_store::Store;
use consumer::Consumer;
use consumer::config::Config;
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Error> {
    log_panics();
    let clock: Clock = Arc::new(unix_ms);
    let config = match Config::from_variables(&|name| env::var(name).ok(), &clock) {
        Ok(config) => config,
        Err(error) => {
            print_line(&Line::new(Level::Error, &error.to_string()));
            return Ok(ExitCode::FAILURE);
        }
    };
    let connected = config.aws.open_connection(Service::DynamoDb).await;
    let function = Consumer {
        store: Store::new(&config.aws, config.tables, config.event_retention_days),
        stripe: config.stripe,
        mode: config.mode,
        max_receive_count: config.max_receive_count,
        clock,
        log: Log::new(config.log_level, print_line),
        metrics: Metrics::new(config.stack, print),
        warm: AtomicBool::new(connected),
        asked_for_open_ms: AtomicI64::new(0),
        told_of_other_mode: AtomicBool::new(false),
    };
    let function = &function;
    let handler = service_fn(|event: LambdaEvent<SqsEvent>| async move {
        let deadline_ms = deadline_ms(event.context.deadline, unix_ms());
        Ok::<_, Error>(Box::pin(function.handle(event.payload, deadline_ms)).await)
    });
    lambda_runtime::run(handler).await?;
    Ok(ExitCode::SUCCESS)
}
