//! What every function's `main` shares: the clock, the deadline, standard output as a log, and the panic hook.

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

/// Writes a line of log with the time, see [`print()`].
pub fn print_line(line: &Line) {
    print(&line.clone().at(unix_ms()).to_string());
}

/// From now on a panic is logged by where it was and not by what it said: that may hold a part of an
/// event.
pub fn log_panics() {
    panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let at = info.location().map(ToString::to_string);
        print_line(&Line::new(Level::Error, "panicked").with("at", at));
    }));
}

/// When the function is stopped, in Unix milliseconds. Lambda says just that; `cargo lambda watch` says how
/// long an invocation may take, 600,000 always. Taken for a time, that is in 1970, and no record would ever
/// be started.
#[must_use]
pub fn deadline_ms(said: u64, now_ms: i64) -> i64 {
    const YEAR_2001_MS: i64 = 1_000_000_000_000;
    let said = i64::try_from(said).unwrap_or(i64::MAX);
    if said < YEAR_2001_MS {
        now_ms.saturating_add(said)
    } else {
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_time_or_a_time_to_go() {
        let now = 1_793_610_847_331;
        assert_eq!(deadline_ms(1_793_610_877_331, now), 1_793_610_877_331);
        assert_eq!(deadline_ms(1_793_610_847_000, now), 1_793_610_847_000);
        assert_eq!(deadline_ms(600_000, now), now + 600_000);
        assert_eq!(deadline_ms(u64::MAX, now), i64::MAX);
    }
}
