//! Reading what the user names: bodies, event files, secrets, sources.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use billhook_core::scope::Source;
use webhook::config::secrets_variables;

use crate::Failure;

/// The bytes of a file, or of standard input for "-".
pub(crate) fn body(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().read_to_end(&mut bytes).map(drop)
    } else {
        fs::read(path).map(|read| bytes = read)
    };
    read.map(|()| bytes)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// The event bodies of a file: one of a .json, one a line of a .jsonl.
pub(crate) fn events(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let bytes = body(path)?;
    if path
        .extension()
        .is_none_or(|extension| extension != "jsonl")
    {
        return Ok(vec![bytes]);
    }
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    Ok(lines
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect())
}

pub(crate) fn source(name: &str) -> Result<Source, Failure> {
    Source::from_name(name).ok_or_else(|| {
        let known = Source::ALL.map(Source::name).join(" or ");
        format!("there is no source {name}: it is {known}")
    })
}

/// The secret that was given, or the first of the source's variable.
pub(crate) fn secret(given: Option<&str>, source: Source) -> Result<String, Failure> {
    let (variable, _) = secrets_variables(source);
    let listed = || Some(env::var(variable).ok()?.split(',').next()?.to_owned());
    given
        .map(str::to_owned)
        .or_else(listed)
        .filter(|secret| !secret.is_empty())
        .ok_or_else(|| format!("no signing secret: give --secret or set {variable}"))
}
