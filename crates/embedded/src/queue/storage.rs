//! The queue's tables in SQLite, and the transactions on them.
//!
//! It knows no clock, no waiting and no chaos: `now` is a value. Every method is one transaction, so a crash or
//! an error leaves all of it or nothing. Every statement finds its rows by an index; a test looks at the query plans.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, named_params, params};
use thiserror::Error;

use super::chaos::shuffle;
use super::message::{DeadLetter, Draft, MessageId, ReceiptHandle, Received};

/// The queue's file in its folder.
const FILE_NAME: &str = "queue.sqlite3";
/// The format of the tables, kept in the file's `user_version`.
const FORMAT: i64 = 1;
/// How many of the longest-waiting messages a shuffled receive draws from: enough to mix them well,
/// few enough that a full queue costs no more than a short one.
const SHUFFLE_WINDOW: i64 = 100;
/// How long opening waits for another holder of the file to let go, for instance a handle just dropped.
const OPEN_PATIENCE: Duration = Duration::from_millis(500);

/// `seq` is the order of sending and never used twice (`AUTOINCREMENT`), since receipt handles hold it.
///
/// A message waits until `visible_at`. It is in flight if it waits and was received before, delayed if it
/// waits and was not. The index holds all that choosing and counting need. The body comes last: SQLite
/// reads the columns before it without it.
const TABLES: &str = "
    CREATE TABLE messages (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id TEXT NOT NULL,
        visible_at INTEGER NOT NULL,
        receive_count INTEGER NOT NULL DEFAULT 0,
        sent_at INTEGER NOT NULL,
        first_received_at INTEGER,
        message_group TEXT,
        attributes TEXT,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX messages_by_visible_at ON messages (visible_at, seq, receive_count);
    CREATE TABLE dead_letters (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id TEXT NOT NULL,
        receive_count INTEGER NOT NULL,
        sent_at INTEGER NOT NULL,
        first_received_at INTEGER NOT NULL,
        died_at INTEGER NOT NULL,
        message_group TEXT,
        attributes TEXT,
        body TEXT NOT NULL
    ) STRICT;
";

const INSERT: &str = "
    INSERT INTO messages (message_id, visible_at, sent_at, message_group, attributes, body)
    VALUES (:message_id, :visible_at, :sent_at, :message_group, :attributes, :body)";
/// Nearly first in, first out: a message that comes back queues up behind those that became visible before.
const VISIBLE: &str = "
    SELECT seq, receive_count FROM messages WHERE visible_at <= :now ORDER BY visible_at, seq LIMIT :limit";
const NEXT_VISIBLE_AT: &str = "SELECT min(visible_at) FROM messages WHERE visible_at > :now";
const IN_FLIGHT: &str =
    "SELECT count(*) FROM messages WHERE receive_count > 0 AND visible_at > :now";
const RECEIVE: &str = "
    UPDATE messages SET receive_count = receive_count + 1, visible_at = :visible_at,
        first_received_at = coalesce(first_received_at, :now)
    WHERE seq = :seq
    RETURNING message_id, receive_count, sent_at, first_received_at, message_group, attributes, body";
const LOOK_UP: &str =
    "SELECT receive_count, visible_at FROM messages WHERE seq = :seq AND message_id = :message_id";
const DELETE: &str = "DELETE FROM messages WHERE seq = :seq";
const SET_VISIBLE_AT: &str = "UPDATE messages SET visible_at = :visible_at WHERE seq = :seq";
const COPY_TO_DEAD: &str = "
    INSERT INTO dead_letters (message_id, receive_count, sent_at, first_received_at, died_at, message_group, attributes, body)
    SELECT message_id, receive_count, sent_at, first_received_at, :now, message_group, attributes, body
    FROM messages WHERE seq = :seq";
const DEAD: &str = "
    SELECT message_id, receive_count, sent_at, first_received_at, message_group, attributes, body, died_at
    FROM dead_letters ORDER BY seq LIMIT :limit";
const DEAD_SEQS: &str = "SELECT seq FROM dead_letters ORDER BY seq";
const COPY_FROM_DEAD: &str = "
    INSERT INTO messages (message_id, visible_at, sent_at, message_group, attributes, body)
    SELECT :message_id, :now, :now, message_group, attributes, body FROM dead_letters WHERE seq = :seq";
const PURGE_DEAD: &str = "DELETE FROM dead_letters";

/// The storage did not do what it was asked; nothing was changed, unless the variant says otherwise.
#[derive(Debug, Error)]
pub enum StorageError {
    /// There is no room left.
    #[error("write the queue to a full disk")]
    DiskFull {
        /// SQLite's words.
        #[source]
        source: rusqlite::Error,
    },
    /// SQLite could not read, write or make durable. If it was the last step of a commit
    /// that failed, the change may yet show after a restart, as with SQS when an answer is lost.
    #[error("read or write the queue")]
    Sqlite {
        /// SQLite's words.
        #[source]
        source: rusqlite::Error,
    },
    /// The runtime shut down, or the work panicked, before there was an answer. It may have been done.
    #[error("wait for the queue's storage")]
    Interrupted {
        /// Tokio's words.
        #[source]
        source: tokio::task::JoinError,
    },
}

impl From<rusqlite::Error> for StorageError {
    fn from(source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull { source },
            _ => Self::Sqlite { source },
        }
    }
}

