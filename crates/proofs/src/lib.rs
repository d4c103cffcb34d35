//! Evidence that order does not matter.
//!
//! The rules of `billhook-core` promise that any order of events, with any duplicates and a crash at any point, ends in
//! the state that delivery in order and exactly once gives. This package does nothing but look for a counterexample,
//! in ways that share as little as possible:
//!
//! | what | how |
//! |---|---|
//! | `tests/orders.rs` | the whole lives in `events/lives`: every order of every slice, every order of every object, and thousands of shuffles |
//! | `tests/peers.rs` | how other projects' write rules do on short histories ([`peers`], printed by the program `peers`) |
//!
//! Nothing here opens a socket or reads a clock.

pub mod account;
pub mod lives;
pub mod orders;
pub mod peers;
