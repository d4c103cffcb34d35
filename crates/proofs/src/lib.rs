//! Evidence that order does not matter.
//!
//! The rules of `billhook-core` promise that any order of events, with any duplicates and a crash at any point, ends in
//! the state that delivery in order and exactly once gives. This package does nothing but look for a counterexample,
//! in ways that share as little as possible:
//!
//! | what | how |
//! |---|---|
//! | `tests/orders.rs` | the whole lives in `events/lives`: every order of every slice, every order of every object, and thousands of shuffles |
//! | `tests/shapes.rs` | one life told in the shapes of six API versions |
//! | `tests/generated.rs` | lives that a small Stripe account makes up, which also knows how they end |
//! | `tests/model.rs` | a model checker: every interleaving of two consumers, every crash ([`write_model`], [`link_model`]) |
//! | `tests/peers.rs` | how other projects' write rules do on short histories ([`peers`], printed by the program `peers`) |
//!
//! Nothing here opens a socket or reads a clock.

pub mod account;
pub mod link_model;
pub mod lives;
pub mod orders;
pub mod peers;
pub mod previous;
pub mod write_model;
