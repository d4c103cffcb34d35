//! What a payload says of a request, put right before the library makes a request of it.
//!
//! REST APIs and load balancers hand over each header twice: all its values, and the last one alone. The library
//! that makes a request of the two lets the last one replace all; a signature header that came twice would lose
//! its first half.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::HeaderMap;
use lambda_http::request::LambdaRequest;

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

/// The same payload, such that a body that calls itself base64 and is none counts as empty: the library would panic on
/// it. No gateway makes such a payload.
#[must_use]
pub fn drop_false_encoding(mut payload: LambdaRequest) -> LambdaRequest {
    let (encoded, body) = match &mut payload {
        LambdaRequest::ApiGatewayV1(request) => (request.is_base64_encoded, &mut request.body),
        LambdaRequest::ApiGatewayV2(request) => (request.is_base64_encoded, &mut request.body),
        LambdaRequest::Alb(request) => (request.is_base64_encoded, &mut request.body),
        _ => return payload,
    };
    if encoded {
        body.take_if(|body| STANDARD.decode(body).is_err());
    }
    payload
}

fn prefer(all: &HeaderMap, last: &mut HeaderMap) {
    for name in all.keys() {
        last.remove(name);
    }
}
