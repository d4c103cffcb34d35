//! `billhook train-dictionary`: trains the dictionary that the ledger compresses bodies with.
//!
//! Trained on the sample events of this project and nothing else, both as Stripe writes them (indented) and
//! compact, as EventBridge and other senders do. The samples are read in a fixed order and the algorithm is
//! deterministic, so the same samples make the same dictionary.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::args::TrainArgs;
use crate::{Failure, print};

/// Large enough that twice the size saves only 5 % more, small enough to be digested in 0.1 ms.
const DICTIONARY_BYTES_MAX: usize = 32 * 1024;

/// Trains a dictionary on every `.json` event and every line of every `.jsonl` life under these folders, and
/// gives it this number.
///
/// # Errors
///
/// Where a file cannot be read, or there are too few samples.
fn train(folders: &[PathBuf], number: u32) -> io::Result<Vec<u8>> {
    let mut samples = Vec::new();
    for folder in folders {
        collect(folder, &mut samples)?;
    }
    let mut dictionary = zstd::dict::from_samples(&samples, DICTIONARY_BYTES_MAX)?;
    // Bytes 4 to 8 are the number (RFC 8878, section 5); the trainer puts a random-looking one there.
    dictionary[4..8].copy_from_slice(&number.to_le_bytes());
    Ok(dictionary)
}

fn collect(folder: &Path, samples: &mut Vec<Vec<u8>>) -> io::Result<()> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, samples)?;
            continue;
        }
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let text = || fs::read_to_string(&path);
        if name.ends_with(".jsonl") {
            text()?.lines().try_for_each(|line| add(line, samples))?;
        } else if name.ends_with(".json") && !name.ends_with(".expected.json") {
            add(&text()?, samples)?;
        }
    }
    Ok(())
}

fn add(event: &str, samples: &mut Vec<Vec<u8>>) -> io::Result<()> {
    let mut compact = Vec::new();
    transcode(event, &mut serde_json::Serializer::new(&mut compact))?;
    let mut indented = Vec::new();
    transcode(event, &mut serde_json::Serializer::pretty(&mut indented))?;
    samples.extend([compact, indented]);
    Ok(())
}

/// Writes the same JSON in another form, its keys in the order they came in.
fn transcode<F: serde_json::ser::Formatter>(
    event: &str,
    into: &mut serde_json::Serializer<&mut Vec<u8>, F>,
) -> io::Result<()> {
    let mut from = serde_json::Deserializer::from_str(event);
    serde_transcode::transcode(&mut from, into).map_err(io::Error::from)
}

/// Trains, writes, and says what came of it.
pub(crate) fn run(args: &TrainArgs) -> Result<ExitCode, Failure> {
    let dictionary = train(&args.folders, args.number)
        .map_err(|error| format!("the dictionary cannot be trained: {error}"))?;
    fs::write(&args.out, &dictionary)
        .map_err(|error| format!("{} cannot be written: {error}", args.out.display()))?;
    let (number, out) = (args.number, args.out.display());
    print(&format!(
        "dictionary {number}: {} bytes in {out}",
        dictionary.len()
    ));
    Ok(ExitCode::SUCCESS)
}
