//! Whatever invokes the webhook function becomes a request, and nothing in it panics.
#![no_main]

use billhook_core::log::{Level, Line, Log};
use lambda_http::Request;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use webhook::headers::request_of;

fuzz_target!(|payload: &str| {
    if let Ok(payload) = serde_json::from_str::<Box<RawValue>>(payload) {
        let log = Log::new(Level::Error, |_: &Line| {});
        let _ = Request::from(request_of(&payload, &log));
    }
});
