//! Times as text and as numbers. Inside the core every time is a number of Unix seconds or, where a name says
//! so, milliseconds.

use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Tells the time in Unix milliseconds. The core has none: the functions' `main` passes the real one, tests
/// any they like.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Reads an RFC 3339 time (`2026-01-31T09:30:00Z`) as Unix seconds; fractions are dropped.
#[must_use]
pub fn unix_seconds(text: &str) -> Option<i64> {
    unix_time(text).map(|(seconds, _)| seconds)
}

/// Reads an RFC 3339 time as Unix seconds and the nanoseconds after them.
#[must_use]
pub fn unix_time(text: &str) -> Option<(i64, u32)> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some((at.unix_timestamp(), at.nanosecond()))
}

/// The hour (UTC) that holds this second, as `YYYYMMDDHH`: keys of one day sort next to each other.
#[must_use]
pub fn hour(unix_seconds: i64) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp(unix_seconds).ok()?;
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    (0..=9999)
        .contains(&year)
        .then(|| format!("{year:04}{month:02}{day:02}{:02}", at.hour()))
}

/// A Unix time in milliseconds as RFC 3339 in UTC, `YYYY-MM-DDTHH:MM:SS.mmmZ`; nothing outside the years 0 to 9999.
#[must_use]
pub fn rfc3339_ms(unix_ms: i64) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp(unix_ms.div_euclid(1000)).ok()?;
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second) = at.to_hms();
    let ms = unix_ms.rem_euclid(1000);
    (0..=9999).contains(&year).then(|| {
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    })
}

/// The minute (UTC) of a Unix second for people, as `YYYY-MM-DD HH:MM`.
#[must_use]
pub fn date_time(unix_seconds: i64) -> String {
    let Ok(at) = OffsetDateTime::from_unix_timestamp(unix_seconds) else {
        return unix_seconds.to_string();
    };
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}",
        at.hour(),
        at.minute()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_named_in_utc() {
        let at = unix_seconds("2026-01-31T23:59:59-01:00").expect("a time");
        assert_eq!(hour(at).as_deref(), Some("2026020100"));
        assert_eq!(hour(i64::MAX), None);
        assert_eq!(unix_seconds("yesterday"), None);
    }

    #[test]
    fn a_time_in_milliseconds_is_written_as_rfc_3339() {
        let at = |ms| rfc3339_ms(ms);
        assert_eq!(
            at(1_794_219_385_007).as_deref(),
            Some("2026-11-09T10:16:25.007Z")
        );
        assert_eq!(at(-1).as_deref(), Some("1969-12-31T23:59:59.999Z"));
        assert_eq!(at(i64::MAX), None);
    }
}
