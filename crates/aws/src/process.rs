//! What both functions' `main` share: the clock, standard output as a log, and the panic hook.

use std::panic::{self, PanicHookInfo};
use std::time::{SystemTime, UNIX_EPOCH};

use billhook_core::log::{Level, Line};

/// The time in Unix milliseconds.
#[must_use]
pub fn unix_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Writes a line to standard output, which Lambda collects.
#[expect(
    clippy::print_stdout,
    reason = "Lambda collects what a function writes to standard output"
)]
pub fn print(line: &str) {
    println!("{line}");
}

/// Writes a line of log, see [`print`].
pub fn print_line(line: &Line) {
    print(&line.to_string());
}

/// From now on a panic is logged by where it was and not by what it said: that may hold a part of an
/// event.
pub fn log_panics() {
    panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let at = info.location().map(ToString::to_string);
        print_line(&Line::new(Level::Error, "panicked").with("at", at));
    }));
}
