//! Where the built functions are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The workspace's folder.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The built function of this name.
///
/// It is looked for in the folder `BILLHOOK_FUNCTIONS_DIR`, which `./check` sets to the release build. Without
/// that variable all functions are built once, in the profile and the target folder of the tests themselves.
///
/// # Panics
///
/// Where the function is not there or cannot be built.
#[must_use]
pub fn function(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| match env::var_os("BILLHOOK_FUNCTIONS_DIR") {
        Some(folder) => workspace().join(folder),
        None => build(),
    });
    let binary = folder.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        binary.is_file(),
        "there is no built function {}",
        binary.display()
    );
    binary
}

/// Builds the functions and returns the folder they are in.
fn build() -> PathBuf {
    let test = env::current_exe().expect("a test knows where it is");
    // target/<profile>/deps/<test>
    let profile = test.ancestors().nth(2).expect("cargo's folders").to_owned();
    let target = profile.parent().expect("cargo's folders");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(workspace())
        .args([
            "build",
            "--quiet",
            "--package=webhook",
            "--package=consumer",
            "--package=access",
        ])
        .arg("--target-dir")
        .arg(target);
    // What cargo told this test would make build scripts run again that look at it.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let status = command.status().expect("cargo starts");
    assert!(status.success(), "the functions do not build");
    profile
}