/// The queue could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The visibility timeout is not above zero and at most 12 hours, or the maximum receive count not from 1 to 1000.
    #[error("open a queue with settings that SQS would refuse")]
    Settings,
    /// The folder does not exist and cannot be made.
    #[error("make the queue's folder")]
    Folder {
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// Another process, or another handle of this one, has it open.
    #[error("open a queue that is in use")]
    InUse,
    /// A newer version of this program wrote it.
    #[error("open a queue of format {found}, newer than {FORMAT}")]
    NewerFormat {
        /// The format found.
        found: i64,
    },
    /// SQLite could not open it or prepare its tables.
    #[error("open the queue")]
    Storage {
        /// SQLite's words.
        #[source]
        source: rusqlite::Error,
    },
}

impl From<rusqlite::Error> for OpenError {
    fn from(source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse,
            _ => Self::Storage { source },
        }
    }
}

/// How many messages there are, by what they wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Visible now, or delayed (`ApproximateNumberOfMessages` and `…Delayed`, here exact).
    pub queued: u64,
    /// Received and neither deleted nor visible again (`ApproximateNumberOfMessagesNotVisible`).
    pub in_flight: u64,
    /// In the dead-letter queue.
    pub dead: u64,
}

/// What became of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The message is gone.
    Deleted,
    /// There is no such message: it was deleted before, or moved to the dead-letter queue, or another queue's.
    Absent,
    /// The message was received again since, and stays: only the newest receipt handle deletes.
    Stale,
}

/// What a receive found.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) messages: Vec<Received>,
    /// When the next message becomes visible, if nothing else happens.
    pub(super) next_visible_at: Option<i64>,
}

/// How a receive goes about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClaimTerms {
    pub(super) messages_max: usize,
    pub(super) receives_max: u32,
    pub(super) now: i64,
    pub(super) visible_at: i64,
    pub(super) shuffle_key: Option<u64>,
}

/// A connection that nobody else has.
#[derive(Debug)]
pub(super) struct Storage {
    connection: Connection,
    /// The numbers of rows in the two tables, as committed: counting them would read every one.
    messages: u64,
    dead: u64,
}

