//! What one event tells about the order of its second.

use super::kept::Kept;
use super::state::{Digest, Malformed, StateHash, snapshots_before};
use serde_json::Value;
use std::{fmt, str::FromStr};

/// One event of one object, as its reader hands it over.
#[derive(Clone, Copy)]
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
    /// What the reader sees in the snapshot.
    pub shown: &'a Shown,
    /// What the reader sees in another snapshot of the object. To it, null is absent at every level.
    pub look: &'a dyn Fn(&Value) -> Shown,
}

/// What the reader of a kind of object sees in a snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// What a row keeps of it.
    pub kept: Kept,
    /// Whether the object is gone: no live state follows in the same second.
    pub deleted: bool,
    /// Whether the state is final: only an event whose own old values say so leaves it. A deletion is.
    pub is_final: bool,
    /// Whether the state can only be reached by leaving a final one, such as the appeal of a dispute that was over.
    pub left_final: bool,
    /// The place of the state in the rank table of its kind; 0 for a kind without one.
    pub rank: u64,
}

/// One state of an object: the hash of the whole of it, and the hash of what a row keeps of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct State {
    pub(super) whole: StateHash,
    pub(super) kept: StateHash,
}

/// What one event tells about the order of its second: the state after it, and the state before if it knows.
///
/// The order of facts is total and begins with what a row falls back on when it cannot know more: a final state, a deletion,
/// a newer API version, a higher rank, and then the state's hash. Of two facts of one event the greater counts, and so
/// does the greatest fact of a second with too many events. One order for both is what keeps an overflown second a function
/// of the set of its events. A final state comes before a newer version, because the facts of final states are also
/// collected alone, when their second is no longer the newest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    pub(super) is_final: bool,
    pub(super) life: Life,
    version: u32,
    pub(super) rank: u64,
    pub(super) after: State,
    pub(super) event: String,
    /// Whether the state before was a final one.
    pub(super) left_final: bool,
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
    /// One or two states, see [`snapshots_before`].
    pub(super) before: Vec<State>,
    pub(super) event_type: Digest<4>,
    pub(super) request: Option<Digest<6>>,
}

impl Fact {
    /// Reads the fact out of an event.
    pub fn of(observed: &Observed<'_>) -> Self {
        let shown = observed.shown;
        let life = Life::of(observed.event_type, shown.deleted);
        let whole = match life {
            Life::End => StateHash::of_deleted(observed.snapshot),
            Life::Begin | Life::Middle => StateHash::of(observed.snapshot),
        };
        let after = State {
            whole,
            kept: shown.kept.hash(),
        };
        let (change, was_final) = match Change::of(observed, after) {
            Some((change, was_final)) => (Some(change), was_final),
            None => (None, false),
        };
        Self {
            is_final: shown.is_final || shown.deleted,
            version: version(observed.api_version.unwrap_or_default()),
            life,
            rank: shown.rank,
            after,
            event: event_key(observed.event),
            left_final: shown.left_final || was_final,
            change,
        }
    }

    /// The hash of what is kept of the state after the event.
    pub fn kept(&self) -> StateHash {
        self.after.kept
    }

    /// Whether the state after the event is final.
    pub fn is_final(&self) -> bool {
        self.is_final
    }

    /// Whether the event says itself that its object was in a final state and is no longer.
    pub fn leaves_final(&self) -> bool {
        self.left_final && !self.is_final
    }
}

impl Life {
    fn of(event_type: &str, deleted: bool) -> Self {
        match event_type.rsplit('.').next() {
            _ if deleted => Self::End,
            Some("created") => Self::Begin,
            _ => Self::Middle,
        }
    }
}

impl Change {
    /// The change, and whether it started from a final state.
    ///
    /// None if nothing that counts as state has changed: such an event shows a state like one without
    /// `previous_attributes` does.
    fn of(observed: &Observed<'_>, after: State) -> Option<(Self, bool)> {
        let mut snapshots = snapshots_before(observed.snapshot, observed.previous?.as_object()?);
        snapshots.dedup_by_key(|snapshot| StateHash::of(snapshot));
        if let [before] = &snapshots[..]
            && StateHash::of(before) == after.whole
        {
            return None;
        }
        let shown: Vec<_> = snapshots.iter().map(observed.look).collect();
        let states = snapshots.iter().zip(&shown).map(|(snapshot, shown)| State {
            whole: StateHash::of(snapshot),
            kept: shown.kept.hash(),
        });
        let change = Self {
            before: states.collect(),
            event_type: Digest::of_text(observed.event_type),
            request: observed.request.map(Digest::of_text),
        };
        Some((change, shown.first().is_some_and(|before| before.is_final)))
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

/// Written as `event,version life left rank,after[,type request,before[,before]]` without the spaces. The life is `c`, `u`
/// or `d` (created, updated, deleted), in upper case if the state is final; `f` follows if the state before was final; a
/// rank of 0 is left out. A state is its two hashes, of the whole object and of what is kept.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = letter(self.life, self.is_final);
        write!(f, "{},{:06}{letter}", self.event, self.version)?;
        if self.left_final {
            f.write_str("f")?;
        }
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

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.whole, self.kept)
    }
}

