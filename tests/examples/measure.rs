//! Measures the two functions as they are shipped: size, CPU of a cold start, CPU of a warm event, memory.
//!
//! ```text
//! cargo build --release -p webhook && cargo build --release -p consumer
//! cargo run -p billhook-tests --example measure
//! ```
//!
//! The release binaries run as in Lambda, under a Runtime API on loopback, against stand-ins for SQS,
//! Secrets Manager and DynamoDB behind TLS: without TLS the most expensive part of a cold start cannot be seen. The next event is
//! there as soon as the function asks for it, as at a cold start in Lambda.
//!
//! | option | what | default |
//! |---|---|---|
//! | `--functions [NAME=]DIR` | where the binaries are; several are measured by turns, to be compared | `target/release` |
//! | `--only webhook\|consumer` | one of the two | both |
//! | `--cold N` | cold starts of each | 20 |
//! | `--warm N` | warm events of each (the consumer takes them in batches of ten) | 1000 |
//! | `--think-ms N` | how long the stand-ins wait before they answer | 0 |
//! | `--event FILE` | the event | `events/stripe/invoice.updated.json` |
//!
//! CPU is that of all threads of the process, in nanoseconds from `/proc/PID/task/*/schedstat`, so it needs
//! Linux. Compare numbers of one run only: another machine, or another neighbour, gives other ones.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for people at a desk: it prints, and stops where something is wrong"
)]

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, thread};

use billhook_core::envelope::Envelope;
use billhook_core::scope::Source;
use billhook_core::signature::stripe;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// What the stand-in for Secrets Manager gives, too.
const SECRET: &str = "whsec_example";
const BATCH: usize = 10;
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Function {
    Webhook,
    Consumer,
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Consumer => "consumer",
        }
    }

    /// How many events one invocation carries.
    fn events(self) -> usize {
        match self {
            Self::Webhook => 1,
            Self::Consumer => BATCH,
        }
    }

    fn invocation(self, event: &[u8]) -> String {
        match self {
            Self::Webhook => from_api_gateway(event),
            Self::Consumer => from_sqs(event),
        }
    }

    /// The goals: bytes, microseconds of a cold start with its first invocation, microseconds of an event,
    /// kilobytes.
    fn goals(self) -> [Option<u64>; 4] {
        match self {
            Self::Webhook => [Some(6_000_000), Some(5_000), Some(600), Some(10_240)],
            Self::Consumer => [Some(7_000_000), Some(12_000), Some(700), None],
        }
    }
}

fn main() {
    let options = Options::read();
    let downstream = Downstream::start(Duration::from_millis(options.think_ms));
    let event = fs::read(&options.event).unwrap();
    for function in [Function::Webhook, Function::Consumer] {
        if options.only.as_deref().unwrap_or(function.name()) == function.name() {
            measure(function, &options, &downstream, &event);
        }
    }
}

/// What was measured of one process.
struct Run {
    init_us: u64,
    first_us: u64,
    first_wall_us: u64,
    /// None of a process that only started.
    event_us: Option<u64>,
    event_wall_us: u64,
    peak_kb: u64,
    cold_connections: usize,
    connections: usize,
    requests: usize,
}

fn measure(function: Function, options: &Options, downstream: &Downstream, event: &[u8]) {
    let mut runs: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for round in 0..=options.cold {
        for (name, folder) in &options.functions {
            let warm = if round == options.cold {
                options.warm / function.events()
            } else {
                0
            };
            let binary = folder.join(function.name());
            let run = run(function, &binary, downstream, event, warm);
            runs.entry(name).or_default().push(run);
        }
    }
    print_table(function, options, event.len(), &runs);
}

