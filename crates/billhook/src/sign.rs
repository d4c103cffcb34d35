//! `billhook sign`: makes a fresh signature, since stored ones age.

use std::process::ExitCode;

use billhook_aws::process::unix_ms;
use billhook_core::scope::Source;
use serde_json::{Value, json};

use crate::args::SignArgs;
use crate::{Failure, files, http, print};

pub(crate) fn run(args: &SignArgs) -> Result<ExitCode, Failure> {
    let source = files::source(&args.source)?;
    let secret = files::secret(args.secret.as_deref(), source)?;
    let body = files::body(&args.file)?;
    let now_ms = args.at.map_or_else(unix_ms, |at| at.saturating_mul(1000));
    let (header, value) = http::signature(source, &body, &secret, now_ms.div_euclid(1000));
    if !args.apigateway {
        print(&value);
        return Ok(ExitCode::SUCCESS);
    }
    let body = String::from_utf8(body)
        .map_err(|_| "the body is not UTF-8, and a payload holds text".to_owned())?;
    print(&format!(
        "{:#}",
        payload(source, header, &value, &body, now_ms)
    ));
    Ok(ExitCode::SUCCESS)
}

/// A request as API Gateway's HTTP API hands it to a function
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>).
fn payload(source: Source, header: &str, value: &str, body: &str, now_ms: i64) -> Value {
    let path = format!("/webhooks/{source}");
    json!({
        "version": "2.0",
        "routeKey": format!("POST {path}"),
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "content-type": "application/json; charset=utf-8",
            "content-length": body.len().to_string(),
            "host": "example.execute-api.us-east-1.amazonaws.com",
            header: value,
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "example",
            "domainName": "example.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "example",
            "http": {
                "method": "POST",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "billhook sign",
            },
            "requestId": "billhook-sign",
            "routeKey": format!("POST {path}"),
            "stage": "$default",
            "timeEpoch": now_ms,
        },
        "body": body,
        "isBase64Encoded": false,
    })
}
