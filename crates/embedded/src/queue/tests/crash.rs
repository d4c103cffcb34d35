//! A process that is killed in the middle of its work.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::folder::Folder;
use super::*;

/// Set in the process to be killed: where its queue is.
const FOLDER: &str = "BILLHOOK_QUEUE_CRASH_FOLDER";

/// What the killed processes said, each after the call had returned.
#[derive(Default)]
struct Testimony {
    sent: BTreeSet<String>,
    /// Said before the call: it may have taken effect or not.
    deleting: BTreeSet<String>,
    deleted: BTreeSet<String>,
    receive_counts: HashMap<String, u32>,
    dead: BTreeSet<String>,
}

impl Testimony {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["sent", id] => self.sent.insert(id.to_owned()),
            ["deleting", id] => self.deleting.insert(id.to_owned()),
            ["deleted", id] => self.deleted.insert(id.to_owned()),
            ["dead", id] => self.dead.insert(id.to_owned()),
            ["received", id, count] => {
                let count = count.parse().unwrap();
                self.receive_counts.insert(id.to_owned(), count).is_none()
            }
            _ => false,
        };
    }
}

#[test]
fn what_was_answered_before_a_kill_is_there_after_it() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return work_until_killed(Path::new(&folder));
    }
    let folder = Folder::new();
    let mut testimony = Testimony::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    for lines_before_the_kill in [1, 2, 5, 17, 40, 73, 111, 160] {
        work_and_be_killed(&folder, lines_before_the_kill, &mut testimony);
        runtime.block_on(check(&folder, &testimony));
    }
    assert!(!testimony.sent.is_empty(), "something was sent");
    assert!(!testimony.deleted.is_empty(), "something was deleted");
    assert!(!testimony.dead.is_empty(), "something died");
}

/// Runs this very test in a process of its own, and kills it (SIGKILL) once it has said so many lines.
///
/// It is then anywhere in the calls after that line; whatever else it managed to say counts as well.
fn work_and_be_killed(folder: &Folder, lines: usize, testimony: &mut Testimony) {
    let (_, module) = module_path!().split_once("::").unwrap();
    let test = format!("{module}::what_was_answered_before_a_kill_is_there_after_it");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([&test, "--exact", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut heard = 0;
    loop {
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        // A line cut short by the kill was not said.
        let Some(line) = line.strip_suffix('\n') else {
            break;
        };
        testimony.hear(line);
        heard += 1;
        if heard == lines {
            child.kill().unwrap();
        }
    }
    assert!(heard >= lines, "the process died of something else");
    let status = child.wait().unwrap();
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9)
    );
    assert!(!status.success(), "it was killed");
}

/// Compares what is stored with what was said. It receives everything once, which only raises receive counts.
async fn check(folder: &Folder, testimony: &Testimony) {
    let patient = Settings {
        max_receive_count: 1000,
        ..settings()
    };
    let queue = LocalQueue::open(folder.path(), patient).unwrap();
    assert_eq!(
        counts(&queue).await[1],
        0,
        "nothing is in flight after a restart"
    );

    let dead = queue.dead_letters(usize::MAX).await.unwrap();
    let dead: BTreeSet<String> = dead.into_iter().map(|letter| letter.message_id.0).collect();
    let waiting = receive_all(&queue).await;
    let waiting: HashMap<String, u32> = waiting
        .into_iter()
        .map(|message| (message.message_id.0, message.receive_count))
        .collect();
    assert_eq!(
        counts(&queue).await,
        [0, waiting.len() as u64, dead.len() as u64]
    );

    for id in testimony.sent.difference(&testimony.deleting) {
        let stored = waiting.contains_key(id) || dead.contains(id);
        assert!(stored, "{id} was sent and is lost");
    }
    for id in &testimony.deleted {
        let stored = waiting.contains_key(id) || dead.contains(id);
        assert!(!stored, "{id} was deleted and is back");
    }
    for id in &testimony.dead {
        assert!(dead.contains(id), "{id} was a dead letter and is none");
    }
    for (id, count) in &waiting {
        let before = testimony.receive_counts.get(id).copied().unwrap_or(0);
        assert!(*count > before, "{id} forgot that it was received");
    }
}

/// Sends, receives, deletes and lets die, and says so, until it is killed.
fn work_until_killed(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let queue = LocalQueue::open(folder, settings()).unwrap();
        // Past what the test harness has on this line; not `println`, which it would hold back.
        let mut say = std::io::stdout();
        writeln!(say).unwrap();
        for round in 0_u32.. {
            for number in 0..3 {
                let body = format!("{round} {number}").repeat(100);
                let id = send(&queue, &body).await;
                writeln!(say, "sent {id}").unwrap();
            }
            for message in queue.receive(2, Duration::ZERO).await.unwrap() {
                let id = &message.message_id;
                writeln!(say, "received {id} {}", message.receive_count).unwrap();
                if (round + message.receive_count) % 4 == 0 {
                    writeln!(say, "deleting {id}").unwrap();
                    queue.delete(&message.receipt_handle).await.unwrap();
                    writeln!(say, "deleted {id}").unwrap();
                } else {
                    let handle = &message.receipt_handle;
                    queue.change_visibility(handle, MOMENT).await.unwrap();
                }
            }
            queue.advance(MOMENT);
            for letter in queue.dead_letters(5).await.unwrap() {
                writeln!(say, "dead {}", letter.message_id).unwrap();
            }
        }
    });
}