impl FromStr for State {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (whole, kept) = text.split_at_checked(12).ok_or(Malformed)?;
        Ok(Self {
            whole: whole.parse()?,
            kept: kept.parse()?,
        })
    }
}

fn letter(life: Life, is_final: bool) -> char {
    let letter = match life {
        Life::Begin => 'c',
        Life::Middle => 'u',
        Life::End => 'd',
    };
    if is_final {
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
        let (life, is_final, rest) = parse_letter(mark)?;
        let rank = rest.strip_prefix('f').unwrap_or(rest);
        let after = parts.next().ok_or(Malformed)?.parse()?;
        let change = parts
            .next()
            .map(|kind| parse_change(kind, parts))
            .transpose()?;
        Ok(Self {
            is_final,
            version: parse_digits(version)?,
            life,
            rank: match rank {
                "" => 0,
                digits => parse_digits(digits)?,
            },
            after,
            event: event.to_owned(),
            left_final: rank.len() < rest.len(),
            change,
        })
    }
}

fn parse_letter(text: &str) -> Result<(Life, bool, &str), Malformed> {
    let (letter, rest) = text.split_at_checked(1).ok_or(Malformed)?;
    let life = match letter {
        "c" | "C" => Life::Begin,
        "u" | "U" => Life::Middle,
        "d" | "D" => Life::End,
        _ => return Err(Malformed),
    };
    let is_final = letter.bytes().all(|b| b.is_ascii_uppercase());
    Ok((life, is_final, rest))
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
    let before = before.map(str::parse).collect::<Result<Vec<State>, _>>()?;
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

    /// Sees everything, and takes what is paid for final.
    fn look(snapshot: &Value) -> Shown {
        Shown {
            kept: Kept {
                extract: snapshot.clone(),
                customer: None,
            },
            is_final: snapshot["status"] == "paid",
            ..Shown::default()
        }
    }

    fn observed<'a>(
        event: &'a str,
        event_type: &'a str,
        snapshot: &'a Value,
        previous: Option<&'a Value>,
        shown: &'a Shown,
    ) -> Observed<'a> {
        Observed {
            event,
            event_type,
            request: None,
            api_version: Some("2025-09-30.clover"),
            snapshot,
            previous,
            shown,
            look: &look,
        }
    }

    #[test]
    fn a_fact_is_read_back_as_it_was_written() {
        let snapshot = json!({"status": "paid", "times": {"a": 1, "b": 2}});
        let previous = json!({"status": "open", "times": {"b": null}});
        let shown = look(&snapshot);
        let ranked = Shown {
            rank: 77,
            is_final: false,
            left_final: true,
            ..shown.clone()
        };
        let plain = observed(
            "evt_1SL9k4sqgWE4SKutCdUPIvM1",
            "invoice.created",
            &snapshot,
            None,
            &shown,
        );
        for (size, fact) in [
            (61, Fact::of(&plain)),
            (
                116,
                Fact::of(&Observed {
                    event_type: "invoice.updated",
                    previous: Some(&previous),
                    ..plain
                }),
            ),
            (
                125,
                Fact::of(&Observed {
                    event_type: "x.deleted",
                    previous: Some(&previous),
                    request: Some("req_1"),
                    shown: &ranked,
                    ..plain
                }),
            ),
            (
                53,
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
        let good = "evt_1,250930uf7,AAAAAAAAAAAABBBBBBBBBBBB,BBBBrrrrrr,CCCCCCCCCCCCDDDDDDDDDDDD";
        assert!(good.parse::<Fact>().is_ok());
        for cut in 0..good.len() - 1 {
            let cut = &good[..cut];
            assert!(
                cut.parse::<Fact>().is_err() || cut == "evt_1,250930uf7,AAAAAAAAAAAABBBBBBBBBBBB",
                "{cut}"
            );
        }
        for bad in [
            "evt_1,+50930u,AAAAAAAAAAAABBBBBBBBBBBB",
            "evt_1,250930x,AAAAAAAAAAAABBBBBBBBBBBB",
            "ä,250930u,AAAAAAAAAAAABBBBBBBBBBBB",
            "evt_1,25093ä,AAAAAAAAAAAABBBBBBBBBBBB",
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
        let shown = look(&snapshot);
        for previous in [json!({"receipt_url": "a"}), json!({}), json!("odd")] {
            assert_eq!(
                Fact::of(&observed(
                    "evt_1",
                    "charge.updated",
                    &snapshot,
                    Some(&previous),
                    &shown
                ))
                .change,
                None,
                "{previous}"
            );
        }
    }
}
