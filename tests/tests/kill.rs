//! `kill -9` at varying moments: what was answered 200 is in the state after a restart on the same folder
//! (promise G1).

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use billhook_aws::process::unix_ms;
use billhook_tests::harness::{LIVES, Life, NOW, RECEIVES_MAX, Random, differences, life, say};
use billhook_tests::program::{Program, post};
use serde_json::Value;

/// How often the program is killed: a message that was under way every time must not have used up its receives,
/// or it is a dead letter, which is not lost either but has to be driven again.
const KILLS: usize = RECEIVES_MAX as usize - 1;

/// The program is killed after at most this many answers.
const ANSWERS_MAX: usize = 25;

/// A folder that is removed when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("billhook-kill-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Posts bodies two at a time, until none is left or an answer is missing. Returns those that were not
/// answered 200: a sender would try them again.
fn post_all(url: &str, bodies: Vec<Vec<u8>>, answered: &AtomicUsize) -> Vec<Vec<u8>> {
    let left = Mutex::new(bodies);
    let unanswered = Mutex::new(Vec::new());
    let poster = || {
        loop {
            let next = left.lock().expect("no poster panics").pop();
            let Some(body) = next else { return };
            if post(url, &body, unix_ms().div_euclid(1000)) {
                answered.fetch_add(1, Ordering::SeqCst);
            } else {
                unanswered.lock().expect("no poster panics").push(body);
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(poster);
        scope.spawn(poster);
    });
    let mut rest = left.into_inner().expect("no poster panics");
    rest.extend(unanswered.into_inner().expect("no poster panics"));
    rest
}

/// Waits until nothing is queued or in flight. Returns the status then.
fn drained(program: &Program) -> Value {
    for _ in 0..3_000 {
        let status = program.get("/status").expect("the status is answered");
        if status["queued"] == 0 && status["in_flight"] == 0 {
            return status;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the queue never got empty: an event is stuck");
}

#[test]
fn what_was_answered_200_survives_kill_9_at_any_moment() {
    let folder = Folder::new();
    let lives: Vec<Life> = LIVES.map(life).into();
    let mut bodies: Vec<Vec<u8>> = lives.iter().flat_map(|life| life.events.clone()).collect();
    let mut random = Random::new(9);
    random.shuffle(&mut bodies);
    let events = bodies.len();

    let answered = AtomicUsize::new(0);
    for _ in 0..KILLS {
        let after = random.below(ANSWERS_MAX) + 1;
        let program = Program::start(&folder.0);
        let url = program.url.clone();
        let until = answered.load(Ordering::SeqCst) + after;
        bodies = std::thread::scope(|scope| {
            let posting = scope.spawn(|| post_all(&url, std::mem::take(&mut bodies), &answered));
            while answered.load(Ordering::SeqCst) < until && !posting.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
            }
            program.kill();
            posting.join().expect("no poster panics")
        });
    }
    let killed_at = answered.load(Ordering::SeqCst);
    assert!(
        !bodies.is_empty(),
        "the program was killed before it had everything"
    );

    let program = Program::start(&folder.0);
    let rest = post_all(&program.url, bodies, &answered);
    assert_eq!(
        rest,
        Vec::<Vec<u8>>::new(),
        "a healthy program takes everything"
    );
    let status = drained(&program);
    assert_eq!(
        (&status["parked"], &status["dead"]),
        (&Value::from(0), &Value::from(0)),
        "{status}"
    );
    for life in &lives {
        for (customer, wanted) in &life.expected {
            let seen = program.get(&format!("/customers/{customer}?at={NOW}"));
            let found = differences(wanted, &seen.expect("the customer is known"));
            assert_eq!(found, Vec::<String>::new(), "{}", life.name);
        }
    }
    say(&format!(
        "{events} events, killed {KILLS} times while {killed_at} were answered: {}",
        status["events"]
    ));
}
