//! What is installed beside cargo, and what to do without it.
//!
//! `./check` installs everything into the folder `.tools`, which git does not see. A test that lacks its tool
//! says so, loudly, and fails where `BILLHOOK_REQUIRE_ALL=1` is set.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::functions::workspace;

/// The Python that has ministack, or none, which was said.
///
/// # Panics
///
/// Where there is none and everything is required.
#[must_use]
pub fn ministack() -> Option<PathBuf> {
    let folder = env::var_os("BILLHOOK_MINISTACK");
    let folder = workspace().join(folder.unwrap_or_else(|| ".tools/ministack".into()));
    let python = folder.join("bin/python");
    // `.ready` is written after the installation: a broken one has a Python too.
    if folder.join(".ready").is_file() && python.is_file() {
        return Some(python);
    }
    skipped("ministack is not installed");
    None
}

/// The folder of the programs `cargo-lambda` and zig, or none, which was said.
///
/// # Panics
///
/// Where there is none and everything is required.
#[must_use]
pub fn cargo_lambda() -> Option<PathBuf> {
    let folder = workspace().join(".tools/infra");
    let programs = folder.join("bin");
    if folder.join(".ready").is_file() && programs.join("cargo-lambda").is_file() {
        return programs.canonicalize().ok();
    }
    skipped("cargo-lambda is not installed");
    None
}

/// Says that a test cannot run, and why.
///
/// # Panics
///
/// Where `BILLHOOK_REQUIRE_ALL=1` is set.
pub fn skipped(why: &str) {
    let required = env::var("BILLHOOK_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(
        !required,
        "{why}, and BILLHOOK_REQUIRE_ALL=1 is set: run ./check"
    );
    // Not by the macro, whose output the test harness keeps to itself.
    let _ = writeln!(io::stderr(), "SKIPPED: {why}: run ./check");
}
