//! A small Lambda Runtime API on 127.0.0.1, which runs a built function as Lambda runs it.
//!
//! The function is a child process that gets nothing but the environment that Lambda gives it. It asks for its
//! next invocation and posts its answer
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>). Unlike Lambda, nothing here freezes a
//! function between two invocations.

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, body::Bytes};
use billhook_aws::process::unix_ms;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::process::Process;

/// The time that a function gets where a test does not say: the webhook function's timeout.
pub const INVOCATION: Duration = Duration::from_secs(10);

/// A function that runs under a Runtime API of its own. It is killed when this is dropped.
pub struct Function {
    /// The process.
    pub process: Process,
    api: Arc<Api>,
    next_id: AtomicU64,
    server: JoinHandle<()>,
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The function's answer.
    Response(Value),
    /// The function reported that it failed.
    Error(Value),
    /// The function did not answer before its deadline: Lambda would have killed it.
    TimedOut,
}

impl Answer {
    /// The function's answer.
    ///
    /// # Panics
    ///
    /// Where it gave none.
    #[must_use]
    pub fn response(self) -> Value {
        match self {
            Self::Response(value) => value,
            Self::Error(_) | Self::TimedOut => panic!("the function gave no answer: {self:?}"),
        }
    }
}

struct Invocation {
    id: String,
    deadline_ms: i64,
    payload: Vec<u8>,
}

struct Api {
    arn: String,
    send: mpsc::UnboundedSender<Invocation>,
    queue: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    waiting: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
}

impl Function {
    /// Starts a built function with the variables that Lambda sets and `variables` on top of them.
    ///
    /// # Panics
    ///
    /// Where there is no port or no such program.
    pub async fn start(binary: &Path, variables: &[(&str, &str)]) -> Self {
        let name = binary.file_stem().unwrap_or_default().to_string_lossy();
        let (send, queue) = mpsc::unbounded_channel();
        let api = Arc::new(Api {
            arn: format!("arn:aws:lambda:us-east-1:123456789012:function:{name}"),
            send,
            queue: tokio::sync::Mutex::new(queue),
            waiting: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port").to_string();
        let router = router(api.clone());
        let server = tokio::spawn(async move {
            // It serves until it is aborted.
            let _ = axum::serve(listener, router).await;
        });
        let mut command = Command::new(binary);
        command
            .env_clear()
            .envs(lambda_variables(&name, &address))
            .envs(variables.iter().copied());
        let process = Process::start(command)
            .unwrap_or_else(|error| panic!("{} does not start: {error}", binary.display()));
        Self {
            process,
            api,
            next_id: AtomicU64::new(1),
            server,
        }
    }

    /// The most memory that the process has had, in KB.
    ///
    /// # Panics
    ///
    /// Where the system does not tell.
    #[must_use]
    pub fn peak_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("a running process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("a peak in KB")
    }

    /// Invokes the function with a payload, and [`INVOCATION`] as its time.
    pub async fn invoke(&self, payload: &Value) -> Answer {
        self.invoke_within(payload, INVOCATION).await
    }

    /// Invokes the function with a payload. It is told to be done within `time`, and not waited for any longer.
    pub async fn invoke_within(&self, payload: &Value, time: Duration) -> Answer {
        self.invoke_with_deadline(payload, time, time).await
    }

    /// Invokes the function with a payload and tells it that `told` is left; waits as long as `waited`.
    ///
    /// # Panics
    ///
    /// Where this side of the Runtime API is broken.
    pub async fn invoke_with_deadline(
        &self,
        payload: &Value,
        told: Duration,
        waited: Duration,
    ) -> Answer {
        let id = format!(
            "8476a536-e9f4-11e8-9739-{:012}",
            self.next_id.fetch_add(1, Ordering::Relaxed)
        );
        let (sender, answer) = oneshot::channel();
        self.api.waiting().insert(id.clone(), sender);
        let told_ms = i64::try_from(told.as_millis()).unwrap_or(i64::MAX);
        let invocation = Invocation {
            id: id.clone(),
            deadline_ms: unix_ms().saturating_add(told_ms),
            payload: payload.to_string().into_bytes(),
        };
        self.api
            .send
            .send(invocation)
            .expect("the Runtime API keeps its queue");
        match tokio::time::timeout(waited, answer).await {
            Ok(answer) => answer.expect("nobody drops a waiting invocation"),
            Err(_elapsed) => {
                self.api.waiting().remove(&id);
                Answer::TimedOut
            }
        }
    }

    /// Waits until the function ends by itself, which one that works never does.
    pub async fn exit(&mut self) -> ExitStatus {
        self.process.exit().await
    }

    /// Ends the function and returns every line it wrote.
    pub async fn stop(self) -> Vec<String> {
        let Self {
            process, server, ..
        } = self;
        let lines = process.stop().await;
        server.abort();
        lines
    }
}

impl Api {
    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, id: &str, answer: Answer) -> StatusCode {
        match self.waiting().remove(id) {
            Some(waiting) => {
                // The test may have stopped waiting.
                let _ = waiting.send(answer);
                StatusCode::ACCEPTED
            }
            None => StatusCode::FORBIDDEN,
        }
    }
}

fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route(
            "/2018-06-01/runtime/invocation/{id}/response",
            post(response),
        )
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .layer(DefaultBodyLimit::disable())
        .with_state(api)
}

async fn next(State(api): State<Arc<Api>>) -> Response {
    let Some(invocation) = api.queue.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", invocation.id),
        (
            "lambda-runtime-deadline-ms",
            invocation.deadline_ms.to_string(),
        ),
        ("lambda-runtime-invoked-function-arn", api.arn.clone()),
        (
            "lambda-runtime-trace-id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0".to_owned(),
        ),
    ];
    (headers, invocation.payload).into_response()
}

async fn response(
    State(api): State<Arc<Api>>,
    UrlPath(id): UrlPath<String>,
    body: Bytes,
) -> StatusCode {
    api.settle(&id, Answer::Response(json(&body)))
}

async fn error(
    State(api): State<Arc<Api>>,
    UrlPath(id): UrlPath<String>,
    body: Bytes,
) -> StatusCode {
    api.settle(&id, Answer::Error(json(&body)))
}

async fn init_error() -> StatusCode {
    StatusCode::ACCEPTED
}

/// The body as JSON; of something else, its text.
fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}

/// What Lambda sets (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>).
fn lambda_variables(name: &str, runtime_api: &str) -> Vec<(&'static str, String)> {
    let fixed = [
        ("_HANDLER", "bootstrap"),
        ("_X_AMZN_TRACE_ID", ""),
        ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        (
            "AWS_LAMBDA_LOG_STREAM_NAME",
            "2026/11/22/[$LATEST]0123456789abcdef",
        ),
        ("AWS_REGION", "us-east-1"),
        ("AWS_SECRET_ACCESS_KEY", "secretexample"),
        ("AWS_SESSION_TOKEN", "sessionexample"),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LANG", "en_US.UTF-8"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin"),
        ("TZ", ":UTC"),
    ];
    let mut variables = fixed.map(|(name, value)| (name, value.to_owned())).to_vec();
    variables.push(("AWS_LAMBDA_FUNCTION_NAME", name.to_owned()));
    variables.push(("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")));
    variables.push(("AWS_LAMBDA_RUNTIME_API", runtime_api.to_owned()));
    variables
}
