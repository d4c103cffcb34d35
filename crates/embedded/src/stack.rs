//! The stack: both functions, the queue between them, the store behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use billhook_aws::AwsEnvironment;
use billhook_core::access::Policy;
use billhook_core::log::{Level, Line, Log, causes};
use billhook_core::metrics::Metrics;
use billhook_core::scope::{Mode, Source};
use billhook_core::time::Clock;
use billhook_queue::{EnqueueError, Message, Queue};
use billhook_store::{Store, StoreError, Tables};
use billhook_stripe::StripeApi;
use consumer::Consumer;
use consumer::record::{Delivery, DeliveryOutcome};
use serde_json::{Value, json};
use webhook::Webhook;
use webhook::addresses::Addresses;
use webhook::refusals::Refusals;
use webhook::secrets::Secrets;

use crate::dynamodb::{EmbeddedDynamoDb, StartError};
use crate::queue::{LocalQueue, OpenError, ReceiptHandle, Received, Settings, StorageError};

/// How long a batch may take, in milliseconds; shorter than the visibility timeout, so that a message is never
/// handled twice at once.
const BATCH_MS_MAX: i64 = 8_000;

/// How long a message that was not done stays invisible. Short: a developer does not want to wait a minute.
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(10);

/// How many batches are under way at once.
const BATCHES_AT_ONCE: usize = 2;

/// How long to wait for messages before asking again.
const WAIT: Duration = Duration::from_secs(20);

/// After a failing queue, how long to wait before asking it again.
const PAUSE: Duration = Duration::from_secs(1);

/// Under which name deliveries are counted that left a row whose state only a look at the object can tell.
const NEEDS_REFETCH: &str = "needs_refetch";

/// The name of the embedded ledger table.
pub const EVENTS_TABLE: &str = "billhook-events";
/// The name of the embedded billing table.
pub const BILLING_TABLE: &str = "billhook-billing";

/// How the stack is set up.
pub struct Options {
    /// Where queue and tables are kept; in memory if none.
    pub folder: Option<PathBuf>,
    /// The signing secrets.
    pub secrets: Secrets,
    /// How old a signature may be, in seconds.
    pub tolerance_secs: i64,
    /// Which events change state.
    pub mode: Mode,
    /// How long the ledger keeps an event, in days.
    pub event_retention_days: u32,
    /// What decides about access.
    pub policy: Policy,
    /// Stripe's API, where a key is configured.
    pub stripe: Option<StripeApi>,
    /// Tells the time.
    pub clock: Clock,
    /// Takes the functions' lines.
    pub log: Log,
}

