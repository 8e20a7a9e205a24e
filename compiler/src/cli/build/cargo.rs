//! Cargo, as `build` calls it.
//!
//! Builds are reproducible: the same model, compiler, toolchain and location of the runtime give the same bytes, in
//! whatever folder the crate and its build folder are. The versions of all crates are those that this compiler was tested
//! with, and no path of this machine gets into what is built.

use super::linked;
use anyhow::{Context, bail};
use indicatif::ProgressBar;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What cargo makes of a crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Artefact {
    /// The static program.
    Program,
    /// A library with the C interface.
    Library {
        /// Whether programs load it when they start, or have it linked in.
        shared: bool,
        /// Whether it reads image files.
        image_files: bool,
    },
}

/// What cargo made.
pub struct Built {
    /// Its path.
    pub file: PathBuf,
    /// What is linked in, as [`linked::list`] tells; `None`, said aloud, where cargo does not.
    pub linked: Option<String>,
}

/// Builds the crate in `dir` whose name is `name`.
pub fn build(dir: &Path, name: &str, artefact: Artefact, progress: &ProgressBar) -> anyhow::Result<Built> {
    let target = host_target()?;
    // All crates of a folder share one build folder, so that the runtime is built once for all of them.
    let dir = std::path::absolute(dir)?;
    let shared = dir.parent().map_or_else(|| dir.join("target"), |parent| parent.join("target"));
    let target_dir = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target_dir) => std::path::absolute(target_dir)?,
        None => shared,
    };
    // One name for the folder, whatever way leads there: the name is in the flags, and other flags compile everything anew.
    std::fs::create_dir_all(&target_dir)
        .with_context(|| format!("cannot create build folder `{}`", target_dir.display()))?;
    let target_dir = target_dir.canonicalize()?;
    pin(&dir)?;
    let mut cargo = Command::new(cargo_path());
    let library = name.replace('-', "_");
    let (file, features, static_flag) = match artefact {
        Artefact::Program => {
            cargo.args(["build", "--release", "--target", &target, "--bin", name]);
            (name.to_string(), None, "-Ctarget-feature=+crt-static")
        }
        Artefact::Library { shared, image_files } => {
            let (kind, extension) = if shared { ("cdylib", "so") } else { ("staticlib", "a") };
            let feature = if image_files { "ffi-image" } else { "ffi" };
            cargo.args(["rustc", "--release", "--target", &target, "--lib", "--crate-type", kind]);
            cargo.args(["--no-default-features", "--features", feature]);
            // The C library is that of the program that links the library.
            (format!("lib{library}.{extension}"), Some(feature), "")
        }
    };
    let linked = match linked::list(&dir, &target, &target_dir, features) {
        Ok(list) => Some(list),
        Err(error) => {
            progress.suspend(|| eprintln!(
                    "note: cargo does not tell what is linked, so that the bill of materials has no versions or is missing: \
                     {error:#}"
                ));
            None
        }
    };
    // Libraries have their bill beside them: without the variable they do not depend on it.
    if let (Artefact::Program, Some(list)) = (artefact, &linked) {
        cargo.env(linked::VARIABLE, list);
    }
    cargo
        .current_dir(&dir)
        .env("CARGO_TARGET_DIR", &target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(&[static_flag], &target_dir))
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = cargo.spawn().context("cannot start `cargo`; install Rust from https://rustup.rs")?;
    let mut log = String::new();
    for line in BufReader::new(child.stderr.take().expect("stderr is piped")).lines() {
        let line = line?;
        if let Some(unit) = line.trim().strip_prefix("Compiling ") {
            progress.set_message(format!("building {}", unit.split(" (").next().unwrap_or(unit)));
        }
        log.push_str(&line);
        log.push('\n');
    }
    if !child.wait()?.success() {
        progress.finish_and_clear();
        eprint!("{log}");
        bail!("`cargo build` failed in `{}`; its messages are above", dir.display());
    }
    Ok(Built { file: target_dir.join(target).join("release").join(file), linked })
}

/// The program `cargo`.
pub fn cargo_path() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The folder that this compiler was built in, when it is there.
fn workspace() -> Option<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().ok()
}

/// Gives a crate without a lock file that of this compiler: the versions that it was tested with. Cargo drops what the
/// crate does not use.
fn pin(dir: &Path) -> anyhow::Result<()> {
    let lock = dir.join("Cargo.lock");
    if let Some(tested) = workspace().map(|workspace| workspace.join("Cargo.lock"))
        && tested.is_file()
        && !lock.exists()
    {
        std::fs::copy(&tested, &lock).with_context(|| format!("cannot write `{}`", lock.display()))?;
    }
    Ok(())
}

/// The user's compiler flags and ours, as cargo separates them. Folders of this machine get names that are the same
/// everywhere; that of the crate is not among them, because cargo compiles it by relative paths and flags must not differ
/// between crates that share what is built.
fn rust_flags(own: &[&str], target_dir: &Path) -> String {
    let user = std::env::var("CARGO_ENCODED_RUSTFLAGS")
        .or_else(|_| std::env::var("RUSTFLAGS").map(|flags| flags.split_whitespace().collect::<Vec<_>>().join("\x1f")))
        .unwrap_or_default();
    let cargo_home =
        std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let folders = [(workspace(), "/peristyle"), (cargo_home, "/cargo"), (Some(target_dir.to_path_buf()), "/target")];
    let remapped = folders.into_iter().filter_map(|(folder, name)| {
        let folder = folder?;
        Some(format!("--remap-path-prefix={}={name}", folder.to_str()?))
    });
    let flags = [user].into_iter().chain(own.iter().map(|flag| (*flag).to_string())).chain(remapped);
    flags.filter(|flags| !flags.is_empty()).collect::<Vec<_>>().join("\x1f")
}

/// The target that this machine's compiler builds for by default.
fn host_target() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output =
        Command::new(rustc).arg("-vV").output().context("cannot start `rustc`; install Rust from https://rustup.rs")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_string).context("`rustc -vV` names no host")
}
