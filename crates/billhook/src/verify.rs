//! `billhook verify`: says whether a Stripe signature holds.

use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use billhook_aws::process::unix_ms;
use billhook_core::signature::stripe;
use serde_json::json;

use crate::args::VerifyArgs;
use crate::{Failure, files, print};

pub(crate) fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let body = files::body(&args.file)?;
    let header = args.header.as_ref().map(|header| header.as_bytes());
    let now = args.at.unwrap_or_else(|| unix_ms().div_euclid(1000));
    match stripe::verify(&body, header, &args.secret, now, args.tolerance) {
        Ok(_) => {
            print(&json!({"ok": true}).to_string());
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            print(&json!({"ok": false, "error": error.kind()}).to_string());
            Ok(ExitCode::FAILURE)
        }
    }
}
