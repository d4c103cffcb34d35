//! Wires the access function to Lambda, the environment, the clock, DynamoDB and EventBridge.

use std::{env, process::ExitCode, sync::Arc};

use access::AccessFunction;
use access::bus::EventBus;
use access::config::Config;
use billhook_aws::Service;
use billhook_aws::process::{deadline_ms, log_panics, print, print_line, unix_ms};
use billhook_core::log::{Level, Line, Log};
use billhook_core::metrics::Metrics;
use billhook_store::Store;
use billhook_store::stream::StreamBatch;
use lambda_runtime::{Error, LambdaEvent, service_fn};

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
    config.aws.open_connection(Service::DynamoDb).await;
    let function = AccessFunction {
        store: Store::new(&config.aws, config.tables, config.event_retention_days),
        bus: EventBus::new(&config.aws, config.event_bus),
        policy: config.policy,
        clock: Arc::new(unix_ms),
        log: Log::new(config.log_level, print_line),
        metrics: Metrics::new(config.stack, print),
    };
    let function = &function;
    let handler = service_fn(|event: LambdaEvent<StreamBatch>| async move {
        let deadline_ms = deadline_ms(event.context.deadline, unix_ms());
        Ok::<_, Error>(Box::pin(function.handle(event.payload, deadline_ms)).await)
    });
    lambda_runtime::run(handler).await?;
    Ok(ExitCode::SUCCESS)
}