fn print_table(
    function: Function,
    options: &Options,
    event_len: usize,
    runs: &BTreeMap<&str, Vec<Run>>,
) {
    println!(
        "\n{}: medians of {} cold starts, {} warm events of {event_len} bytes\n",
        function.name(),
        options.cold + 1,
        options.warm
    );
    let header = "| | bytes | init CPU µs | first CPU µs | cold CPU µs | first wall µs | CPU µs/event | \
                  wall µs/event | peak KB | connections cold, all | requests |";
    println!("{header}\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (name, folder) in &options.functions {
        let bytes = fs::metadata(folder.join(function.name())).unwrap().len();
        let runs = &runs[name.as_str()];
        let of = |field: fn(&Run) -> u64| median(runs.iter().map(field));
        let last = runs.last().unwrap();
        println!(
            "| {name} | {bytes} | {} | {} | {} | {} | {} | {} | {} | {}, {} | {} |",
            of(|run| run.init_us),
            of(|run| run.first_us),
            of(|run| run.init_us + run.first_us),
            of(|run| run.first_wall_us),
            last.event_us.unwrap_or_default(),
            last.event_wall_us,
            last.peak_kb,
            of(|run| run.cold_connections as u64),
            last.connections,
            last.requests,
        );
    }
    let [bytes, cold, event, peak] = function
        .goals()
        .map(|goal| goal.map_or_else(|| "-".to_owned(), |goal| goal.to_string()));
    println!("| goal | {bytes} | | | {cold} | | {event} | | {peak} | | |");
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// Starts a function, lets it handle its first invocation and then `warm` more.
fn run(
    function: Function,
    binary: &Path,
    downstream: &Downstream,
    event: &[u8],
    warm: usize,
) -> Run {
    let api = RuntimeApi::start();
    let before = downstream.counts();
    let process = Process::start(binary, &api, downstream);
    api.asked(); // The function asks for work: its start is over.
    let init_us = process.cpu_us();
    let started = Instant::now();
    api.invoke(function.invocation(event));
    let first_wall_us = micros(started.elapsed());
    api.asked();
    let cold_us = process.settled_cpu_us();
    let cold = downstream.counts();
    let started = Instant::now();
    for _ in 0..warm {
        api.invoke(function.invocation(event));
        api.asked();
    }
    let wall_us = micros(started.elapsed());
    let warm_us = process.settled_cpu_us() - cold_us;
    let after = downstream.counts();
    let events = (warm * function.events()) as u64;
    Run {
        init_us,
        first_us: cold_us.saturating_sub(init_us),
        first_wall_us,
        event_us: warm_us.checked_div(events),
        event_wall_us: wall_us.checked_div(events).unwrap_or_default(),
        peak_kb: process.peak_kb(),
        cold_connections: cold.0 - before.0,
        connections: after.0 - before.0,
        requests: after.1 - before.1,
    }
}

/// A function under measurement; stopped when dropped.
struct Process(Child);

impl Process {
    fn start(binary: &Path, api: &RuntimeApi, downstream: &Downstream) -> Self {
        let child = Command::new(binary)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", &api.address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "measured")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "none")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "none")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
            .env(
                "AWS_SECRET_ACCESS_KEY",
                "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            )
            .env("AWS_SESSION_TOKEN", "x".repeat(700))
            .env("AWS_ENDPOINT_URL", &downstream.url)
            .env("SSL_CERT_FILE", &downstream.authority)
            .env(
                "QUEUE_URL",
                format!("{}/123456789012/events", downstream.url),
            )
            .env("STRIPE_WEBHOOK_SECRET_ARN", "stripe")
            .env("BEARBILLING_WEBHOOK_SECRET_ARN", "bearbilling")
            .env(
                "AWS_ENDPOINT_URL_SECRETS_MANAGER",
                &downstream.secrets_manager_url,
            )
            .env("EVENTS_TABLE", "events")
            .env("BILLING_TABLE", "billing")
            .env("STRIPE_MODE", "test")
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap_or_else(|error| panic!("{}: {error}", binary.display())))
    }

    fn cpu_us(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let nanoseconds = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        nanoseconds.sum::<u64>() / 1000
    }

    /// The CPU once the process has come to rest: it works on after an answer is sent.
    fn settled_cpu_us(&self) -> u64 {
        let mut cpu = self.cpu_us();
        loop {
            thread::sleep(Duration::from_millis(3));
            match self.cpu_us() {
                same if same == cpu => return cpu,
                more => cpu = more,
            }
        }
    }

    fn peak_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lambda's side: hands out one invocation after the other.
struct RuntimeApi {
    address: String,
    asked: Receiver<()>,
    work: Sender<String>,
    answers: Receiver<String>,
}

impl RuntimeApi {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked_in, asked) = channel();
        let (work, work_out) = channel::<String>();
        let (answers_in, answers) = channel();
        let work_out = Arc::new(Mutex::new(work_out));
        // One thread per connection; all end with the function, which closes its connections.
        thread::spawn(move || {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            let _ = serve_runtime_api(stream, &asked_in, &work_out, &answers_in);
        });
        Self {
            address,
            asked,
            work,
            answers,
        }
    }

    /// Waits until the function asks for work.
    fn asked(&self) {
        self.asked
            .recv_timeout(PATIENCE)
            .expect("the function asks for work");
    }

    /// Hands out an invocation and waits for its answer, which must be a good one.
    fn invoke(&self, invocation: String) {
        self.work.send(invocation).unwrap();
        let answer = self.answers.recv_timeout(PATIENCE).expect("an answer");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let status = answer.get("statusCode").and_then(Value::as_u64);
        let failures = answer.get("batchItemFailures").and_then(Value::as_array);
        let good = status == Some(200) || failures.is_some_and(Vec::is_empty);
        assert!(good, "not a good answer: {answer}");
    }
}

