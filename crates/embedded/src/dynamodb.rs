//! The embedded DynamoDB: `dynoxide` in this process, on a port of 127.0.0.1 that is free.
//!
//! It emulates neither throttling nor transaction conflicts nor the delay of an index: tests inject what
//! they need of that in front of it.

use std::io;
use std::path::Path;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A running DynamoDB. It stops when this is dropped.
#[derive(Debug)]
pub struct EmbeddedDynamoDb {
    endpoint: String,
    /// Dropping it tells the server to stop.
    _stop: oneshot::Sender<()>,
}

/// Why the embedded DynamoDB did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data cannot be opened.
    #[error("the data cannot be opened: {0}")]
    Data(String),
    /// No port could be had.
    #[error("no port could be had")]
    Port(#[source] io::Error),
}

impl EmbeddedDynamoDb {
    /// Starts it, in memory or on a file that it creates where there is none.
    ///
    /// # Errors
    ///
    /// [`StartError`] where the file or a port cannot be had.
    pub async fn start(file: Option<&Path>) -> Result<Self, StartError> {
        let database = match file {
            Some(file) => dynoxide::Database::new(&file.to_string_lossy()),
            None => dynoxide::Database::memory(),
        };
        let database = database.map_err(|error| StartError::Data(error.to_string()))?;
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(StartError::Port)?;
        let address = listener.local_addr().map_err(StartError::Port)?;
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(dynoxide::server::serve_with_shutdown(
            listener,
            database,
            async {
                // An error means that the other end was dropped, which is the sign to stop.
                let _ = stopped.await;
            },
        ));
        Ok(Self {
            endpoint: format!("http://{address}"),
            _stop: stop,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}
