//! The official DynamoDB Local as a process, where it is installed.
//!
//! Its licence forbids shipping it, so `BILLHOOK_DYNAMODB_LOCAL` names a folder that holds `DynamoDBLocal.jar` and
//! `DynamoDBLocal_lib`. It needs Java 17.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The variable that names the folder.
pub const VARIABLE: &str = "BILLHOOK_DYNAMODB_LOCAL";

/// A running DynamoDB Local, in memory. It is stopped when this is dropped.
#[derive(Debug)]
pub struct DynamoDbLocal {
    process: Child,
    /// Where it listens.
    pub endpoint: String,
}

impl DynamoDbLocal {
    /// Starts it; none where it is not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        let folder = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty())?;
        let folder = PathBuf::from(folder);
        let port = free_port();
        let process = Command::new("java")
            .args(["-Djava.library.path=DynamoDBLocal_lib", "-jar"])
            .args(["DynamoDBLocal.jar", "-inMemory", "-port"])
            .arg(port.to_string())
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("java can be started");
        let mut started = Self {
            process,
            endpoint: format!("http://127.0.0.1:{port}"),
        };
        started.wait_until_it_listens(port);
        Some(started)
    }

    fn wait_until_it_listens(&mut self, port: u16) {
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return;
            }
            let ended = self.process.try_wait().expect("the process can be asked");
            assert!(ended.is_none(), "DynamoDB Local ended at once: {ended:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("DynamoDB Local does not listen");
    }
}

impl Drop for DynamoDbLocal {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to stop.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}