impl Storage {
    pub(super) fn in_memory() -> Result<Self, OpenError> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(TABLES)?;
        Self::on(connection)
    }

    /// Opens the file in `folder`, or makes both, and puts everything in flight back into the queue.
    pub(super) fn on_disk(folder: &Path, now: i64) -> Result<Self, OpenError> {
        std::fs::create_dir_all(folder).map_err(|source| OpenError::Folder { source })?;
        let mut connection = Connection::open(folder.join(FILE_NAME))?;
        connection.busy_timeout(OPEN_PATIENCE)?;
        // Exclusive: a second process would take this one's messages in flight for abandoned.
        // Full: a commit returns after the write-ahead log is on the disk.
        connection.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;",
        )?;
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        match transaction.query_row("PRAGMA user_version", [], |row| row.get(0))? {
            0 => {
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
            }
            FORMAT => take_up(&transaction, now)?,
            found => return Err(OpenError::NewerFormat { found }),
        }
        transaction.commit()?;
        Self::on(connection)
    }

    fn on(connection: Connection) -> Result<Self, OpenError> {
        let count = |sql| connection.query_row(sql, [], |row| row.get(0).map(i64::cast_unsigned));
        let messages = count("SELECT count(*) FROM messages")?;
        let dead = count("SELECT count(*) FROM dead_letters")?;
        // More than there are statements here, so none is ever compiled twice.
        connection.set_prepared_statement_cache_capacity(32);
        Ok(Self {
            connection,
            messages,
            dead,
        })
    }

    /// Stores a message once for each of `visible_at`, all copies under one id.
    pub(super) fn insert(
        &mut self,
        draft: &Draft,
        message_id: &MessageId,
        now: i64,
        visible_at: &[i64],
    ) -> Result<(), StorageError> {
        let attributes = attributes_to_json(&draft.attributes)?;
        self.write(|transaction| {
            let mut insert = transaction.prepare_cached(INSERT)?;
            for &visible_at in visible_at {
                insert.execute(named_params! {
                    ":message_id": message_id.0,
                    ":visible_at": visible_at,
                    ":sent_at": now,
                    ":message_group": draft.group,
                    ":attributes": attributes,
                    ":body": draft.body,
                })?;
            }
            Ok(())
        })?;
        self.messages += visible_at.len() as u64;
        Ok(())
    }

    /// Receives visible messages, and moves those received often enough to the dead letters.
    pub(super) fn claim(&mut self, terms: ClaimTerms) -> Result<Claim, StorageError> {
        let (claim, died) = self.write(|transaction| {
            let mut messages = Vec::new();
            let mut died = 0;
            while messages.len() < terms.messages_max {
                let wanted = terms.messages_max - messages.len();
                let candidates = candidates(transaction, terms, wanted)?;
                if candidates.is_empty() {
                    break;
                }
                for (seq, receive_count) in candidates {
                    if receive_count >= terms.receives_max {
                        bury(transaction, seq, terms.now)?;
                        died += 1;
                    } else {
                        messages.push(receive(transaction, seq, terms)?);
                    }
                }
            }
            let next_visible_at = transaction
                .prepare_cached(NEXT_VISIBLE_AT)?
                .query_row([terms.now], |row| row.get(0))?;
            let claim = Claim {
                messages,
                next_visible_at,
            };
            Ok((claim, died))
        })?;
        self.messages -= died;
        self.dead += died;
        Ok(claim)
    }

    /// Deletes each message that its handle is the newest of; `keep` says which are spared all the same.
    pub(super) fn delete(
        &mut self,
        handles: &[ReceiptHandle],
        keep: impl Fn(&ReceiptHandle) -> bool,
    ) -> Result<Vec<Deletion>, StorageError> {
        let (deletions, deleted) = self.write(|transaction| {
            let mut deleted = 0;
            let mut deletions = Vec::with_capacity(handles.len());
            for handle in handles {
                deletions.push(match look_up(transaction, handle)? {
                    None => Deletion::Absent,
                    Some((receive_count, _)) if receive_count != handle.receive_count => {
                        Deletion::Stale
                    }
                    Some(_) => {
                        if !keep(handle) {
                            transaction.prepare_cached(DELETE)?.execute([handle.seq])?;
                            deleted += 1;
                        }
                        Deletion::Deleted
                    }
                });
            }
            Ok((deletions, deleted))
        })?;
        self.messages -= deleted;
        Ok(deletions)
    }

    /// Sets when a message in flight becomes visible; `false` if this receive of it is not in flight.
    pub(super) fn change_visibility(
        &mut self,
        handle: &ReceiptHandle,
        now: i64,
        visible_at: i64,
    ) -> Result<bool, StorageError> {
        self.write(|transaction| {
            let in_flight = look_up(transaction, handle)?.is_some_and(|(receive_count, due)| {
                receive_count == handle.receive_count && due > now
            });
            if in_flight {
                let mut update = transaction.prepare_cached(SET_VISIBLE_AT)?;
                update.execute(named_params! {":visible_at": visible_at, ":seq": handle.seq})?;
            }
            Ok(in_flight)
        })
    }

    pub(super) fn counts(&mut self, now: i64) -> Result<Counts, StorageError> {
        let in_flight: i64 = self
            .connection
            .prepare_cached(IN_FLIGHT)?
            .query_row([now], |row| row.get(0))?;
        let in_flight = in_flight.cast_unsigned();
        Ok(Counts {
            queued: self.messages - in_flight,
            in_flight,
            dead: self.dead,
        })
    }

    /// The dead letters, the first to die first.
    pub(super) fn dead_letters(&mut self, limit: usize) -> Result<Vec<DeadLetter>, StorageError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut select = self.connection.prepare_cached(DEAD)?;
        let rows = select.query_map([limit], |row| {
            Ok(DeadLetter {
                message_id: MessageId(row.get("message_id")?),
                body: row.get("body")?,
                attributes: attributes(row)?,
                group: row.get("message_group")?,
                receive_count: row.get("receive_count")?,
                sent_at_ms: row.get("sent_at")?,
                first_received_at_ms: row.get("first_received_at")?,
                died_at_ms: row.get("died_at")?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Sends every dead letter anew, under an id from `fresh_id`.
    pub(super) fn redrive(
        &mut self,
        now: i64,
        mut fresh_id: impl FnMut() -> MessageId,
    ) -> Result<u64, StorageError> {
        let moved = self.write(|transaction| {
            let mut moved = 0;
            let mut copy = transaction.prepare_cached(COPY_FROM_DEAD)?;
            let mut seqs = transaction.prepare_cached(DEAD_SEQS)?;
            for seq in seqs.query_map([], |row| row.get::<_, i64>(0))? {
                copy.execute(named_params! {
                    ":message_id": fresh_id().0,
                    ":now": now,
                    ":seq": seq?,
                })?;
                moved += 1;
            }
            transaction.prepare_cached(PURGE_DEAD)?.execute([])?;
            Ok(moved)
        })?;
        self.messages += moved;
        self.dead = 0;
        Ok(moved)
    }

    pub(super) fn purge_dead_letters(&mut self) -> Result<u64, StorageError> {
        let purged =
            self.write(|transaction| transaction.prepare_cached(PURGE_DEAD)?.execute([]))?;
        self.dead = 0;
        Ok(purged as u64)
    }

    /// All of `work`, or nothing: an error on the way, in the commit too, rolls back.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StorageError> {
        let transaction = self.connection.transaction()?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Lets a test break things.
    #[cfg(test)]
    pub(super) fn execute_batch(&self, sql: &str) -> Result<(), StorageError> {
        Ok(self.connection.execute_batch(sql)?)
    }

    #[cfg(test)]
    pub(super) fn pragma(&self, name: &str) -> Result<String, StorageError> {
        let text =
            self.connection
                .pragma_query_value(None, name, |row| match row.get_ref(0)? {
                    rusqlite::types::ValueRef::Integer(number) => Ok(number.to_string()),
                    other => Ok(other.as_str()?.to_owned()),
                })?;
        Ok(text)
    }
}

/// Makes an earlier process's messages this one's.
///
/// What was in flight becomes visible at once: its consumer died with the process that held the
/// file, so to wait for it would only look like a hang. Its receive count stays. And where the wall clock was set
/// back meanwhile, a delay still lasts no longer than it was meant to.
fn take_up(transaction: &Transaction<'_>, now: i64) -> rusqlite::Result<()> {
    transaction.execute(
        "UPDATE messages SET visible_at = ?1 WHERE receive_count > 0 AND visible_at > ?1",
        [now],
    )?;
    transaction.execute(
        "UPDATE messages SET visible_at = visible_at - sent_at + ?1 WHERE receive_count = 0 AND sent_at > ?1",
        [now],
    )?;
    Ok(())
}

/// Visible messages and their receive counts, in the order to deliver them.
fn candidates(
    transaction: &Transaction<'_>,
    terms: ClaimTerms,
    wanted: usize,
) -> rusqlite::Result<Vec<(i64, u32)>> {
    let limit = match terms.shuffle_key {
        Some(_) => SHUFFLE_WINDOW,
        None => i64::try_from(wanted).unwrap_or(i64::MAX),
    };
    let mut select = transaction.prepare_cached(VISIBLE)?;
    let rows = select.query_map(params![terms.now, limit], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let mut candidates = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    if let Some(key) = terms.shuffle_key {
        shuffle(&mut candidates, key);
        candidates.truncate(wanted);
    }
    Ok(candidates)
}

fn receive(
    transaction: &Transaction<'_>,
    seq: i64,
    terms: ClaimTerms,
) -> rusqlite::Result<Received> {
    let parameters =
        named_params! {":seq": seq, ":now": terms.now, ":visible_at": terms.visible_at};
    transaction
        .prepare_cached(RECEIVE)?
        .query_row(parameters, |row| {
            let message_id = MessageId(row.get("message_id")?);
            let receive_count = row.get("receive_count")?;
            Ok(Received {
                receipt_handle: ReceiptHandle {
                    seq,
                    receive_count,
                    message_id: message_id.clone(),
                },
                message_id,
                body: row.get("body")?,
                attributes: attributes(row)?,
                group: row.get("message_group")?,
                receive_count,
                sent_at_ms: row.get("sent_at")?,
                first_received_at_ms: row.get("first_received_at")?,
            })
        })
}

/// Moves a message to the dead letters.
fn bury(transaction: &Transaction<'_>, seq: i64, now: i64) -> rusqlite::Result<()> {
    let mut copy = transaction.prepare_cached(COPY_TO_DEAD)?;
    copy.execute(named_params! {":seq": seq, ":now": now})?;
    transaction.prepare_cached(DELETE)?.execute([seq])?;
    Ok(())
}

/// The receive count of a handle's message, and when it becomes visible.
fn look_up(
    transaction: &Transaction<'_>,
    handle: &ReceiptHandle,
) -> rusqlite::Result<Option<(u32, i64)>> {
    let parameters = named_params! {":seq": handle.seq, ":message_id": handle.message_id.0};
    transaction
        .prepare_cached(LOOK_UP)?
        .query_row(parameters, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// Attributes as they are stored: nothing where there are none.
fn attributes_to_json(attributes: &BTreeMap<String, String>) -> rusqlite::Result<Option<String>> {
    if attributes.is_empty() {
        return Ok(None);
    }
    let json = serde_json::to_string(attributes);
    json.map(Some)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn attributes(row: &Row<'_>) -> rusqlite::Result<BTreeMap<String, String>> {
    let column = row.as_ref().column_index("attributes")?;
    match row.get::<_, Option<String>>(column)? {
        None => Ok(BTreeMap::new()),
        Some(json) => serde_json::from_str(&json).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn no_statement_reads_a_whole_table_unless_it_is_about_all_of_it() {
        let storage = Storage::in_memory().unwrap();
        for sql in [
            INSERT,
            VISIBLE,
            NEXT_VISIBLE_AT,
            IN_FLIGHT,
            RECEIVE,
            LOOK_UP,
            DELETE,
            SET_VISIBLE_AT,
            COPY_TO_DEAD,
            COPY_FROM_DEAD,
        ] {
            let mut explain = storage
                .connection
                .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
                .unwrap();
            let plan = explain
                .raw_query()
                .mapped(|row| row.get::<_, String>("detail"))
                .collect::<rusqlite::Result<Vec<_>>>()
                .unwrap();
            for step in plan {
                assert!(
                    step.starts_with("SEARCH"),
                    "every step is an index search: {step} in {sql}"
                );
            }
        }
    }
}