fn serve_runtime_api(
    stream: TcpStream,
    asked: &Sender<()>,
    work: &Mutex<Receiver<String>>,
    answers: &Sender<String>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream)? {
        if request.line.starts_with("GET") {
            let _ = asked.send(());
            let Ok(invocation) = work.lock().unwrap().recv() else {
                return Ok(());
            };
            let deadline = now_ms() + 30_000;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nlambda-runtime-aws-request-id: r\r\n\
                 lambda-runtime-deadline-ms: {deadline}\r\nlambda-runtime-trace-id: Root=1-0-0\r\n\
                 lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:123456789012:function:f\r\n\
                 content-length: {}\r\n\r\n",
                invocation.len()
            );
            stream
                .get_mut()
                .write_all((head + &invocation).as_bytes())?;
        } else {
            let accepted = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
            stream.get_mut().write_all(accepted)?;
            let _ = answers.send(String::from_utf8_lossy(&request.body).into_owned());
        }
    }
    Ok(())
}

/// The stand-ins for SQS and DynamoDB: they take everything.
struct Downstream {
    url: String,
    secrets_manager_url: String,
    /// The file with the certificate of the authority that vouches for them.
    authority: PathBuf,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Downstream {
    fn start(think: Duration) -> Self {
        let (config, authority) = tls();
        let path = env::temp_dir().join(format!("billhook-measure-{}.pem", std::process::id()));
        fs::write(&path, authority).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("https://localhost:{port}");
        // Another host, as in an account: its connection is another one.
        let secrets_manager_url = format!("https://127.0.0.1:{port}");
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(AtomicUsize::new(0));
        let (accepted, taken) = (connections.clone(), requests.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                accepted.fetch_add(1, Ordering::Relaxed);
                let (config, taken) = (config.clone(), taken.clone());
                thread::spawn(move || serve_aws(stream, config, &taken, think));
            }
        });
        Self {
            url,
            secrets_manager_url,
            authority: path,
            connections,
            requests,
        }
    }

    fn counts(&self) -> (usize, usize) {
        (
            self.connections.load(Ordering::Relaxed),
            self.requests.load(Ordering::Relaxed),
        )
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.authority);
    }
}

fn serve_aws(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    requests: &AtomicUsize,
    think: Duration,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    while let Some(request) = read_request(&mut stream)? {
        requests.fetch_add(1, Ordering::Relaxed);
        thread::sleep(think);
        let answer = match request.target.as_deref() {
            Some("secretsmanager.GetSecretValue") => r#"{"SecretString":"whsec_example"}"#,
            Some("AmazonSQS.SendMessage") => r#"{"MessageId":"1","MD5OfMessageBody":"0"}"#,
            Some(_) => "{}",
            None => "healthy",
        };
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\nx-amzn-requestid: r\r\n";
        let response = format!("{head}content-length: {}\r\n\r\n{answer}", answer.len());
        stream.get_mut().write_all(response.as_bytes())?;
    }
    Ok(())
}

/// A server's TLS configuration, and the certificate of the authority that was made up for it.
fn tls() -> (Arc<ServerConfig>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params =
        CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![certificate.der().clone()];
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
    (Arc::new(config.unwrap()), authority)
}

/// An HTTP request, as far as the stand-ins look at it.
struct Request {
    line: String,
    /// The header `x-amz-target`.
    target: Option<String>,
    body: Vec<u8>,
}

