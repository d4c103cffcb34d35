//! `billhook show`: one customer's state, from a running `dev`, a data folder, or AWS.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use aws_config::BehaviorVersion;
use billhook_aws::process::unix_ms;
use billhook_aws::{AwsEnvironment, https_client};
use billhook_core::config::{DEFAULT_EVENT_RETENTION_DAYS, Variables};
use billhook_core::log::causes;
use billhook_core::scope::{Mode, Scope};
use billhook_embedded::dynamodb::EmbeddedDynamoDb;
use billhook_embedded::stack::tables;
use billhook_store::{Store, Tables};
use serde_json::Value;

use crate::args::ShowArgs;
use crate::{Failure, files, http, print, render, warn};

pub(crate) async fn run(args: &ShowArgs) -> Result<ExitCode, Failure> {
    let state = match (&args.data, &args.table) {
        (Some(folder), _) => from_folder(args, folder).await?,
        (None, Some(table)) => from_aws(args, table).await?,
        (None, None) => from_server(args)?,
    };
    let Some(state) = state else {
        warn(&format!("nothing is known of {}", args.customer));
        return Ok(ExitCode::FAILURE);
    };
    if args.json {
        print(&format!("{state:#}"));
    } else {
        render::state(&state).iter().for_each(|line| print(line));
    }
    Ok(ExitCode::SUCCESS)
}

fn from_server(args: &ShowArgs) -> Result<Option<Value>, Failure> {
    let base = args.url.trim_end_matches('/');
    let id = http::escape(&args.customer);
    let mut url = format!(
        "{base}/customers/{id}?source={}",
        http::escape(&args.source)
    );
    if let Some(account) = &args.account {
        url.push_str(&format!("&account={}", http::escape(account)));
    }
    if let Some(at) = args.at {
        url.push_str(&format!("&at={at}"));
    }
    let answer = http::get(&url)?;
    match answer.status {
        200 => serde_json::from_str(&answer.body)
            .map(Some)
            .map_err(|error| error.to_string()),
        404 => Ok(None),
        status => Err(format!("{url} answered {status}: {}", answer.body.trim())),
    }
}

async fn from_folder(args: &ShowArgs, folder: &Path) -> Result<Option<Value>, Failure> {
    let file = folder.join("dynamodb.sqlite");
    if !file.exists() {
        return Err(format!(
            "{} holds no data of a `billhook dev`",
            folder.display()
        ));
    }
    let dynamodb = EmbeddedDynamoDb::start(Some(&file))
        .await
        .map_err(|error| causes(&error))?;
    let environment = AwsEnvironment::local(dynamodb.endpoint().to_owned());
    let store = Store::new(&environment, tables(), DEFAULT_EVENT_RETENTION_DAYS);
    read(args, &store).await
}

async fn from_aws(args: &ShowArgs, table: &str) -> Result<Option<Value>, Failure> {
    let lookup = |name: &str| env::var(name).ok();
    let mut variables = Variables::new(&lookup);
    let http = https_client(&mut variables);
    variables.finish().map_err(|error| error.to_string())?;
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .load()
        .await;
    // The ledger is not read here.
    let tables = Tables {
        events: String::new(),
        billing: table.to_owned(),
    };
    let store = Store::from_sdk_config(&config, tables, DEFAULT_EVENT_RETENTION_DAYS);
    read(args, &store).await
}

async fn read(args: &ShowArgs, store: &Store) -> Result<Option<Value>, Failure> {
    let lookup = |name: &str| env::var(name).ok();
    let mut variables = Variables::new(&lookup);
    let policy = variables.policy();
    variables.finish().map_err(|error| error.to_string())?;
    let scope = Scope {
        source: files::source(&args.source)?,
        mode: if args.live { Mode::Live } else { Mode::Test },
        account: args.account.clone(),
    };
    let now = args.at.unwrap_or_else(|| unix_ms().div_euclid(1000));
    let state = store
        .customer_state(&scope, &args.customer, now, policy)
        .await;
    state.map_err(|error| causes(&error))
}
