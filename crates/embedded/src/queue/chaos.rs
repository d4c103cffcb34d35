//! Faults on command: what a standard queue may do at any time, made frequent and repeatable.

/// What the queue does to messages on purpose. The default does nothing.
///
/// Every choice is a function of the seed and of what it is about (the number of the send, the message and its
/// receive count), not of one shared stream of random numbers: the same calls in the same order
/// meet the same faults, and an extra `receive` by an idle poller shifts none of them.
///
/// Probabilities are from 0 to 1; what is below or not a number counts as 0, what is above as 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Chaos {
    /// Selects one repeatable course of faults.
    pub seed: u64,
    /// How likely a sent message is stored twice: the same message id, each copy with its own receive count.
    pub duplicate: f64,
    /// How likely a sent message, or a copy of it, is delayed beyond what was asked for.
    pub delay: f64,
    /// The longest such delay; each is drawn from 1 ms to this.
    pub delay_ms_max: u32,
    /// Draws what to deliver from the 100 longest-waiting messages instead of delivering in order.
    pub reorder: bool,
    /// How likely a delete is answered as done and forgotten, so that the message is delivered again
    /// after its visibility timeout. Drawn anew for each receive of a message.
    pub lose_ack: f64,
}

/// The chaos in force, with what was counted since it was set.
#[derive(Debug, Default)]
pub(super) struct ChaosCourse {
    chaos: Chaos,
    sends: u64,
    deliveries: u64,
}

/// What becomes of one sent message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SendFate {
    /// Delay to add to the message's own.
    pub(super) delay_ms: i64,
    /// Likewise for its copy, where it gets one.
    pub(super) copy_delay_ms: Option<i64>,
}

impl ChaosCourse {
    /// Starts a course: the count of sends and deliveries begins anew.
    pub(super) fn new(chaos: Chaos) -> Self {
        Self {
            chaos,
            ..Self::default()
        }
    }

    /// Decides over the next message sent.
    pub(super) fn next_send(&mut self) -> SendFate {
        self.sends += 1;
        let duplicate = self.happens(self.chaos.duplicate, Subject::Duplicate, self.sends, 0);
        SendFate {
            delay_ms: self.delay(0),
            copy_delay_ms: duplicate.then(|| self.delay(1)),
        }
    }

    /// Whether the delete of this receive of this message is forgotten.
    pub(super) fn forgets(&self, seq: i64, receive_count: u32) -> bool {
        let seq = seq.cast_unsigned();
        self.happens(
            self.chaos.lose_ack,
            Subject::LoseAck,
            seq,
            receive_count.into(),
        )
    }

    /// The key that the next delivery shuffles by, `None` to deliver in order.
    pub(super) fn shuffle_key(&self) -> Option<u64> {
        self.chaos
            .reorder
            .then(|| draw(self.chaos.seed, Subject::Reorder, self.deliveries, 0))
    }

    /// Counts a receive that delivered something, so that an empty one changes no later order.
    pub(super) fn delivered(&mut self) {
        self.deliveries += 1;
    }

    fn delay(&self, copy: u64) -> i64 {
        if self.chaos.delay_ms_max == 0
            || !self.happens(self.chaos.delay, Subject::Delay, self.sends, copy)
        {
            return 0;
        }
        let drawn = draw(self.chaos.seed, Subject::DelayLength, self.sends, copy);
        let length = drawn % u64::from(self.chaos.delay_ms_max) + 1;
        i64::try_from(length).unwrap_or(i64::MAX)
    }

    fn happens(&self, probability: f64, subject: Subject, number: u64, detail: u64) -> bool {
        unit(draw(self.chaos.seed, subject, number, detail)) < probability
    }
}

/// What a number is drawn for, so that no two choices share one.
#[derive(Debug, Clone, Copy)]
enum Subject {
    Duplicate = 1,
    Delay = 2,
    DelayLength = 3,
    Reorder = 4,
    LoseAck = 5,
}

/// Puts `items` into the order that `key` gives.
pub(super) fn shuffle<T>(items: &mut [T], key: u64) {
    for last in (1..items.len()).rev() {
        let drawn = mix(key ^ mix(last as u64)) % (last as u64 + 1);
        items.swap(last, usize::try_from(drawn).unwrap_or(last));
    }
}

fn draw(seed: u64, subject: Subject, number: u64, detail: u64) -> u64 {
    mix(mix(mix(seed ^ subject as u64) ^ number) ^ detail)
}

/// One step of splitmix64: spreads every bit of its input over the whole output.
fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number from 0 up to but not including 1: the 53 bits that an `f64` holds exactly.
fn unit(drawn: u64) -> f64 {
    (drawn >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_its_published_first_numbers() {
        // Seed 1234567, from the reference implementation.
        let state = 1_234_567_u64;
        let gamma = 0x9e37_79b9_7f4a_7c15_u64;
        assert_eq!(mix(state), 6_457_827_717_110_365_317);
        assert_eq!(mix(state.wrapping_add(gamma)), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_probability_is_met_about_as_often_as_it_says() {
        for (probability, expected) in [
            (0.0, 0..=0),
            (0.3, 2_800..=3_200),
            (1.0, 10_000..=10_000),
            (f64::NAN, 0..=0),
        ] {
            let course = ChaosCourse::new(Chaos {
                seed: 7,
                lose_ack: probability,
                ..Chaos::default()
            });
            let lost = (0..10_000).filter(|&seq| course.forgets(seq, 1)).count();
            assert!(expected.contains(&lost), "{lost} of 10000 at {probability}");
        }
    }

    #[test]
    fn a_drawn_delay_is_never_zero_and_never_above_its_maximum() {
        let mut course = ChaosCourse::new(Chaos {
            seed: 1,
            delay: 1.0,
            delay_ms_max: 3,
            ..Chaos::default()
        });
        let mut seen: Vec<i64> = (0..200).map(|_| course.next_send().delay_ms).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [1, 2, 3]);
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..50).collect();
        shuffle(&mut items, 99);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
