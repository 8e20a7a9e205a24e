//! What a compilation results in, and how it is written.

use super::runtime_source::runtime_source;
use crate::emit::{self, Identity, Package};
use crate::error::Error;
use crate::golden;
use crate::ir::Graph;
use crate::passes;
use crate::plan::{ChannelZeros, Plan};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A model after every stage but writing.
#[derive(Debug)]
pub struct Compilation {
    /// The graph that was planned.
    pub graph: Graph,
    /// What the passes did.
    pub report: passes::Report,
    /// The plan.
    pub plan: Plan,
    /// What the emitted source says about its origin.
    pub identity: Identity,
    /// Files beside the model that hold data of it.
    pub external_files: Vec<PathBuf>,
    /// The zeros of every convolution before channels without a use were removed.
    pub channels: BTreeMap<String, ChannelZeros>,
    /// Name and text of every stage, in order: import, each pass, plan.
    pub stages: Vec<(String, String)>,
    /// What the user should know, though the model compiles.
    pub warnings: Vec<String>,
    /// Whether golden values are baked.
    pub(super) selftest: bool,
    /// Those of the model's own sample.
    pub(super) golden: Option<Vec<u8>>,
}

impl Compilation {
    /// The identity with golden values, where they are wanted and the interpreter has a result for them.
    pub(crate) fn baked(&self) -> Identity {
        let mut identity = self.identity.clone();
        if self.selftest {
            let known = || golden::bake(&self.graph).unwrap_or_default();
            identity.golden = self.golden.clone().unwrap_or_else(known);
        }
        identity
    }

    /// Bytes of the constants of the graph.
    pub fn weight_bytes(&self) -> u64 {
        let constants = self.graph.values.iter().filter_map(|value| value.constant.as_ref());
        constants.map(|tensor| (tensor.ty().len() * tensor.ty().dtype.size()) as u64).sum()
    }

    /// The emitted crate, as it belongs into `dir`.
    pub fn package(&self, dir: &Path) -> Package {
        emit::crate_package(&self.plan, &self.baked(), &runtime_source(dir))
    }

    /// Writes the emitted crate.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_crate(&self, dir: &Path) -> Result<(), Error> {
        let package = self.package(dir);
        package.write_to(dir).map_err(|source| Error::Write { what: "the emitted crate".to_string(), source })
    }

    /// Writes the crate of a program called `name` of several models to `dir`. Their crates belong into the folders beside
    /// it, each with the name of its model.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_program(name: &str, models: &[Compilation], dir: &Path) -> Result<(), Error> {
        let identities: Vec<&Identity> = models.iter().map(|compilation| &compilation.identity).collect();
        let package = emit::program_package(name, &identities, &runtime_source(dir));
        package.write_to(dir).map_err(|source| Error::Write { what: "the program's crate".to_string(), source })
    }

    /// Writes the text of every stage to numbered files in `dir`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn dump_stages(&self, dir: &Path) -> Result<(), Error> {
        let write = || {
            std::fs::create_dir_all(dir)?;
            for (index, (name, text)) in self.stages.iter().enumerate() {
                std::fs::write(dir.join(format!("{index:02}-{name}.txt")), text)?;
            }
            Ok(())
        };
        write().map_err(|source| Error::Write { what: format!("stages to `{}`", dir.display()), source })
    }
}
