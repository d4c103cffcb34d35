//! Refusals that strangers provoke: the first of each minute are logged and counted one by one, the rest in sums. A flood
//! would else be paid for by the line.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// So many refusals of a minute have a line each, in each environment.
const SINGLE_A_MINUTE: u32 = 10;
/// A sum is written when it holds so many, or when the next minute has begun.
const SUM_MAX: i64 = 100;

/// What one environment has held back.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    minute: i64,
    singles: u32,
    sums: BTreeMap<&'static str, i64>,
}

impl Refusals {
    /// Whether this refusal is to be written by itself. One that is not is added to its reason's sum.
    pub fn is_single(&self, reason: &'static str, now_ms: i64) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now_ms.div_euclid(60_000);
        // A sum that is still there keeps its minute until it was written.
        if held.minute != minute && held.sums.is_empty() {
            held.minute = minute;
            held.singles = 0;
        }
        if held.singles < SINGLE_A_MINUTE {
            held.singles += 1;
            return true;
        }
        *held.sums.entry(reason).or_default() += 1;
        false
    }

    /// The sums that are due, by reason. They are the caller's then.
    pub fn due(&self, now_ms: i64) -> BTreeMap<&'static str, i64> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = held.minute != now_ms.div_euclid(60_000);
        let is_full = held.sums.values().sum::<i64>() >= SUM_MAX;
        if is_over || is_full {
            std::mem::take(&mut held.sums)
        } else {
            BTreeMap::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_a_minute_are_single_and_every_other_one_is_in_a_sum() {
        let refusals = Refusals::default();
        let (mut single, mut summed) = (0, 0);
        for second in 0..600 {
            for _ in 0..25 {
                let now_ms = second * 1000;
                summed += refusals.due(now_ms).values().sum::<i64>();
                single += i64::from(refusals.is_single("signature_mismatch", now_ms));
            }
        }
        summed += refusals.due(600_000).values().sum::<i64>();
        assert_eq!(single, 100);
        assert_eq!(single + summed, 15_000);
    }

    #[test]
    fn what_is_held_back_is_due_when_the_minute_is_over() {
        let refusals = Refusals::default();
        for _ in 0..12 {
            refusals.is_single("signature_missing", 0);
        }
        assert!(refusals.due(59_999).is_empty());
        assert_eq!(refusals.due(60_000), [("signature_missing", 2)].into());
        assert!(refusals.due(60_000).is_empty());
    }
}
