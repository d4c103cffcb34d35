//! What one event tells about the order of its second.

use super::state::{Digest, Malformed, StateHash, states_before};
use serde_json::Value;
use std::{fmt, str::FromStr};

/// One event of one object, as its reader hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The event's id.
    pub event: &'a str,
    /// The event's type, such as `invoice.paid`.
    pub event_type: &'a str,
    /// The request that caused the event; none for what Stripe does by itself.
    pub request: Option<&'a str>,
    /// The API version that the snapshot is written in.
    pub api_version: Option<&'a str>,
    /// `data.object`.
    pub snapshot: &'a Value,
    /// `data.previous_attributes`.
    pub previous: Option<&'a Value>,
    /// Whether the snapshot's state can only be followed by others like it, such as `canceled` of a subscription.
    /// For a deletion: whether the id never comes back.
    pub terminal: bool,
    /// The place of the state in the rank table of its kind; 0 for a kind without one.
    pub rank: u16,
}

/// What one event tells about the order of its second: the state after it, and the state before if it knows.
///
/// The order of facts is total and begins with what a row falls back on when it cannot know more: a newer API
/// version, a deletion, a terminal state, a higher rank, and then the state's hash. Of two facts of one event the
/// greater counts, and so does the greatest fact of a second with too many events. One order for both is what
/// keeps an overflown second a function of the set of its events.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    version: u32,
    pub(super) life: Life,
    pub(super) terminal: bool,
    pub(super) rank: u16,
    pub(super) after: StateHash,
    pub(super) event: String,
    pub(super) change: Option<Change>,
}

/// Where in an object's life an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Life {
    Begin,
    Middle,
    End,
}

/// The change that an event with `previous_attributes` announces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Change {
    /// One or two states, see [`states_before`].
    pub(super) before: Vec<StateHash>,
    pub(super) event_type: Digest<4>,
    pub(super) request: Option<Digest<6>>,
}

impl Fact {
    /// Reads the fact out of an event.
    pub fn of(observed: &Observed<'_>) -> Self {
        let life = Life::of(observed.event_type);
        let after = match life {
            Life::End => StateHash::of_deleted(observed.snapshot),
            Life::Begin | Life::Middle => StateHash::of(observed.snapshot),
        };
        Self {
            version: version(observed.api_version.unwrap_or_default()),
            life,
            terminal: observed.terminal,
            rank: observed.rank,
            after,
            event: event_key(observed.event),
            change: Change::of(observed, after),
        }
    }

    /// The state after the event.
    pub fn state(&self) -> StateHash {
        self.after
    }
}

impl Life {
    fn of(event_type: &str) -> Self {
        match event_type.rsplit('.').next() {
            Some("created") => Self::Begin,
            Some("deleted") => Self::End,
            _ => Self::Middle,
        }
    }
}

impl Change {
    /// None where nothing that counts as state has changed: such an event shows a state like one without
    /// `previous_attributes` does.
    fn of(observed: &Observed<'_>, after: StateHash) -> Option<Self> {
        let before = states_before(observed.snapshot, observed.previous?.as_object()?);
        (before != [after]).then(|| Self {
            before,
            event_type: Digest::of_text(observed.event_type),
            request: observed.request.map(Digest::of_text),
        })
    }
}

/// The date of an API version as a number, `250930` for `2025-09-30.clover`; 0 for what is no such version.
fn version(name: &str) -> u32 {
    let date: String = name.chars().take(10).filter(char::is_ascii_digit).collect();
    match date.strip_prefix("20") {
        Some(digits) if digits.len() == 6 => digits.parse().unwrap_or_default(),
        _ => 0,
    }
}

/// An event's id as it is stored: the id itself, or a digest of one that is too long or has unexpected characters.
fn event_key(id: &str) -> String {
    match is_event_key(id) {
        true => id.to_owned(),
        false => Digest::<20>::of_text(id).to_string(),
    }
}

fn is_event_key(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.:".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// Written as `event,version life rank,after[,type request,before[,before]]` without the spaces. The life is `c`, `u`
/// or `d` (created, updated, deleted), in upper case where the state is terminal; a rank of 0 is left out.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{},{:06}{}",
            self.event,
            self.version,
            letter(self.life, self.terminal)
        )?;
        if self.rank > 0 {
            write!(f, "{}", self.rank)?;
        }
        write!(f, ",{}", self.after)?;
        let Some(change) = &self.change else {
            return Ok(());
        };
        write!(f, ",{}", change.event_type)?;
        if let Some(request) = change.request {
            write!(f, "{request}")?;
        }
        change
            .before
            .iter()
            .try_for_each(|state| write!(f, ",{state}"))
    }
}

fn letter(life: Life, terminal: bool) -> char {
    let letter = match life {
        Life::Begin => 'c',
        Life::Middle => 'u',
        Life::End => 'd',
    };
    if terminal {
        letter.to_ascii_uppercase()
    } else {
        letter
    }
}

