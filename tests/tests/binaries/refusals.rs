//! What the webhook function refuses: each with the status and the word that the table of answers has for it,
//! and nothing on the queue.

use billhook_core::signature::stripe;
use billhook_tests::requests::{Form, Request};
use billhook_tests::runtime_api::Answer;
use serde_json::json;

use super::{STRIPE_SECRET, customer_event, http, now, webhook, webhook_at};

fn body() -> String {
    customer_event("evt_1", "cus_1", "ada@example.test").to_string()
}

fn with_header(value: &str) -> Request {
    Request::unsigned(body()).header("Stripe-Signature", value)
}

/// The hexadecimal digits of a right signature.
fn v1(at: i64) -> String {
    let header = stripe::sign(body().as_bytes(), STRIPE_SECRET, at);
    let (_, digits) = header.split_once("v1=").expect("a v1 item");
    digits.to_owned()
}

#[tokio::test]
async fn what_is_not_signed_rightly_gets_400_and_the_first_rule_that_it_breaks() {
    let (webhook, sqs) = webhook().await;
    let at = now();
    let right = stripe::sign(body().as_bytes(), STRIPE_SECRET, at);
    let v1_at = v1(at);
    let cases = [
        (Request::unsigned(body()), "missing_header"),
        (with_header(" \t"), "missing_header"),
        (
            Request::unsigned("").header("Stripe-Signature", &right),
            "empty_body",
        ),
        (with_header("nonsense"), "malformed_header"),
        (with_header(&format!("t={at},v1")), "malformed_header"),
        (
            with_header(&format!("{right},{}", "x".repeat(16 * 1024))),
            "malformed_header",
        ),
        (with_header(&format!("v1={v1_at}")), "missing_timestamp"),
        (with_header(&format!("t=now,v1={v1_at}")), "bad_timestamp"),
        (with_header(&format!("t=0{at},v1={v1_at}")), "bad_timestamp"),
        (
            with_header(&format!("t=99999999999999999999,v1={v1_at}")),
            "bad_timestamp",
        ),
        (
            with_header(&format!("t={at},t={},v1={v1_at}", at + 1)),
            "duplicate_timestamp",
        ),
        (
            with_header(&format!("t={at},v0={v1_at}")),
            "no_v1_signature",
        ),
        (
            with_header(&format!("t={at},v1={}", v1_at.to_uppercase())),
            "signature_mismatch",
        ),
        (
            with_header(&format!("t={},v1={v1_at}", at + 1)),
            "signature_mismatch",
        ),
        (
            Request::stripe(body(), "whsec_other", at),
            "signature_mismatch",
        ),
        (
            Request::stripe("{}", STRIPE_SECRET, at).with_body(body()),
            "signature_mismatch",
        ),
        (
            Request::stripe(body(), STRIPE_SECRET, at - 400),
            "timestamp_too_old",
        ),
        (
            Request::stripe(body(), STRIPE_SECRET, at + 400),
            "timestamp_in_future",
        ),
        // Age is told only to those who hold a secret.
        (
            Request::stripe(body(), "whsec_other", at - 400),
            "signature_mismatch",
        ),
    ];
    for (request, kind) in cases {
        for form in Form::ALL {
            let answer = webhook.invoke(&request.payload(form)).await;
            assert_eq!(
                http(answer),
                (400, json!({"error": kind})),
                "{form:?}: {:?}",
                request.headers
            );
        }
    }
    assert_eq!(sqs.requests(), 0, "nothing of it reaches the queue");
}

#[tokio::test]
async fn the_age_may_be_five_minutes_less_a_little_and_no_more() {
    let (webhook, sqs) = webhook().await;
    for (offset, status) in [(-290, 200), (290, 200), (-310, 400), (310, 400)] {
        let request = Request::stripe(body(), STRIPE_SECRET, now() + offset);
        let (got, answer) = http(webhook.invoke(&request.payload(Form::HttpApi)).await);
        assert_eq!(got, status, "{offset}: {answer}");
    }
    assert_eq!(sqs.sent().len(), 2);
}

#[tokio::test]
async fn the_header_counts_in_any_case_of_letters() {
    let (webhook, _sqs) = webhook().await;
    for name in [
        "stripe-signature",
        "Stripe-Signature",
        "STRIPE-SIGNATURE",
        "sTrIpE-sIgNaTuRe",
    ] {
        let signature = stripe::sign(body().as_bytes(), STRIPE_SECRET, now());
        let request = Request::unsigned(body()).header(name, &signature);
        for form in Form::ALL {
            let (status, answer) = http(webhook.invoke(&request.payload(form)).await);
            assert_eq!(status, 200, "{form:?} {name}: {answer}");
        }
    }
}

