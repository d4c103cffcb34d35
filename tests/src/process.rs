//! A child process whose output is read line by line, and which ends with the test that started it.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Far more than anything here takes on a busy machine; only a hang gets there.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running child process. It is killed when this is dropped, and with it every process that it started.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: watch::Receiver<Vec<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts a command and reads its standard output and standard error from now on.
    ///
    /// # Errors
    ///
    /// Where the program cannot be started.
    pub fn start(mut command: Command) -> io::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let (sender, lines) = watch::channel(Vec::new());
        let mut readers = Vec::new();
        if let Some(output) = child.stdout.take() {
            readers.push(tokio::spawn(read_lines(output, sender.clone())));
        }
        if let Some(output) = child.stderr.take() {
            readers.push(tokio::spawn(read_lines(output, sender)));
        }
        Ok(Self {
            child,
            lines,
            readers,
        })
    }

    /// What the system calls it.
    ///
    /// # Panics
    ///
    /// Where it has ended.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id().expect("the process lives")
    }

    /// Whether it still lives.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it has written so far, standard output and standard error together.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    /// Waits for a line with this text in it, from the start of the process on, and returns it.
    ///
    /// # Panics
    ///
    /// Where the process ends without one, or nothing comes for a long time.
    pub async fn line_with(&self, text: &str) -> String {
        let mut lines = self.lines.clone();
        let has = |lines: &Vec<String>| lines.iter().any(|line| line.contains(text));
        let found = match tokio::time::timeout(PATIENCE, lines.wait_for(has)).await {
            Ok(Ok(lines)) => lines.iter().find(|line| line.contains(text)).cloned(),
            Ok(Err(_)) | Err(_) => None,
        };
        found.unwrap_or_else(|| panic!("no line with {text:?} came: {:#?}", self.lines()))
    }

    /// Stops it where it is, as Lambda freezes a function between two invocations.
    pub async fn freeze(&self) {
        self.signal("-STOP").await;
    }

    /// Lets a frozen process go on.
    pub async fn thaw(&self) {
        self.signal("-CONT").await;
    }

    async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("the process lives").to_string();
        let status = Command::new("kill").args([signal, &id]).status().await;
        assert!(status.is_ok_and(|status| status.success()), "kill {signal}");
    }

    /// Kills it and what it started, which is one process group.
    fn kill_group(&self) {
        let Some(id) = self.child.id() else {
            return; // It has ended and was waited for.
        };
        let group = format!("-{id}");
        let mut kill = std::process::Command::new("kill");
        // An error means that there is nothing left to kill.
        let _ = kill
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    ///
    /// Where it does not for a long time.
    pub async fn exit(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .expect("the process ends by itself")
            .expect("a child can be waited for")
    }

    /// Ends it and returns everything it wrote.
    pub async fn stop(mut self) -> Vec<String> {
        self.kill_group();
        // An error means that it has ended already.
        let _ = self.child.kill().await;
        for reader in self.readers.drain(..) {
            // The pipe ends with the process; nobody cancels a reader.
            let _ = reader.await;
        }
        self.lines()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
    }
}

async fn read_lines(output: impl AsyncRead + Unpin, lines: watch::Sender<Vec<String>>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|n| n > 0)
    {
        let text = String::from_utf8_lossy(&line);
        let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
        lines.send_modify(|lines| lines.push(text));
        line.clear();
    }
}