/// Reads a request; none where the client is done.
fn read_request(stream: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut read_line = || {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        Ok::<_, io::Error>(line.trim_end().to_owned())
    };
    let line = read_line()?;
    if line.is_empty() {
        return Ok(None);
    }
    let (mut target, mut length) = (None, 0);
    loop {
        let header = read_line()?;
        let Some((name, value)) = header.split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "x-amz-target" => target = Some(value.trim().to_owned()),
            "content-length" => length = value.trim().parse().unwrap(),
            "transfer-encoding" => panic!("chunked bodies are not read here"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(Request { line, target, body }))
}

/// The event as an HTTP API hands it to the webhook function, freshly signed.
fn from_api_gateway(event: &[u8]) -> String {
    let signature = stripe::sign(event, SECRET, now_ms() / 1000);
    let request = json!({
        "version": "2.0",
        "routeKey": "POST /webhooks/stripe",
        "rawPath": "/webhooks/stripe",
        "rawQueryString": "",
        "headers": {
            "accept": "*/*; q=0.5, application/xml",
            "cache-control": "no-cache",
            "content-length": event.len().to_string(),
            "content-type": "application/json; charset=utf-8",
            "host": "kq3vn81xyz.execute-api.us-east-1.amazonaws.com",
            "stripe-signature": signature,
            "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "x-amzn-trace-id": "Root=1-6ae8545f-2e15cda10c88fddc52aac87d",
            "x-forwarded-for": "3.18.12.63",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "kq3vn81xyz",
            "domainName": "kq3vn81xyz.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "kq3vn81xyz",
            "http": {
                "method": "POST",
                "path": "/webhooks/stripe",
                "protocol": "HTTP/1.1",
                "sourceIp": "3.18.12.63",
                "userAgent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            },
            "requestId": "WoR1jMfj0tsRtX7=",
            "routeKey": "POST /webhooks/stripe",
            "stage": "$default",
            "time": "02/Nov/2026:09:14:07 +0000",
            "timeEpoch": 1_793_610_847_318_u64,
        },
        "body": String::from_utf8_lossy(event),
        "isBase64Encoded": false,
    });
    request.to_string()
}

/// A batch of ten of the event, as SQS hands it to the consumer.
fn from_sqs(event: &[u8]) -> String {
    let envelope = Envelope {
        source: Source::Stripe,
        received_at_ms: now_ms(),
        body: event.to_vec(),
    };
    let body = envelope.encode();
    let record = |number: usize| {
        let text = |text: &str| json!({"stringValue": text, "dataType": "String", "stringListValues": [], "binaryListValues": []});
        json!({
            "messageId": format!("4606bcea-f1a3-471e-82d6-f15d2181050{number}"),
            "receiptHandle": "x".repeat(180),
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": now_ms().to_string(),
                "SenderId": "AROAEXAMPLE:webhook",
                "ApproximateFirstReceiveTimestamp": now_ms().to_string(),
                "MessageGroupId": "cus_1",
            },
            "messageAttributes": {"event_id": text("evt_1"), "event_type": text("invoice.updated"), "livemode": text("false")},
            "md5OfBody": "0123456789abcdef0123456789abcdef",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:events",
            "awsRegion": "us-east-1",
        })
    };
    let records: Vec<Value> = (0..BATCH).map(record).collect();
    json!({ "Records": records }).to_string()
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

struct Options {
    functions: Vec<(String, PathBuf)>,
    only: Option<String>,
    cold: usize,
    warm: usize,
    think_ms: u64,
    event: PathBuf,
}

impl Options {
    fn read() -> Self {
        let mut options = Self {
            functions: Vec::new(),
            only: None,
            cold: 20,
            warm: 1000,
            think_ms: 0,
            event: "events/stripe/invoice.updated.json".into(),
        };
        let mut arguments = env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments
                .next()
                .unwrap_or_else(|| panic!("{name} needs a value"));
            match name.as_str() {
                "--functions" => {
                    let (name, folder) = value.split_once('=').unwrap_or((&value, &value));
                    options.functions.push((name.to_owned(), folder.into()));
                }
                "--only" => options.only = Some(value),
                "--cold" => options.cold = value.parse().unwrap(),
                "--warm" => options.warm = value.parse().unwrap(),
                "--think-ms" => options.think_ms = value.parse().unwrap(),
                "--event" => options.event = value.into(),
                other => panic!("{other} is no option; see the top of tests/examples/measure.rs"),
            }
        }
        if options.functions.is_empty() {
            let folder = "target/release";
            options.functions.push((folder.to_owned(), folder.into()));
        }
        options
    }
}
