//! The queue beside a model of it: a list, looked through from end to end.

use super::*;

#[derive(Debug, Clone)]
struct Modelled {
    body: String,
    visible_at: Duration,
    receive_count: u32,
    /// The order among those that become visible in the same millisecond.
    number: usize,
}

#[derive(Debug, Default)]
struct Model {
    now: Duration,
    sent: usize,
    messages: Vec<Modelled>,
    dead: Vec<String>,
}

impl Model {
    fn send(&mut self, body: String, delay: Duration) {
        self.sent += 1;
        self.messages.push(Modelled {
            body,
            visible_at: self.now + delay,
            receive_count: 0,
            number: self.sent,
        });
    }

    fn receive(&mut self, max: usize) -> Vec<(String, u32)> {
        let mut received = Vec::new();
        let now = self.now;
        self.messages
            .sort_by_key(|message| (message.visible_at, message.number));
        let mut kept = Vec::new();
        for mut message in self.messages.drain(..) {
            if message.visible_at <= now && received.len() < max {
                if message.receive_count == 3 {
                    self.dead.push(message.body);
                    continue;
                }
                message.receive_count += 1;
                message.visible_at = now + TIMEOUT;
                received.push((message.body.clone(), message.receive_count));
            }
            kept.push(message);
        }
        self.messages = kept;
        received
    }

    fn find(&self, handle: &Received) -> Option<usize> {
        let same = |message: &Modelled| message.body == handle.body;
        self.messages.iter().position(same)
    }

    fn delete(&mut self, handle: &Received) -> Deletion {
        match self.find(handle) {
            None => Deletion::Absent,
            Some(at) if self.messages[at].receive_count != handle.receive_count => Deletion::Stale,
            Some(at) => {
                self.messages.remove(at);
                Deletion::Deleted
            }
        }
    }

    fn change_visibility(&mut self, handle: &Received, timeout: Duration) -> bool {
        let Some(at) = self.find(handle) else {
            return false;
        };
        let message = &mut self.messages[at];
        let in_flight =
            message.receive_count == handle.receive_count && message.visible_at > self.now;
        if in_flight {
            message.visible_at = self.now + timeout;
        }
        in_flight
    }

    fn counts(&self) -> [u64; 3] {
        let in_flight =
            |message: &&Modelled| message.receive_count > 0 && message.visible_at > self.now;
        let in_flight = self.messages.iter().filter(in_flight).count();
        let queued = self.messages.len() - in_flight;
        [queued, in_flight, self.dead.len()].map(|count| count as u64)
    }
}

/// Small numbers in a long, repeatable course.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        let mut order: Vec<usize> = (0..sides).collect();
        self.0 += 1;
        super::super::chaos::shuffle(&mut order, self.0);
        order[0]
    }
}

#[tokio::test(start_paused = true)]
async fn any_course_of_calls_ends_as_in_the_model() {
    for seed in 0..20 {
        let queue = memory();
        let mut model = Model::default();
        let mut dice = Dice(seed << 32);
        let mut handles: Vec<Received> = Vec::new();
        for step in 0..300 {
            match dice.roll(9) {
                0..3 => {
                    let delay = Duration::from_secs([0, 0, 0, 5, 50][dice.roll(5)]);
                    let body = format!("{seed}-{step}");
                    send_delayed(&queue, &body, delay).await;
                    model.send(body, delay);
                }
                3..5 => {
                    let max = 1 + dice.roll(10);
                    let received = queue.receive(max, Duration::ZERO).await.unwrap();
                    let seen = received
                        .iter()
                        .map(|got| (got.body.clone(), got.receive_count));
                    assert_eq!(
                        seen.collect::<Vec<_>>(),
                        model.receive(max),
                        "seed {seed}, step {step}"
                    );
                    handles.extend(received);
                }
                5 if !handles.is_empty() => {
                    let handle = &handles[dice.roll(handles.len())];
                    let deletion = queue.delete(&handle.receipt_handle).await.unwrap();
                    assert_eq!(deletion, model.delete(handle), "seed {seed}, step {step}");
                }
                6 if !handles.is_empty() => {
                    let handle = &handles[dice.roll(handles.len())];
                    let timeout = Duration::from_secs([0, 30, 90][dice.roll(3)]);
                    let changed = queue
                        .change_visibility(&handle.receipt_handle, timeout)
                        .await;
                    let expected = model.change_visibility(handle, timeout);
                    assert_eq!(changed.is_ok(), expected, "seed {seed}, step {step}");
                }
                7 if dice.roll(10) == 0 => {
                    let moved = queue.redrive().await.unwrap();
                    let dead = std::mem::take(&mut model.dead);
                    assert_eq!(moved, dead.len() as u64, "seed {seed}, step {step}");
                    for body in dead {
                        model.send(body, Duration::ZERO);
                    }
                    // A redriven message is a new one, which the model tells apart by body only.
                    handles.clear();
                }
                _ => {
                    let pass = Duration::from_secs(dice.roll(40) as u64);
                    queue.advance(pass);
                    model.now += pass;
                }
            }
            assert_eq!(
                counts(&queue).await,
                model.counts(),
                "seed {seed}, step {step}"
            );
        }
        let dead = queue.dead_letters(1000).await.unwrap();
        let dead: Vec<String> = dead.into_iter().map(|letter| letter.body).collect();
        assert_eq!(dead, model.dead, "seed {seed}");
    }
}
