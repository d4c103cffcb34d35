//! The program `billhook dev` as a process of its own, which can be killed at any moment.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use billhook_core::signature::stripe;
use serde_json::Value;

use crate::harness::{SECRET, root};

/// A running `billhook dev`. It is killed when this is dropped.
#[derive(Debug)]
pub struct Program {
    process: Child,
    /// Where it listens.
    pub url: String,
}

impl Program {
    /// Starts it on a data folder and waits until it says where it listens.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        let mut process = Command::new(binary())
            .args(["dev", "--port", "0", "--data"])
            .arg(folder)
            .env("STRIPE_WEBHOOK_SECRETS", SECRET)
            .env("LOG_LEVEL", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program can be started");
        let output = process.stdout.take().expect("its output is piped");
        let mut lines = BufReader::new(output).lines();
        let url = lines.find_map(|line| {
            let line = line.expect("its output is text");
            let url = line.trim().strip_prefix("webhook")?.trim().to_owned();
            Some(url.strip_suffix("/webhooks/stripe")?.to_owned())
        });
        // What else it prints fits into the pipe.
        std::mem::forget(lines);
        let url = url.expect("it says where it listens");
        Self { process, url }
    }

    /// Posts a signed body; true if it was answered 200, false if there was no such answer.
    #[must_use]
    pub fn post(&self, body: &[u8], now: i64) -> bool {
        post(&self.url, body, now)
    }

    /// Gets a page as JSON.
    ///
    /// # Errors
    ///
    /// Without an answer, or with another status than 200.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        let text = ureq::get(format!("{}{path}", self.url))
            .call()
            .and_then(|mut answer| answer.body_mut().read_to_string())
            .map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    /// Kills it as `kill -9` does.
    pub fn kill(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Posts a signed body to a running program; true if it was answered 200.
#[must_use]
pub fn post(url: &str, body: &[u8], now: i64) -> bool {
    let answer = ureq::post(format!("{url}/webhooks/stripe"))
        .header(stripe::HEADER, stripe::sign(body, SECRET, now))
        .send(body);
    answer.is_ok_and(|answer| answer.status() == 200)
}

/// The program's file: `BILLHOOK_BIN` where it is set, else built here.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(binary) = std::env::var_os("BILLHOOK_BIN") {
            return PathBuf::from(binary);
        }
        let mut cargo = Command::new(env!("CARGO"));
        // What the outer cargo tells its test would make the inner one build everything anew.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if [
                "CARGO_PKG_",
                "CARGO_MANIFEST_",
                "CARGO_CRATE_",
                "LD_LIBRARY_PATH",
            ]
            .iter()
            .any(|start| text.starts_with(start))
            {
                cargo.env_remove(&name);
            }
        }
        let built = cargo
            .args(["build", "--package", "billhook", "--message-format=json"])
            .current_dir(root())
            .stderr(Stdio::null())
            .output()
            .expect("cargo can be started");
        assert!(built.status.success(), "the program can be built");
        let messages = String::from_utf8_lossy(&built.stdout);
        let executable = messages.lines().rev().find_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            let file = message.get("executable")?.as_str()?;
            Path::new(file)
                .file_stem()
                .is_some_and(|stem| stem == "billhook")
                .then(|| PathBuf::from(file))
        });
        executable.expect("cargo says where the program is")
    })
}
