//! `billhook send`: signs event files and posts them, as the source itself would.

use std::process::ExitCode;

use billhook_aws::process::unix_ms;
use billhook_core::head::Head;
use serde_json::json;

use crate::args::SendArgs;
use crate::{Failure, files, http, print};

pub(crate) fn run(args: &SendArgs) -> Result<ExitCode, Failure> {
    let source = files::source(&args.source)?;
    let secret = files::secret(args.secret.as_deref(), source)?;
    let url = http::webhook_url(&args.url, source);
    let mut refused = 0;
    for file in &args.files {
        for body in files::events(file)? {
            let now = unix_ms().div_euclid(1000);
            let answer = http::deliver(&url, source, &body, &secret, now)?;
            refused += usize::from(answer.status != 200);
            let head = Head::read(source, &body);
            let (id, event_type) = (head.name(&body), head.event_type.unwrap_or_default());
            if args.json {
                let status = answer.status;
                print(&json!({"id": id, "type": event_type, "status": status}).to_string());
            } else {
                let note = if answer.status == 200 {
                    String::new()
                } else {
                    answer.body
                };
                print(&format!("{}  {id}  {event_type}  {note}", answer.status));
            }
        }
    }
    Ok(if refused == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
