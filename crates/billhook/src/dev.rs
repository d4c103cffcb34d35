//! `billhook dev`: the embedded stack as a server.

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use billhook_aws::process::unix_ms;
use billhook_core::config::Variables;
use billhook_core::log::{Line, Log, causes};
use billhook_core::scope::{Mode, Source};
use billhook_embedded::server;
use billhook_embedded::stack::{Options, Stack};
use billhook_stripe::mode_of_key;
use consumer::config::stripe_api;
use tokio::net::TcpListener;
use webhook::config::secrets_variables;
use webhook::secrets::Secrets;

use crate::args::DevArgs;
use crate::{Failure, print, warn};

/// The exit status of what is refused for safety.
const REFUSED: u8 = 3;

pub(crate) async fn run(args: DevArgs) -> Result<ExitCode, Failure> {
    let (options, secret) = options(&args)?;
    let mode = options.mode;
    let key = env::var("STRIPE_API_KEY")
        .ok()
        .filter(|key| !key.is_empty());
    if let Some(key) = key.map(|key| mode_of_key(&key)) {
        match key {
            Some(of_key) if of_key != mode => {
                let (of_key, mode) = (of_key.name(), mode.name());
                warn(&format!(
                    "STRIPE_API_KEY is a {of_key} key, and this is {mode} mode: use a {mode} key, or set STRIPE_MODE={of_key}"
                ));
                return Ok(ExitCode::from(REFUSED));
            }
            Some(_) => {}
            None => warn(
                "STRIPE_API_KEY begins with none of sk_test_, rk_test_, sk_live_, rk_live_; it is used all the same",
            ),
        }
    }
    let stack = Stack::start(options)
        .await
        .map_err(|error| causes(&error))?;
    let stack = Arc::new(stack);
    let address = format!("127.0.0.1:{}", args.port);
    let listener = TcpListener::bind(&address).await;
    let listener = listener.map_err(|error| format!("{address} cannot be had: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let kept = args.data.map_or("in memory".to_owned(), |folder| {
        folder.display().to_string()
    });
    print(&format!("billhook dev ({} mode, data {kept})", mode.name()));
    print(&format!("  webhook   http://{address}/webhooks/stripe"));
    print(&format!("  secret    {secret}"));
    print(&format!("  state     http://{address}/customers/<id>"));
    print(&format!("  status    http://{address}/status"));
    print("  try       billhook send events/lives/ada.jsonl --secret <secret>");
    tokio::select! {
        served = server::serve(listener, stack.clone()) => {
            served.map(|()| ExitCode::SUCCESS).map_err(|error| error.to_string())
        }
        () = stack.work() => Err("the workers stopped".to_owned()),
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
    }
}

/// Reads the variables that the functions read, with what a developer has not set filled in. Returns the
/// secret to sign with, too.
fn options(args: &DevArgs) -> Result<(Options, String), Failure> {
    let lookup = |name: &str| match (name, env::var(name).ok()) {
        ("STRIPE_MODE", None) => Some(Mode::Test.name().to_owned()),
        (_, value) => value,
    };
    let mut variables = Variables::new(&lookup);
    let listed = |source| variables.optional(secrets_variables(source).0);
    let stripe = match listed(Source::Stripe) {
        Some(secrets) => secrets,
        None => random_secret()?,
    };
    let bearbilling = listed(Source::BearBilling);
    let policy = variables.policy();
    let mode = variables.mode();
    let options = Options {
        folder: args.data.clone(),
        secrets: Secrets::fixed(Some(&stripe), bearbilling.as_deref()),
        tolerance_secs: variables.tolerance_secs(),
        mode,
        event_retention_days: variables.event_retention_days(),
        policy,
        stripe: stripe_api(&mut variables, None, mode),
        clock: Arc::new(unix_ms),
        log: Log::new(variables.log_level(), |line: &Line| warn(&line.to_string())),
    };
    variables.finish().map_err(|error| error.to_string())?;
    let first = stripe.split(',').next().unwrap_or_default().to_owned();
    Ok((options, first))
}

/// A secret of the form that Stripe gives out.
pub(crate) fn random_secret() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random bytes: {error}"))?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("whsec_{digits}"))
}
