//! The headers of a request, all of them.
//!
//! REST APIs and load balancers hand over each header twice: all its values, and the last one alone. The library
//! that makes a request of the two lets the last one replace all; a signature header that came twice would lose
//! its first half.

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

fn prefer(all: &HeaderMap, last: &mut HeaderMap) {
    for name in all.keys() {
        last.remove(name);
    }
}
