//! The program `billhook`: develops, operates and inspects.
//!
//! | module | command |
//! |---|---|
//! | [`demo`] | `demo`: the whole way on this machine |
//! | [`dev`] | `dev`: the embedded stack as a server |
//! | [`send`] | `send`: sign event files and post them |
//! | [`sign`] | `sign`: sign a body, or make a Lambda payload of it |
//! | [`verify`] | `verify`: say whether a signature holds |
//! | [`show`] | `show`: one customer's state |
//! | [`train`] | `train-dictionary`: for the ledger's compression |
//!
//! Commands print what they are for to standard output and everything else to standard error. They end with 0
//! where all went well, with 1 where the answer is no, and with 2 where they could not do it.

mod args;
mod demo;
mod dev;
mod files;
mod http;
mod render;
mod send;
mod show;
mod sign;
mod train;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

/// A command that could not be carried out: one line that says what was wrong and what to do.
type Failure = String;

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Demo(args) => demo::run(&args).await,
        Command::Dev(args) => dev::run(args).await,
        Command::Send(args) => send::run(&args),
        Command::Sign(args) => sign::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Show(args) => show::run(&args).await,
        Command::TrainDictionary(args) => train::run(&args),
    };
    done.unwrap_or_else(|failure| {
        warn(&format!("billhook: {failure}"));
        ExitCode::from(2)
    })
}

/// Prints a line of what the command is for.
#[expect(clippy::print_stdout, reason = "this is what the program prints")]
fn print(line: &str) {
    println!("{line}");
}

/// Prints a line beside what the command is for.
#[expect(
    clippy::print_stderr,
    reason = "this is what the program says of itself"
)]
fn warn(line: &str) {
    eprintln!("{line}");
}
