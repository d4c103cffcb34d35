//! The pure core of billhook: who may write, what an event means, what it changes.
//!
//! No async, no AWS, no clock, no environment: `now` is a value, and a lint (`clippy.toml`) keeps it so.
//! Everything that must be right is here and is tested without a network.
//!
//! In reading order, which is the way of an event:
//!
//! | module | question |
//! |---|---|
//! | [`signature`] | Did the source sign these bytes? |
//! | [`head`] | What is the event called, and whom is it about? |
//! | [`envelope`] | How does it travel through the queue? |
//! | [`event`] | What does it say? |
//! | [`objects`] | What does an object in it look like, in whatever API version? |
//! | [`order`] | Which of two snapshots is the later one? |
//! | [`decide`] | Which row changes, and under which guard? |
//! | [`row`], [`ledger`] | What is stored? |
//! | [`state`], [`access`] | What has the customer paid for? |
//! | [`announce`] | Is that other than what the product was told? |
//!
//! Beside the way: [`config`] reads variables, [`log`] and [`metrics`] make lines, [`time`], [`token`] and
//! [`scope`] are used by all.

pub mod access;
pub mod announce;
pub mod config;
pub mod decide;
pub mod envelope;
pub mod event;
mod fields;
pub mod head;
mod json;
pub mod ledger;
pub mod log;
pub mod metrics;
mod money;
pub mod objects;
pub mod order;
pub mod row;
pub mod scope;
pub mod signature;
pub mod state;
pub mod time;
pub mod token;
