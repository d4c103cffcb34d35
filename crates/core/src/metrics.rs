//! What the functions count, as CloudWatch reads it out of a log: the embedded metric format
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
//!
//! A line of metrics is apart from the lines of the log, and holds numbers and fixed words only. A log line never
//! has the member `_aws` at its top, whatever came with a request, so nothing in a payload can become a metric.
//! There is no dimension for a customer or an event type: each value of a dimension is a metric that is paid for.
//! What AWS counts already is not counted here: what was enqueued is SQS's `NumberOfMessagesSent`.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::time::rfc3339_ms;

/// All metrics are in this name space.
pub const NAMESPACE: &str = "billhook";

/// CloudWatch takes no more values of one metric in a line.
const VALUES_MAX: usize = 100;

/// Something that is counted or measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    name: &'static str,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Count,
    Seconds,
}

/// Webhook: deliveries that were refused with 4xx, and for want of a usable secret; also by [`REASON`].
pub const REFUSED: Metric = Metric::count("Refused");
/// Webhook: those of them that came from an address of Stripe's, which no stranger can send from; also by [`REASON`].
pub const REFUSED_FROM_STRIPE: Metric = Metric::count("RefusedFromStripe");
/// Webhook: verified deliveries of Stripe's that came from an address which is not on the list.
pub const ADDRESS_NOT_LISTED: Metric = Metric::count("AddressNotListed");
/// Webhook: verified deliveries that the queue did not take.
pub const ENQUEUE_FAILURES: Metric = Metric::count("EnqueueFailures");
/// Webhook: deliveries that no secret but an old one matched, though there is a newer one.
pub const OLD_SECRET_ONLY: Metric = Metric::count("OldSecretOnly");
/// Webhook: attempts to read a signing secret that failed, or found it unusable.
pub const SECRET_REFRESH_FAILURES: Metric = Metric::count("SecretRefreshFailures");
/// Consumer: events that are in the state now and were not before.
pub const APPLIED: Metric = Metric::count("Applied");
/// Consumer: deliveries of events that were done already.
pub const DUPLICATE: Metric = Metric::count("Duplicate");
/// Consumer: events that came after later ones.
pub const STALE: Metric = Metric::count("Stale");
/// Consumer: events that were deliberately left out.
pub const IGNORED: Metric = Metric::count("Ignored");
/// Consumer: events that could not be used and wait in the ledger.
pub const PARKED: Metric = Metric::count("Parked");
/// Consumer: deliveries that failed and come again.
pub const RETRY: Metric = Metric::count("Retry");
/// Consumer: Stripe's events of this stack's mode that were applied, stale or duplicates, by whichever way they came: the sign that
/// Stripe reaches this stack.
pub const STRIPE_EVENTS: Metric = Metric::count("StripeEvents");
/// Consumer: events of the other mode, which were ignored.
pub const OTHER_MODE: Metric = Metric::count("OtherMode");
/// Consumer: rows whose state only a look at the object can tell, a minute after their events.
pub const NEEDS_REFETCH: Metric = Metric::count("NeedsRefetch");
/// Consumer: looks at an object that failed; also by [`REASON`].
pub const REFETCH_FAILED: Metric = Metric::count("RefetchFailed");
/// Consumer: from an event's creation at its source until it was applied.
pub const LAG_SECS: Metric = Metric::seconds("LagSecs");
/// Access: customers who were announced to have access now.
pub const ACCESS_GRANTED: Metric = Metric::count("AccessGranted");
/// Access: customers who were announced to have no access any more.
pub const ACCESS_REVOKED: Metric = Metric::count("AccessRevoked");
/// Access: customers whose access was announced to rest on something else now.
pub const ACCESS_CHANGED: Metric = Metric::count("AccessChanged");

/// The dimension of some metrics that says why.
pub const REASON: &str = "Reason";

/// The metrics that are counted by [`REASON`] as well.
const BY_REASON: [Metric; 3] = [REFUSED, REFUSED_FROM_STRIPE, REFETCH_FAILED];

/// The dimension of every metric: the stack.
const STACK: &str = "Stack";

impl Metric {
    /// Something that is counted.
    #[must_use]
    pub const fn count(name: &'static str) -> Self {
        Self {
            name,
            unit: Unit::Count,
        }
    }

    /// Something that is measured in seconds. Every single value is kept, for percentiles.
    #[must_use]
    pub const fn seconds(name: &'static str) -> Self {
        Self {
            name,
            unit: Unit::Seconds,
        }
    }
}

/// What an invocation counted and measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    values: Vec<(Metric, Vec<i64>)>,
    reason: Option<&'static str>,
}

impl Measured {
    /// Counts one more.
    pub fn count(&mut self, metric: Metric) {
        self.add(metric, 1);
    }

    fn add(&mut self, metric: Metric, number: i64) {
        match self.values.iter_mut().find(|(known, _)| *known == metric) {
            Some((_, values)) => values[0] += number,
            None => self.values.push((metric, vec![number])),
        }
    }

    /// Counts one more for this reason, one of a fixed set. A line has one reason.
    pub fn count_for(&mut self, metric: Metric, reason: &'static str) {
        self.add_for(metric, reason, 1);
    }

    /// Counts so many more for this reason, see [`count_for`](Self::count_for).
    pub fn add_for(&mut self, metric: Metric, reason: &'static str, number: i64) {
        self.add(metric, number);
        self.reason = Some(reason);
    }

    /// Notes a measured value, in the metric's unit.
    pub fn measure(&mut self, metric: Metric, value: i64) {
        match self.values.iter_mut().find(|(known, _)| *known == metric) {
            Some((_, values)) if values.len() < VALUES_MAX => values.push(value),
            // A percentile of the first hundred is one of all.
            Some(_) => {}
            None => self.values.push((metric, vec![value])),
        }
    }
}

