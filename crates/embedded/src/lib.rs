//! crates/embedded