/// A proxy may send a header twice; HTTP APIs join the two by a comma.
#[tokio::test]
async fn a_header_that_came_twice_is_fine_with_one_time_and_refused_with_two() {
    let (webhook, _sqs) = webhook().await;
    let at = now();
    let right = stripe::sign(body().as_bytes(), STRIPE_SECRET, at);
    let other_secret = stripe::sign(body().as_bytes(), "whsec_other", at);
    let other_time = stripe::sign(body().as_bytes(), STRIPE_SECRET, at - 1);
    let duplicate = (400, json!({"error": "duplicate_timestamp"}));
    for form in [
        Form::HttpApi,
        Form::FunctionUrl,
        Form::RestApi,
        Form::AlbMultiValue,
    ] {
        for (first, second) in [
            (&right, &right),
            (&right, &other_secret),
            (&other_secret, &right),
        ] {
            let twice = with_header(first).header("Stripe-Signature", second);
            let (status, answer) = http(webhook.invoke(&twice.payload(form)).await);
            assert_eq!(status, 200, "{form:?}: {answer}");
            let joined = with_header(&format!("{first}, {second}"));
            let (status, answer) = http(webhook.invoke(&joined.payload(form)).await);
            assert_eq!(status, 200, "{form:?}: {answer}");
        }
        for (first, second) in [(&right, &other_time), (&other_time, &right)] {
            let twice = with_header(first).header("Stripe-Signature", second);
            let answer = http(webhook.invoke(&twice.payload(form)).await);
            assert_eq!(answer, duplicate, "{form:?}");
            let joined = with_header(&format!("{first},{second}"));
            let answer = http(webhook.invoke(&joined.payload(form)).await);
            assert_eq!(answer, duplicate, "{form:?}");
        }
    }
}

#[tokio::test]
async fn any_other_path_is_404_and_any_other_method_405() {
    let (webhook, sqs) = webhook().await;
    let request = || Request::stripe(body(), STRIPE_SECRET, now());
    let paths = [
        "/",
        "/webhooks",
        "/webhooks/",
        "/webhooks/stripe//",
        "/webhooks/stripe/x",
        "/webhooks/Stripe",
        "/webhooks/paypal",
        "/webhook/stripe",
        "//webhooks/stripe",
        "/webhooks//stripe",
        "/webhooks/stripe%2f",
        "/x/webhooks/stripe",
    ];
    for form in Form::ALL {
        for path in paths {
            let answer = webhook.invoke(&request().to(path).payload(form)).await;
            assert_eq!(
                http(answer),
                (404, json!({"error": "not_found"})),
                "{form:?} {path}"
            );
        }
        for method in ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"] {
            let answer = webhook
                .invoke(&request().method(method).payload(form))
                .await;
            let allow = answer.clone().response();
            let expected = (405, json!({"error": "method_not_allowed"}));
            assert_eq!(http(answer), expected, "{form:?} {method}");
            let headers = [
                &allow["headers"]["allow"],
                &allow["multiValueHeaders"]["allow"][0],
            ];
            assert!(headers.contains(&&json!("POST")), "{form:?}: {allow}");
        }
    }
    assert_eq!(sqs.requests(), 0);
}

#[tokio::test]
async fn without_a_usable_secret_the_function_starts_and_its_route_answers_500() {
    let sqs = billhook_tests::sqs_endpoint::SqsEndpoint::start().await;
    let config_error = (500, json!({"error": "config_error"}));
    for secrets in ["", " ", ",", "whsec_a,", "whsec_a, whsec_b", "whsec_a\n"] {
        let variables = [("STRIPE_WEBHOOK_SECRETS", secrets)];
        let webhook = webhook_at(sqs.url(), &variables).await;
        for request in [
            Request::stripe(body(), "whsec_a", now()),
            Request::unsigned(body()),
        ] {
            let answer = webhook.invoke(&request.payload(Form::HttpApi)).await;
            assert_eq!(http(answer), config_error, "{secrets:?}");
        }
        let other = Request::bearbilling("{}", super::BEARBILLING_SECRET);
        let (status, _) = http(webhook.invoke(&other.payload(Form::HttpApi)).await);
        assert_eq!(status, 200, "{secrets:?}: the other source works");
        let lines = webhook.stop().await;
        let said = lines.iter().any(|line| {
            line.contains("ERROR")
                && (line.contains("STRIPE_WEBHOOK_SECRETS") || line.contains("config_error"))
        });
        assert!(said, "{secrets:?} is worth an error: {lines:#?}");
    }
    assert_eq!(sqs.sent().len(), 6, "only the other source's");
}

#[tokio::test]
async fn while_a_secret_rolls_each_of_the_two_opens() {
    let sqs = billhook_tests::sqs_endpoint::SqsEndpoint::start().await;
    let variables = [("STRIPE_WEBHOOK_SECRETS", "whsec_new,whsec_old")];
    let webhook = webhook_at(sqs.url(), &variables).await;
    for secret in ["whsec_new", "whsec_old"] {
        let request = Request::stripe(body(), secret, now());
        let (status, answer) = http(webhook.invoke(&request.payload(Form::HttpApi)).await);
        assert_eq!(status, 200, "{secret}: {answer}");
    }
    let both = Request::stripe(body(), "whsec_new,whsec_old", now());
    let (status, _) = http(webhook.invoke(&both.payload(Form::HttpApi)).await);
    assert_eq!(status, 400, "the list itself is no secret");
}

