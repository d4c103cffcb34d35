//! The whole stack in one process, for development, demonstration and tests.
//!
//! Requests come over HTTP on 127.0.0.1, go through the webhook function's own handler into an in-process
//! queue, from there in batches through the consumer function's own handler into an embedded DynamoDB, which
//! is spoken to by the real SDK over its real protocol. Only the queue is ours.
//!
//! | module | what |
//! |---|---|
//! | [`stack`] | everything put together |
//! | [`server`] | the HTTP side: webhooks, `/customers/{id}`, `/status` |
//! | [`queue`] | the in-process queue, also the chaos tool of the tests |
//! | [`dynamodb`] | the embedded DynamoDB |

pub mod dynamodb;
pub mod queue;
pub mod server;
pub mod stack;