/// Where measured values go: to CloudWatch, by a line of log, or nowhere.
#[derive(Clone)]
pub struct Metrics {
    stack: Option<String>,
    write: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Metrics {
    /// Metrics of a stack, a line of which goes to `write`. Without a stack there are none: nobody reads them.
    #[must_use]
    pub fn new(stack: Option<String>, write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            stack,
            write: Arc::new(write),
        }
    }

    /// No metrics.
    #[must_use]
    pub fn none() -> Self {
        Self::new(None, |_| {})
    }

    /// Writes what was measured, if it was anything. `now_ms` is in Unix milliseconds.
    pub fn write(&self, measured: &Measured, now_ms: i64) {
        if let Some(stack) = &self.stack
            && !measured.values.is_empty()
        {
            (self.write)(&line(measured, stack, now_ms));
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("stack", &self.stack)
            .finish_non_exhaustive()
    }
}

fn line(measured: &Measured, stack: &str, now_ms: i64) -> String {
    let mut line = Map::new();
    let (by_reason, plain): (Vec<_>, Vec<_>) = measured
        .values
        .iter()
        .map(|(metric, _)| metric)
        .partition(|metric| BY_REASON.contains(metric) && measured.reason.is_some());
    let directives = [
        directive(&plain, json!([[STACK]])),
        directive(&by_reason, json!([[STACK], [STACK, REASON]])),
    ];
    let directives: Vec<Value> = directives.into_iter().flatten().collect();
    let about = json!({"Timestamp": now_ms, "CloudWatchMetrics": directives});
    line.insert("_aws".to_owned(), about);
    if let Some(at) = rfc3339_ms(now_ms) {
        line.insert("timestamp".to_owned(), at.into());
    }
    line.insert(STACK.to_owned(), stack.into());
    if let Some(reason) = measured.reason {
        line.insert(REASON.to_owned(), reason.into());
    }
    for (metric, values) in &measured.values {
        let value = match values.as_slice() {
            [one] => json!(one),
            many => json!(many),
        };
        line.insert(metric.name.to_owned(), value);
    }
    Value::Object(line).to_string()
}

fn directive(metrics: &[&Metric], dimensions: Value) -> Option<Value> {
    let metrics: Vec<Value> = metrics
        .iter()
        .map(|metric| match metric.unit {
            Unit::Count => json!({"Name": metric.name, "Unit": "Count"}),
            Unit::Seconds => json!({"Name": metric.name, "Unit": "Seconds"}),
        })
        .collect();
    (!metrics.is_empty())
        .then(|| json!({"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": metrics}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn written(stack: Option<&str>, measured: &Measured) -> Vec<Value> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let metrics = Metrics::new(stack.map(str::to_owned), move |line: &str| {
            let line = serde_json::from_str(line).expect("JSON");
            sink.lock().expect("no panic").push(line);
        });
        metrics.write(measured, 1_794_219_385_000);
        lines.lock().expect("no panic").clone()
    }

    #[test]
    fn a_line_names_each_metric_once_and_holds_its_values() {
        let mut measured = Measured::default();
        for secs in [3, 5] {
            measured.count(APPLIED);
            measured.measure(LAG_SECS, secs);
        }
        measured.count(STALE);
        let expected = json!({
            "_aws": {"Timestamp": 1_794_219_385_000_i64, "CloudWatchMetrics": [{
                "Namespace": "billhook",
                "Dimensions": [["Stack"]],
                "Metrics": [
                    {"Name": "Applied", "Unit": "Count"},
                    {"Name": "LagSecs", "Unit": "Seconds"},
                    {"Name": "Stale", "Unit": "Count"},
                ],
            }]},
            "timestamp": "2026-11-09T10:16:25.000Z",
            "Stack": "billhook-live",
            "Applied": 2,
            "LagSecs": [3, 5],
            "Stale": 1,
        });
        assert_eq!(written(Some("billhook-live"), &measured), [expected]);
    }

    #[test]
    fn a_refusal_is_counted_in_all_and_by_its_reason() {
        let mut measured = Measured::default();
        measured.count_for(REFUSED, "signature_mismatch");
        measured.count(SECRET_REFRESH_FAILURES);
        let lines = written(Some("s"), &measured);
        let directives = &lines[0]["_aws"]["CloudWatchMetrics"];
        assert_eq!(directives[0]["Dimensions"], json!([["Stack"]]));
        assert_eq!(directives[0]["Metrics"][0]["Name"], "SecretRefreshFailures");
        let dimensions = json!([["Stack"], ["Stack", "Reason"]]);
        assert_eq!(directives[1]["Dimensions"], dimensions);
        assert_eq!(directives[1]["Metrics"][0]["Name"], "Refused");
        assert_eq!(lines[0]["Reason"], "signature_mismatch");
    }

    #[test]
    fn without_a_stack_or_a_value_nothing_is_written() {
        let mut measured = Measured::default();
        assert!(written(Some("s"), &measured).is_empty());
        measured.count(APPLIED);
        assert!(written(None, &measured).is_empty());
    }

    #[test]
    fn a_line_holds_no_more_values_than_cloudwatch_takes() {
        let mut measured = Measured::default();
        for secs in 0..1_000 {
            measured.measure(LAG_SECS, secs);
        }
        let lines = written(Some("s"), &measured);
        assert_eq!(
            lines[0]["LagSecs"].as_array().map(Vec::len),
            Some(VALUES_MAX)
        );
    }
}