/// HTTP APIs put a named stage before the path, REST APIs and function URLs do not.
#[tokio::test]
async fn a_named_stage_before_the_path_is_no_part_of_it() {
    let (webhook, _sqs) = webhook().await;
    let request = Request::stripe(body(), STRIPE_SECRET, now());
    let mut payload = request
        .clone()
        .to("/live/webhooks/stripe")
        .payload(Form::HttpApi);
    payload["requestContext"]["stage"] = "live".into();
    let (status, answer) = http(webhook.invoke(&payload).await);
    assert_eq!(status, 200, "{answer}");
    payload["requestContext"]["stage"] = "test".into();
    let (status, answer) = http(webhook.invoke(&payload).await);
    assert_eq!(status, 404, "another stage than the request's: {answer}");
}

/// What stands around a signed body is no matter: where the client said that it meant to go, and what it asked beside.
#[tokio::test]
async fn an_odd_query_host_or_scheme_neither_refuses_a_delivery_nor_ends_the_function() {
    let (webhook, sqs) = webhook().await;
    let long = "x".repeat(70_000);
    let queries = ["a=<b>", "\"", " ", "\u{1}", "a=\u{e9}", "%", &long];
    let hosts = ["x:y", "x:99999999", "[::1", "@", "%", "a b", "<>", ""];
    let schemes = ["", "1", "a b", "https, http", "://"];
    let mut sent = 0;
    for form in Form::ALL {
        let good = Request::stripe(body(), STRIPE_SECRET, now()).payload(form);
        let mut odd = Vec::new();
        for query in queries {
            let mut payload = good.clone();
            payload["rawQueryString"] = json!(query);
            payload["queryStringParameters"] = json!({ query: query });
            odd.push(payload);
        }
        let header = |name: &str, value: &str| {
            let mut payload = good.clone();
            if payload["headers"].is_object() {
                payload["headers"][name] = json!(value);
            }
            if payload["multiValueHeaders"].is_object() {
                payload["multiValueHeaders"][name] = json!([value]);
            }
            payload
        };
        odd.extend(hosts.map(|host| header("host", host)));
        odd.extend(schemes.map(|scheme| header("x-forwarded-proto", scheme)));
        for payload in odd {
            let (status, answer) = http(webhook.invoke(&payload).await);
            assert_eq!(status, 200, "{form:?} {payload:.200}: {answer}");
            sent += 1;
        }
    }
    assert_eq!(sqs.sent().len(), sent);
}

#[tokio::test]
async fn an_odd_path_is_not_found_and_one_slash_at_the_end_is() {
    let (webhook, _sqs) = webhook().await;
    let long = format!("/webhooks/{}", "x".repeat(70_000));
    for form in Form::ALL {
        let payload = |path: &str| {
            let mut payload = Request::stripe(body(), STRIPE_SECRET, now()).payload(form);
            for name in ["rawPath", "path"] {
                if payload[name].is_string() {
                    payload[name] = json!(path);
                }
            }
            payload
        };
        for path in [
            "",
            ":x",
            "/a b",
            "/<>",
            "/webhooks/stripe\u{0}",
            "webhooks/stripe",
            "/webhooks/stripe//",
            &long,
        ] {
            let (status, answer) = http(webhook.invoke(&payload(path)).await);
            assert_eq!(status, 404, "{form:?} {path:.40}: {answer}");
        }
        let (status, answer) = http(webhook.invoke(&payload("/webhooks/stripe/")).await);
        assert_eq!(status, 200, "{form:?}: {answer}");
    }
}

/// Nothing but a person makes such payloads. They must not open the door, nor end the function.
#[tokio::test]
async fn a_payload_that_no_gateway_makes_is_refused_and_the_function_goes_on() {
    let (webhook, sqs) = webhook().await;
    let good = Request::stripe(body(), STRIPE_SECRET, now()).payload(Form::HttpApi);
    let with = |name: &str, value: serde_json::Value| {
        let mut payload = good.clone();
        payload[name] = value;
        payload
    };
    let strange = [
        json!({}),
        json!(null),
        json!([]),
        json!("hello"),
        json!({"Records": []}),
        with("body", json!(null)),
        with("body", json!(7)),
        with("isBase64Encoded", json!(true)),
        with("isBase64Encoded", json!("yes")),
        with("headers", json!(null)),
        with("headers", json!({})),
        with("rawPath", json!(null)),
        with("requestContext", json!(null)),
        with("requestContext", json!({})),
    ];
    for payload in strange {
        let answer = webhook.invoke(&payload).await;
        let Answer::Response(response) = &answer else {
            panic!("{payload:.60}: {answer:?}");
        };
        assert!(
            response["statusCode"].as_u64() >= Some(400),
            "{payload:.60}: {answer:?}"
        );
        let (status, _) = http(webhook.invoke(&good).await);
        assert_eq!(status, 200, "after {payload:.60}");
    }
    let no_base64 = webhook.invoke(&with("isBase64Encoded", json!(true))).await;
    assert_eq!(http(no_base64), (400, json!({"error": "bad_base64"})));
    assert_eq!(sqs.sent().len(), 14, "only the good ones");
    for line in webhook.stop().await {
        assert!(!line.contains("ada@") && !line.contains("v1="), "{line}");
    }
}
