//! What the whole-system tests stand on: the stack in process, and the real binaries with the endpoints they talk to,
//! on 127.0.0.1.
//!
//! | module | what |
//! |---|---|
//! | [`harness`] | the stack and its parts, sample events and lives, comparing states |
//! | [`faults`] | faults at the store's I/O calls |
//! | [`turns`] | deliveries at once, in every order of their I/O calls |
//! | [`lag`] | an index that is behind its table |
//! | [`dynamodb_local`] | the official DynamoDB Local, where it is installed |
//! | [`program`] | the program `billhook dev` as a process that can be killed |
//! | [`process`] | a child process whose output is read line by line |
//! | [`runtime_api`] | a small Lambda Runtime API that runs a built function |
//! | [`functions`] | where the built functions are |
//! | [`sqs_endpoint`] | an SQS that takes messages, or fails as it is told |
//! | [`events_endpoint`] | an EventBridge that takes events, or fails as it is told |
//! | [`billing_stream`] | the billing table's stream, filtered as the template says |
//! | [`secrets_endpoint`] | a Secrets Manager that gives a secret, or fails as it is told |
//! | [`requests`] | requests as API Gateway, a function URL and a load balancer hand them over |
//! | [`batches`] | messages as Lambda's event source mapping hands them over |
//! | [`turns`] | deliveries at once whose I/O calls wait for their turns |
//! | [`tools`] | what is installed beside cargo, and what to do without it |

pub mod batches;
mod between;
pub mod billing_stream;
pub mod dynamodb_local;
mod endpoint;
pub mod events_endpoint;
pub mod faults;
pub mod functions;
pub mod harness;
pub mod lag;
pub mod process;
pub mod program;
pub mod requests;
pub mod runtime_api;
pub mod secrets_endpoint;
pub mod sqs_endpoint;
pub mod tools;
pub mod turns;
