//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

/// Keeps the billing state of your customers in DynamoDB true to Stripe.
#[derive(Parser)]
#[command(name = "billhook", version, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Play a customer's life through the whole stack on this machine, and show what comes of it.
    ///
    /// The events are signed, shuffled and partly sent twice. Ends with 0 where the state is what it must be.
    Demo(DemoArgs),
    /// Run the whole stack on this machine until Ctrl-C.
    ///
    /// Serves POST /webhooks/stripe and /webhooks/bearbilling, GET /customers/{id} and GET /status on 127.0.0.1.
    /// Takes the signing secrets from STRIPE_WEBHOOK_SECRETS and BEARBILLING_WEBHOOK_SECRETS, or makes one.
    Dev(DevArgs),
    /// Sign event files and post them to a webhook endpoint.
    Send(SendArgs),
    /// Sign a body: print the signature header, or a whole Lambda payload.
    Sign(SignArgs),
    /// Say whether a Stripe signature holds: {"ok":true}, or {"ok":false,"error":"KIND"} and exit status 1.
    Verify(VerifyArgs),
    /// Show one customer's state.
    Show(ShowArgs),
    /// Train the dictionary that the ledger compresses bodies with, from the sample events.
    TrainDictionary(TrainArgs),
}

#[derive(ClapArgs)]
pub(crate) struct DemoArgs {
    /// Print the final state as JSON instead of the tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Another order of delivery for every number.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(ClapArgs)]
pub(crate) struct DevArgs {
    /// The port on 127.0.0.1; 0 takes one that is free.
    #[arg(long, default_value_t = 4242)]
    pub(crate) port: u16,
    /// Keep queue and tables in this folder; without it they are in memory.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(ClapArgs)]
pub(crate) struct SendArgs {
    /// Event files: .json with one event each, .jsonl with one a line. They are sent in the order given.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where to; the path of the source is added where the URL has none.
    #[arg(long, default_value = "http://127.0.0.1:4242")]
    pub(crate) url: String,
    /// The signing secret; by default the first of STRIPE_WEBHOOK_SECRETS or BEARBILLING_WEBHOOK_SECRETS.
    #[arg(long)]
    pub(crate) secret: Option<String>,
    /// Who sends: stripe or bearbilling.
    #[arg(long, default_value = "stripe")]
    pub(crate) source: String,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(ClapArgs)]
pub(crate) struct SignArgs {
    /// The body to sign, "-" for standard input.
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// The signing secret; by default the first of STRIPE_WEBHOOK_SECRETS or BEARBILLING_WEBHOOK_SECRETS.
    #[arg(long)]
    pub(crate) secret: Option<String>,
    /// Who signs: stripe or bearbilling.
    #[arg(long, default_value = "stripe")]
    pub(crate) source: String,
    /// The time to sign for, in Unix seconds; by default now.
    #[arg(long, value_name = "UNIX")]
    pub(crate) at: Option<i64>,
    /// Print a payload of API Gateway's HTTP API (2.0), for `cargo lambda invoke webhook --data-file`.
    #[arg(long)]
    pub(crate) apigateway: bool,
}

#[derive(ClapArgs)]
pub(crate) struct VerifyArgs {
    /// The body, "-" for standard input.
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// The value of the Stripe-Signature header.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) header: Option<OsString>,
    /// A signing secret; give one for each that is live.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) secret: Vec<String>,
    /// The time to judge the age by, in Unix seconds; by default now.
    #[arg(long, value_name = "UNIX", allow_negative_numbers = true)]
    pub(crate) at: Option<i64>,
    /// How old or how far in the future a signature may be, in seconds.
    #[arg(long, default_value_t = 300, allow_negative_numbers = true)]
    pub(crate) tolerance: i64,
}

#[derive(ClapArgs)]
pub(crate) struct ShowArgs {
    /// The customer's id, for instance cus_1.
    pub(crate) customer: String,
    /// Print the state as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Ask a running `billhook dev`.
    #[arg(long, default_value = "http://127.0.0.1:4242", conflicts_with_all = ["data", "table"])]
    pub(crate) url: String,
    /// Read the data folder of a `billhook dev`.
    #[arg(long, value_name = "DIR", conflicts_with = "table")]
    pub(crate) data: Option<PathBuf>,
    /// Read this billing table in AWS, with the usual credential chain.
    #[arg(long, value_name = "NAME")]
    pub(crate) table: Option<String>,
    /// Read live mode's data (with --data and --table).
    #[arg(long)]
    pub(crate) live: bool,
    /// The connected account (acct_…) that the customer belongs to.
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// The source: stripe or bearbilling.
    #[arg(long, default_value = "stripe")]
    pub(crate) source: String,
    /// Show access as it is at this time, in Unix seconds; by default now.
    #[arg(long, value_name = "UNIX")]
    pub(crate) at: Option<i64>,
}

#[derive(ClapArgs)]
pub(crate) struct TrainArgs {
    /// Folders with sample events.
    #[arg(default_values = ["events/stripe", "events/bearbilling", "events/lives"])]
    pub(crate) folders: Vec<PathBuf>,
    /// The dictionary's number: one more than the last that was shipped.
    #[arg(long)]
    pub(crate) number: u32,
    /// Where to write it.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}
