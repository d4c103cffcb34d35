//! What a payload says of a request, put right before the library makes a request of it.
//!
//! REST APIs and load balancers hand over each header twice: all its values, and the last one alone. The library
//! that makes a request of the two lets the last one replace all; a signature header that came twice would lose
//! its first half.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use billhook_core::log::{Level, Line, Log};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::aws_lambda_events::query_map::QueryMap;
use lambda_http::http::header::HOST;
use lambda_http::http::{HeaderMap, HeaderValue};
use lambda_http::request::LambdaRequest;
use serde_json::value::RawValue;

/// The request that a payload brings. One that is none, such as what keeps functions warm, is a request for no path of ours:
/// it is answered, and no error of the function.
#[must_use]
pub fn request_of(payload: &RawValue, log: &Log) -> LambdaRequest {
    let request = serde_json::from_str(payload.get());
    let request = request.unwrap_or_else(|_| {
        log.write(&Line::new(Level::Info, "the payload is no HTTP request"));
        LambdaRequest::ApiGatewayV2(ApiGatewayV2httpRequest::default())
    });
    drop_false_encoding(keep_to_what_is_used(keep_every_value(request)))
}

/// The same payload, such that no value of a header is lost when it becomes a request.
#[must_use]
pub fn keep_every_value(mut payload: LambdaRequest) -> LambdaRequest {
    match &mut payload {
        LambdaRequest::ApiGatewayV1(request) => {
            prefer(&request.multi_value_headers, &mut request.headers);
        }
        LambdaRequest::Alb(request) => prefer(&request.multi_value_headers, &mut request.headers),
        // Headers that came twice are joined by commas there, or do not come this way at all.
        _ => {}
    }
    payload
}

/// The header that says that a body calls itself base64 and is none. Whoever sends it says no more of their own body.
pub const BAD_BASE64: &str = "x-billhook-bad-base64";

/// The same payload, such that a body that calls itself base64 and is none is left out and said to be so: the library would
/// panic on it. No gateway makes such a payload.
#[must_use]
pub fn drop_false_encoding(mut payload: LambdaRequest) -> LambdaRequest {
    let (encoded, body, headers) = match &mut payload {
        LambdaRequest::ApiGatewayV1(it) => (it.is_base64_encoded, &mut it.body, &mut it.headers),
        LambdaRequest::ApiGatewayV2(it) => (it.is_base64_encoded, &mut it.body, &mut it.headers),
        LambdaRequest::Alb(it) => (it.is_base64_encoded, &mut it.body, &mut it.headers),
        _ => return payload,
    };
    let is_bad = encoded
        && body
            .take_if(|body| STANDARD.decode(body).is_err())
            .is_some();
    if is_bad {
        headers.insert(BAD_BASE64, HeaderValue::from_static("true"));
    }
    payload
}

/// The same payload without what the function does not use: query, host, scheme, cookies, and a path that is too long or
/// odd to be one of ours. The library makes a URL of them and panics where that is none; a load balancer hands over a
/// client's `Host` as it came.
#[must_use]
pub fn keep_to_what_is_used(mut payload: LambdaRequest) -> LambdaRequest {
    let (path, headers) = match &mut payload {
        LambdaRequest::ApiGatewayV1(request) => {
            request.query_string_parameters = QueryMap::default();
            request.multi_value_query_string_parameters = QueryMap::default();
            request.request_context.domain_name = None;
            plain_stage(&mut request.request_context.stage);
            drop_place(&mut request.multi_value_headers);
            (&mut request.path, &mut request.headers)
        }
        LambdaRequest::ApiGatewayV2(request) => {
            request.raw_query_string = None;
            request.query_string_parameters = QueryMap::default();
            request.cookies = None;
            request.request_context.domain_name = None;
            plain_stage(&mut request.request_context.stage);
            (&mut request.raw_path, &mut request.headers)
        }
        LambdaRequest::Alb(request) => {
            request.query_string_parameters = QueryMap::default();
            request.multi_value_query_string_parameters = QueryMap::default();
            drop_place(&mut request.multi_value_headers);
            (&mut request.path, &mut request.headers)
        }
        _ => return payload,
    };
    drop_place(headers);
    path.get_or_insert_default();
    path.take_if(|path| !is_plain_path(path));
    path.get_or_insert_with(|| NO_PATH_OF_OURS.to_owned());
    payload
}

/// What stands for any path that cannot be one of ours.
const NO_PATH_OF_OURS: &str = "/";

/// The longest path that is looked at, in bytes. The longest of ours has some twenty, beside a stage and a token.
const PATH_BYTES_MAX: usize = 1024;

fn is_plain_path(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~$".contains(&byte);
    path.len() <= PATH_BYTES_MAX && path.starts_with('/') && path.bytes().all(is_plain)
}

fn plain_stage(stage: &mut Option<String>) {
    stage.take_if(|stage| !is_plain_path(&format!("/{stage}")));
}

/// Where a client says that it meant to go, which is no matter.
fn drop_place(headers: &mut HeaderMap) {
    headers.remove(HOST);
    headers.remove("x-forwarded-proto");
    headers.remove(BAD_BASE64);
}

fn prefer(all: &HeaderMap, last: &mut HeaderMap) {
    for name in all.keys() {
        last.remove(name);
    }
}