impl FromStr for Fact {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.split(',');
        let event = parts
            .next()
            .filter(|id| is_event_key(id))
            .ok_or(Malformed)?;
        let (version, mark) = parts
            .next()
            .and_then(|part| part.split_at_checked(6))
            .ok_or(Malformed)?;
        let (life, terminal, rank) = parse_mark(mark)?;
        let after = parts.next().ok_or(Malformed)?.parse()?;
        let change = parts
            .next()
            .map(|kind| parse_change(kind, parts))
            .transpose()?;
        let version = parse_digits(version)?;
        Ok(Self {
            version,
            life,
            terminal,
            rank,
            after,
            event: event.to_owned(),
            change,
        })
    }
}

fn parse_mark(text: &str) -> Result<(Life, bool, u16), Malformed> {
    let (letter, rank) = text.split_at_checked(1).ok_or(Malformed)?;
    let life = match letter {
        "c" | "C" => Life::Begin,
        "u" | "U" => Life::Middle,
        "d" | "D" => Life::End,
        _ => return Err(Malformed),
    };
    let terminal = letter.bytes().all(|b| b.is_ascii_uppercase());
    let rank = if rank.is_empty() {
        0
    } else {
        parse_digits(rank)?
    };
    Ok((life, terminal, rank))
}

/// A number of digits only, since `parse` would also take a sign.
fn parse_digits<T: FromStr>(text: &str) -> Result<T, Malformed> {
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse().map_err(|_| Malformed),
        false => Err(Malformed),
    }
}

fn parse_change<'a>(
    kind: &str,
    before: impl Iterator<Item = &'a str>,
) -> Result<Change, Malformed> {
    let (event_type, request) = kind.split_at_checked(4).ok_or(Malformed)?;
    let request = if request.is_empty() {
        None
    } else {
        Some(request.parse()?)
    };
    let before = before
        .map(str::parse)
        .collect::<Result<Vec<StateHash>, _>>()?;
    match before.len() {
        1 | 2 => Ok(Change {
            before,
            event_type: event_type.parse()?,
            request,
        }),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn observed<'a>(
        event: &'a str,
        event_type: &'a str,
        snapshot: &'a Value,
        previous: Option<&'a Value>,
    ) -> Observed<'a> {
        Observed {
            event,
            event_type,
            request: None,
            api_version: Some("2025-09-30.clover"),
            snapshot,
            previous,
            terminal: false,
            rank: 0,
        }
    }

    #[test]
    fn a_fact_is_read_back_as_it_was_written() {
        let snapshot = json!({"status": "paid", "times": {"a": 1, "b": 2}});
        let previous = json!({"status": "open", "times": {"b": null}});
        let plain = observed(
            "evt_1SL9k4sqgWE4SKutCdUPIvM1",
            "invoice.created",
            &snapshot,
            None,
        );
        for (size, fact) in [
            (49, Fact::of(&plain)),
            (
                80,
                Fact::of(&Observed {
                    event_type: "invoice.updated",
                    previous: Some(&previous),
                    terminal: true,
                    ..plain
                }),
            ),
            (
                88,
                Fact::of(&Observed {
                    event_type: "x.deleted",
                    previous: Some(&previous),
                    request: Some("req_1"),
                    rank: 77,
                    ..plain
                }),
            ),
            (
                41,
                Fact::of(&Observed {
                    event: "an id, odd and long",
                    api_version: None,
                    ..plain
                }),
            ),
        ] {
            let text = fact.to_string();
            assert_eq!(text.parse(), Ok(fact), "{text}");
            assert!(text.len() <= size, "{} bytes: {text}", text.len());
        }
    }

    #[test]
    fn a_malformed_text_is_refused() {
        let good = "evt_1,250930u7,AAAAAAAAAAAA,BBBBrrrrrr,CCCCCCCCCCCC";
        assert!(good.parse::<Fact>().is_ok());
        for cut in 0..good.len() - 1 {
            let cut = &good[..cut];
            assert!(
                cut.parse::<Fact>().is_err() || cut == "evt_1,250930u7,AAAAAAAAAAAA",
                "{cut}"
            );
        }
        for bad in [
            "evt_1,+50930u,AAAAAAAAAAAA",
            "evt_1,250930x,AAAAAAAAAAAA",
            "ä,250930u,AAAAAAAAAAAA",
            "evt_1,25093ä,AAAAAAAAAAAA",
        ] {
            assert!(bad.parse::<Fact>().is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_ordered_by_their_dates() {
        assert!(version("2025-09-30.clover") > version("2025-03-31.basil"));
        assert!(version("2017-05-25") > version(""));
        assert_eq!(version("no date"), 0);
    }

    #[test]
    fn a_change_of_nothing_that_counts_is_no_change() {
        let snapshot = json!({"status": "open", "receipt_url": "b"});
        for previous in [json!({"receipt_url": "a"}), json!({}), json!("odd")] {
            assert_eq!(
                Fact::of(&observed(
                    "evt_1",
                    "charge.updated",
                    &snapshot,
                    Some(&previous)
                ))
                .change,
                None,
                "{previous}"
            );
        }
    }
}
