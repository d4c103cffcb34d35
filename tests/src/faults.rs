//! Faults at the store's I/O calls: an HTTP client for the SDK that fails on command.
//!
//! A call can fail in three ways that a caller must survive: it was never sent; it took effect and the answer
//! was lost; it took effect and the caller is gone. What fails is said by a [rule](Faults::when), which sees
//! each call's number and operation, so a test can put a fault at every single call of a delivery.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;

use crate::between::{self, Between};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not sent: nothing happened, and the caller is told.
    NotSent,
    /// It takes effect, and the caller is told that there was no answer.
    AnswerLost,
    /// It is not sent, and the caller is gone: it panics.
    CrashBefore,
    /// It takes effect, and the caller is gone: it panics.
    CrashAfter,
}

/// A call that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The number of the call since the rule was set, from 0.
    pub number: usize,
    /// The operation, for instance `UpdateItem`.
    pub operation: String,
    /// What is sent, as text.
    pub request: String,
}

type Rule = Box<dyn FnMut(&Call) -> Option<Fault> + Send>;

/// What goes wrong, and what was called. Clones share both.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Course>>);

#[derive(Default)]
struct Course {
    rule: Option<Rule>,
    calls: Vec<Call>,
    injected: usize,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faults")
    }
}

impl Faults {
    /// From now on calls fail as `rule` says; the numbers begin anew.
    pub fn when(&self, rule: impl FnMut(&Call) -> Option<Fault> + Send + 'static) {
        *self.course() = Course {
            rule: Some(Box::new(rule)),
            ..Course::default()
        };
    }

    /// From now on the call of this number fails, and no other one.
    pub fn at(&self, number: usize, fault: Fault) {
        self.when(move |call| (call.number == number).then_some(fault));
    }

    /// From now on nothing fails; the numbers begin anew.
    pub fn none(&self) {
        *self.course() = Course::default();
    }

    /// What was called since the rule was set.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.course().calls.clone()
    }

    /// How many calls were made to fail since the rule was set.
    #[must_use]
    pub fn injected(&self) -> usize {
        self.course().injected
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, request: &HttpRequest) -> Option<Fault> {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let bytes = request.body().bytes().unwrap_or_default();
        let mut course = self.course();
        let call = Call {
            number: course.calls.len(),
            operation,
            request: String::from_utf8_lossy(bytes).into_owned(),
        };
        let fault = course.rule.as_mut().and_then(|rule| rule(&call));
        course.calls.push(call);
        course.injected += usize::from(fault.is_some());
        fault
    }

    /// A client of the DynamoDB at this endpoint whose calls fail as is said here. It does not retry, so
    /// that each call is one of the caller's.
    #[must_use]
    pub fn client(&self, endpoint: &str) -> Client {
        between::client(endpoint, self.clone())
    }
}

impl Between for Faults {
    fn call(&self, request: HttpRequest, on: &SharedHttpConnector) -> HttpConnectorFuture {
        let Some(fault) = self.next(&request) else {
            return on.call(request);
        };
        let on = on.clone();
        HttpConnectorFuture::new(async move {
            if matches!(fault, Fault::AnswerLost | Fault::CrashAfter) {
                on.call(request).await?;
            }
            if matches!(fault, Fault::CrashBefore | Fault::CrashAfter) {
                // No panic hook is asked, so the test's output stays readable.
                std::panic::resume_unwind(Box::new("a crash, on purpose"));
            }
            Err(ConnectorError::io("a fault, on purpose".into()))
        })
    }
}