/// Why the stack did not start.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// The folder cannot be made.
    #[error("the data folder cannot be made")]
    Folder(#[source] std::io::Error),
    /// The queue cannot be opened.
    #[error("the queue cannot be opened")]
    Queue(#[from] OpenError),
    /// DynamoDB did not start.
    #[error("the embedded DynamoDB did not start")]
    DynamoDb(#[from] StartError),
    /// The tables cannot be made.
    #[error("the tables cannot be made")]
    Tables(#[from] StoreError),
}

/// The stack. It works as long as this lives.
pub struct Stack {
    /// The webhook function.
    pub webhook: Webhook<EmbeddedQueue>,
    /// The consumer function.
    pub consumer: Consumer,
    /// The queue between them.
    pub queue: LocalQueue,
    /// The store behind them.
    pub store: Store,
    /// What decides about access.
    pub policy: Policy,
    /// What became of the deliveries since the start.
    counts: Mutex<BTreeMap<&'static str, u64>>,
    _dynamodb: EmbeddedDynamoDb,
}

/// The in-process queue as the webhook function sees it.
#[derive(Clone, Debug)]
pub struct EmbeddedQueue(pub LocalQueue);

impl Queue for EmbeddedQueue {
    async fn enqueue(&self, message: Message) -> Result<(), EnqueueError> {
        let attributes = message
            .attributes
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text));
        let sent = self
            .0
            .send(message.body, attributes.collect(), Some(message.group))
            .await;
        sent.map(drop).map_err(|error| EnqueueError {
            reason: causes(&error),
        })
    }
}

impl Stack {
    /// Starts everything but the work on the queue, see [`Stack::work`].
    ///
    /// # Errors
    ///
    /// [`StackError`] names the part that did not start.
    pub async fn start(options: Options) -> Result<Self, StackError> {
        let settings = Settings {
            visibility_timeout: VISIBILITY_TIMEOUT,
            max_receive_count: consumer::config::DEFAULT_MAX_RECEIVE_COUNT,
            ..Settings::default()
        };
        let queue = open_queue(options.folder.as_deref(), settings)?;
        let file = options
            .folder
            .as_ref()
            .map(|folder| folder.join("dynamodb.sqlite"));
        let dynamodb = EmbeddedDynamoDb::start(file.as_deref()).await?;
        let environment = AwsEnvironment::local(dynamodb.endpoint().to_owned());
        let store = Store::new(&environment, tables(), options.event_retention_days);
        store.create_tables().await?;
        let webhook = Webhook {
            queue: EmbeddedQueue(queue.clone()),
            secrets: options.secrets,
            tolerance_secs: options.tolerance_secs,
            path_token: None,
            addresses: Addresses::default(),
            refusals: Refusals::default(),
            clock: options.clock.clone(),
            log: options.log.clone(),
            metrics: Metrics::none(),
        };
        let consumer = Consumer {
            store: store.clone(),
            stripe: options.stripe,
            mode: options.mode,
            max_receive_count: consumer::config::DEFAULT_MAX_RECEIVE_COUNT,
            clock: options.clock,
            log: options.log,
            metrics: Metrics::none(),
            warm: AtomicBool::new(false),
            asked_for_open_ms: AtomicI64::new(0),
            told_of_other_mode: AtomicBool::new(false),
        };
        Ok(Self {
            webhook,
            consumer,
            queue,
            store,
            policy: options.policy,
            counts: Mutex::default(),
            _dynamodb: dynamodb,
        })
    }

    /// Works on the queue until the future is dropped: what Lambda's event source mapping does.
    pub async fn work(self: Arc<Self>) {
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..BATCHES_AT_ONCE {
            let stack = self.clone();
            workers.spawn(async move {
                loop {
                    stack.work_once(WAIT).await;
                    stack.consumer.look_at_open_rows().await;
                }
            });
        }
        workers.join_all().await;
    }

    /// Waits up to `wait` for messages and handles one batch of them. Returns what became of them.
    pub async fn work_once(&self, wait: Duration) -> Vec<Delivery> {
        match self.queue.receive(10, wait).await {
            Ok(received) => self.handle(received).await,
            Err(error) => {
                let line =
                    Line::new(Level::Error, "the queue failed").with("reason", causes(&error));
                self.consumer.log.write(&line);
                tokio::time::sleep(PAUSE).await;
                Vec::new()
            }
        }
    }

    async fn handle(&self, received: Vec<Received>) -> Vec<Delivery> {
        if received.is_empty() {
            return Vec::new();
        }
        let mut handles: Vec<(String, ReceiptHandle)> = Vec::with_capacity(received.len());
        let mut event = SqsEvent::default();
        for message in received {
            handles.push((
                message.message_id.to_string(),
                message.receipt_handle.clone(),
            ));
            event.records.push(record(message));
        }
        let deadline_ms = (self.consumer.clock)() + BATCH_MS_MAX;
        let deliveries = self.consumer.deliver_batch(event, deadline_ms).await;
        self.count(&deliveries);
        if let Err(error) = self.acknowledge(handles, &deliveries).await {
            // They come again, and nothing takes effect twice.
            let line = Line::new(Level::Warn, "not acknowledged").with("reason", causes(&error));
            self.consumer.log.write(&line);
        }
        deliveries
    }

    /// Deletes what was not reported as failed. A message id may stand in a batch twice, and then one failure
    /// keeps both.
    async fn acknowledge(
        &self,
        handles: Vec<(String, ReceiptHandle)>,
        deliveries: &[Delivery],
    ) -> Result<(), StorageError> {
        let failed: BTreeSet<String> = consumer::batch::response(deliveries)
            .batch_item_failures
            .into_iter()
            .map(|failure| failure.item_identifier)
            .collect();
        let done = handles.into_iter().filter(|(id, _)| !failed.contains(id));
        self.queue
            .delete_batch(done.map(|(_, handle)| handle).collect())
            .await
            .map(drop)
    }

    fn count(&self, deliveries: &[Delivery]) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for delivery in deliveries {
            *counts.entry(delivery.outcome.name()).or_default() += 1;
            *counts.entry(NEEDS_REFETCH).or_default() += u64::from(delivery.needs_refetch);
        }
    }

    /// What `GET /status` answers.
    ///
    /// # Errors
    ///
    /// What the queue or the store failed with, as text.
    pub async fn status(&self) -> Result<Value, String> {
        let counts = self.queue.counts().await.map_err(|error| causes(&error))?;
        let mut parked = 0;
        for source in Source::ALL {
            for mode in [Mode::Test, Mode::Live] {
                let count = self.store.count_parked(source, mode).await;
                parked += count.map_err(|error| causes(&error))?;
            }
        }
        let events = self
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let of = |outcome: DeliveryOutcome| events.get(outcome.name()).copied().unwrap_or(0);
        Ok(json!({
            "queued": counts.queued,
            "in_flight": counts.in_flight,
            "parked": parked,
            "dead": counts.dead,
            "events": {
                "applied": of(DeliveryOutcome::Applied),
                "duplicate": of(DeliveryOutcome::Duplicate),
                "stale": of(DeliveryOutcome::Stale),
                "ignored": of(DeliveryOutcome::Ignored),
                "parked": of(DeliveryOutcome::Parked),
                "retry": of(DeliveryOutcome::Retry),
                NEEDS_REFETCH: events.get(NEEDS_REFETCH).copied().unwrap_or(0),
            },
        }))
    }
}

/// The embedded tables.
#[must_use]
pub fn tables() -> Tables {
    Tables {
        events: EVENTS_TABLE.to_owned(),
        billing: BILLING_TABLE.to_owned(),
    }
}

fn open_queue(folder: Option<&Path>, settings: Settings) -> Result<LocalQueue, StackError> {
    let Some(folder) = folder else {
        return Ok(LocalQueue::in_memory(settings)?);
    };
    std::fs::create_dir_all(folder).map_err(StackError::Folder)?;
    Ok(LocalQueue::open(folder, settings)?)
}

/// A received message in the form that Lambda hands to the consumer.
fn record(message: Received) -> SqsMessage {
    let mut record = SqsMessage::default();
    record.message_id = Some(message.message_id.to_string());
    record.receipt_handle = Some(message.receipt_handle.to_string());
    record.body = Some(message.body);
    record.attributes = [
        ("ApproximateReceiveCount", message.receive_count.to_string()),
        ("SentTimestamp", message.sent_at_ms.to_string()),
        (
            "ApproximateFirstReceiveTimestamp",
            message.first_received_at_ms.to_string(),
        ),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    record.event_source = Some("aws:sqs".to_owned());
    record
}
