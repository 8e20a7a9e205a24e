//! What cargo tells a build script.

use super::Tell;
use crate::error::Error;
use std::path::{Path, PathBuf};

/// Variables that choose the assembler and the archiver, alone or with the target behind them.
const TOOLS: &[&str] = &["CC", "CFLAGS", "AR", "ARFLAGS", "CRATE_CC_NO_DEFAULTS"];

/// Where a build script writes, and for which machine.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Folder of the package, to which paths are relative.
    pub package: PathBuf,
    /// Folder that is written to.
    pub out_dir: PathBuf,
    /// Architecture of the target.
    pub arch: String,
    /// Operating system of the target.
    pub os: String,
    /// The target's triple.
    pub target: String,
    /// That of the machine that builds.
    pub host: String,
    /// Variables that the assembler depends on, with what they say.
    pub tools: Vec<(String, Option<String>)>,
}

impl Environment {
    /// That of the running build script.
    ///
    /// # Errors
    /// When a variable is missing, for this is no build script.
    pub fn of_build_script(out_dir: Option<&Path>) -> Result<Environment, Error> {
        let variable = |name: &'static str| std::env::var(name).map_err(|_| Error::NotABuildScript { variable: name });
        let [target, host] = [variable("TARGET")?, variable("HOST")?];
        let under = target.replace('-', "_");
        let names = TOOLS.iter().flat_map(|tool| {
            [tool.to_string(), format!("{tool}_{target}"), format!("{tool}_{under}"), format!("TARGET_{tool}")]
        });
        Ok(Environment {
            package: PathBuf::from(variable("CARGO_MANIFEST_DIR")?),
            out_dir: match out_dir {
                Some(dir) => dir.to_path_buf(),
                None => PathBuf::from(variable("OUT_DIR")?),
            },
            arch: variable("CARGO_CFG_TARGET_ARCH")?,
            os: variable("CARGO_CFG_TARGET_OS")?,
            tools: names.map(|name| (name.clone(), std::env::var(name).ok())).collect(),
            target,
            host,
        })
    }

    /// Folder of all models.
    pub fn root(&self) -> PathBuf {
        self.out_dir.join("peristyle")
    }

    /// Folder of a model.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Whether the target takes the emitted assembly.
    pub fn assembles(&self) -> bool {
        self.arch == "x86_64" && self.os == "linux"
    }

    /// Has cargo run the build script again when a variable that was read changes.
    pub fn tell_variables(&self, tell: Tell<'_>) {
        if self.assembles() {
            self.tools.iter().for_each(|(name, _)| tell(&format!("cargo::rerun-if-env-changed={name}")));
        }
    }
}
