//! JSON as Node and Python read it, where `serde_json` is stricter.
//!
//! Two things that senders do write are no error to others: half a surrogate pair in an escape, where a text was cut in
//! the middle of an emoji (RFC 8259, section 8.2), and a number beyond the range of a double. The first becomes U+FFFD, as
//! when the text is written as UTF-8, the second null.

use serde_json::Value;

/// Reads a body; a second time, more leniently, only if it must.
///
/// # Errors
///
/// That of the strict reading.
pub(crate) fn parse(body: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(body).or_else(|error| {
        let mended = mended(body);
        match mended == body {
            true => Err(error),
            false => serde_json::from_slice(&mended).map_err(|_| error),
        }
    })
}

/// The same text with such escapes and numbers replaced. What is no JSON stays none.
fn mended(body: &[u8]) -> Vec<u8> {
    let mut mended = Vec::with_capacity(body.len());
    let (mut at, mut in_text) = (0, false);
    while let Some(&byte) = body.get(at) {
        let rest = &body[at..];
        let taken = match byte {
            b'"' => {
                in_text = !in_text;
                mended.push(byte);
                1
            }
            b'\\' if in_text => escape(rest, &mut mended),
            b'-' | b'0'..=b'9' if !in_text => number(rest, &mut mended),
            _ => {
                mended.push(byte);
                1
            }
        };
        at += taken;
    }
    mended
}

/// Takes an escape; of half a pair, a replacement.
fn escape(rest: &[u8], mended: &mut Vec<u8>) -> usize {
    let unit = |at: usize| -> Option<u32> {
        let digits = rest.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let is_low = |unit: Option<u32>| unit.is_some_and(|unit| (0xdc00..0xe000).contains(&unit));
    let (taken, is_half) = match unit(0) {
        Some(0xd800..0xdc00) if is_low(unit(6)) => (12, false),
        Some(0xd800..0xe000) => (6, true),
        Some(_) => (6, false),
        None => (2, false),
    };
    let taken = taken.min(rest.len());
    match is_half {
        true => mended.extend_from_slice(b"\\ufffd"),
        false => mended.extend_from_slice(&rest[..taken]),
    }
    taken
}

/// Takes a number; in place of one that no double holds, null.
fn number(rest: &[u8], mended: &mut Vec<u8>) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let length = rest.iter().take_while(|byte| is_part(byte)).count();
    let text = std::str::from_utf8(&rest[..length]).unwrap_or_default();
    match text.parse::<f64>() {
        Ok(number) if number.is_infinite() => mended.extend_from_slice(b"null"),
        _ => mended.extend_from_slice(&rest[..length]),
    }
    length
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn half_a_surrogate_pair_becomes_a_replacement() {
        let table = [
            (r#"{"a":"x\ud83d"}"#, json!({"a": "x\u{fffd}"})),
            (
                r#"{"a":"\ude00\ud83d x"}"#,
                json!({"a": "\u{fffd}\u{fffd} x"}),
            ),
            (
                r#"{"a":"\ud83d\ud83d\ude00"}"#,
                json!({"a": "\u{fffd}\u{1f600}"}),
            ),
            (r#"{"\uD83D":"\"\\"}"#, json!({"\u{fffd}": "\"\\"})),
            (
                r#"{"a":"\\ud83d","b":"\ud83d"}"#,
                json!({"a": "\\ud83d", "b": "\u{fffd}"}),
            ),
        ];
        for (text, wanted) in table {
            assert_eq!(parse(text.as_bytes()).ok(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn a_number_that_no_double_holds_is_null() {
        let read = parse(br#"{"a":1e400,"b":[-1E+999,1],"c":"1e400"}"#);
        assert_eq!(
            read.ok(),
            Some(json!({"a": null, "b": [null, 1], "c": "1e400"}))
        );
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for text in [
            "",
            "{",
            r#"{"a":"\ud83"#,
            r#"{"a":"\"#,
            "1e400e",
            "[1,]",
            "{\"a\":\"\\ud83d\n\"}",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
