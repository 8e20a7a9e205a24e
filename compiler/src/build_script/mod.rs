//! Compiling from a build script: what cargo says, what makes it ask again, and what is not done twice.

mod assemble;
mod environment;
mod stamp;
#[cfg(test)]
mod tests;

use crate::config::{Compilation, Config, crate_name, sha256};
use crate::emit::{self, hexadecimal};
use crate::error::Error;
use crate::ir::Graph;
use crate::store::{self, Place};
use environment::Environment;
use sha2::{Digest, Sha256};
use stamp::Stamp;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Names this compiler among all that might have written a folder: its version and its source.
const FINGERPRINT: &str = concat!(env!("CARGO_PKG_VERSION"), " ", env!("PERISTYLE_FINGERPRINT"));

/// A build script that takes longer than this without optimisation says how to make it faster.
const SLOW: Duration = Duration::from_secs(10);

/// A line for cargo.
type Tell<'a> = &'a mut dyn FnMut(&str);

impl Config {
    /// Compiles a model from a build script: writes its modules where `include_model!` finds them, and assembles and
    /// links its kernels. Cargo asks again when the model, its external data or a variable that was read changes. What
    /// is there already is not made again, and files that stay the same are not touched.
    ///
    /// # Errors
    /// When the model cannot be compiled, when another one of this build script has its name, or when this is not a
    /// build script.
    pub fn compile(&self, model: impl AsRef<Path>) -> Result<(), Error> {
        let environment = Environment::of_build_script(self.out_dir.as_deref())?;
        let model = model.as_ref();
        let name = self.name_of(model, &environment.package);
        claim(&environment.folder(&name), &format!("`{}`", model.display()))?;
        self.compile_in(model, &environment, &mut |line| println!("{line}")).map(|_| ())
    }

    /// Compiles models with the same options, each into a module of its own: `include_models!()` has all of them.
    ///
    /// # Errors
    /// As for [`Config::compile`].
    pub fn compile_all<P: AsRef<Path>>(&self, models: impl IntoIterator<Item = P>) -> Result<(), Error> {
        let environment = Environment::of_build_script(self.out_dir.as_deref())?;
        let mut names = Vec::new();
        for model in models {
            self.compile(&model)?;
            names.push(self.name_of(model.as_ref(), &environment.package));
        }
        write_modules(&environment, &names)
    }

    /// As [`Config::compile`], for a graph that was imported, changed or built in the build script, whose module is
    /// called `name`. It is compiled whenever the build script runs; what makes cargo run it again is for the caller to
    /// say.
    ///
    /// # Errors
    /// As for [`Config::compile`].
    pub fn compile_graph(&self, name: &str, graph: Graph) -> Result<(), Error> {
        let environment = Environment::of_build_script(self.out_dir.as_deref())?;
        let config = self.clone().module_name(name).for_target(&environment);
        claim(&environment.folder(&crate_name(name)), &format!("the graph `{name}`"))?;
        let compilation = config.analyze_graph(name, graph)?;
        let mut tell = |line: &str| println!("{line}");
        environment.tell_variables(&mut tell);
        config.write_modules(&compilation, &environment, &mut tell).map(|_| ())
    }

    /// [`Config::compile`] in an environment; returns whether anything had to be done.
    fn compile_in(&self, model: &Path, environment: &Environment, tell: Tell<'_>) -> Result<bool, Error> {
        let config = self.for_target(environment);
        let dir = environment.folder(&config.name_of(model, &environment.package));
        let watched = |tell: Tell<'_>, file: &Path| {
            if config.emit_rerun_if_changed {
                tell(&format!("cargo::rerun-if-changed={}", file.display()));
            }
        };
        if config.emit_rerun_if_changed {
            environment.tell_variables(tell);
        }
        let place = match Place::find(model, &environment.package) {
            Ok(place) => place,
            Err(store::Error::Missing { path, base }) => {
                watched(tell, model);
                return Err(Error::Missing { path, package: base });
            }
            Err(error) => return Err(error.into()),
        };
        // A file of the package is told as the build script named it.
        let relative = |file: &Path| file.strip_prefix(&environment.package).unwrap_or(file).to_path_buf();
        place.files().iter().for_each(|file| watched(tell, &relative(file)));
        if !environment.package.join(model).exists() {
            // A stub: which folder it means depends on variables.
            let names = store::VARIABLES.iter().filter(|_| config.emit_rerun_if_changed);
            names.for_each(|name| tell(&format!("cargo::rerun-if-env-changed={name}")));
        }
        let stamp = Stamp::read(&dir);
        if let Some(stamp) = &stamp
            && stamp.is_intact(&dir)
            && config.key(&place, &stamp.external, environment) == stamp.key
        {
            stamp.external.iter().for_each(|file| watched(tell, file));
            if let Some(library) = &stamp.library {
                assemble::tell_library(library, &dir, tell);
            }
            return Ok(false);
        }
        let start = Instant::now();
        // What exists is a path, whatever else it could be.
        let path = environment.package.join(model);
        let compilation = config.analyze(if path.exists() { &path } else { model })?;
        compilation.warnings.iter().for_each(|warning| tell(&format!("cargo::warning={warning}")));
        compilation.external_files.iter().for_each(|file| watched(tell, file));
        let (files, library) = config.write_modules(&compilation, environment, tell)?;
        let key = config.key(&place, &compilation.external_files, environment);
        Stamp::new(key, compilation.external_files, library, &dir, files)
            .and_then(|stamp| stamp.write(&dir))
            .map_err(|source| Error::Write { what: format!("the stamp of `{}`", dir.display()), source })?;
        if env!("PERISTYLE_OPT_LEVEL") == "0" && start.elapsed() > SLOW {
            tell(
                "cargo::warning=peristyle-compiler is built without optimisation, which makes it slow: put \
                 `[profile.dev.build-override] opt-level = 3`, and the same for `profile.release`, into Cargo.toml",
            );
        }
        Ok(true)
    }

    /// Writes the modules and the report, and assembles the kernels. Returns the files that make the model, relative to
    /// their folder, and the name of the library.
    fn write_modules(
        &self,
        compilation: &Compilation,
        environment: &Environment,
        tell: Tell<'_>,
    ) -> Result<(Vec<String>, Option<String>), Error> {
        let identity = compilation.baked();
        let dir = environment.folder(&identity.name);
        let package = emit::modules(&compilation.plan, &identity);
        package.write_to(&dir).map_err(|source| Error::Write { what: "the emitted modules".to_string(), source })?;
        if let Some(file) = &self.report {
            compilation.write_report(&dir.join(file))?;
        }
        let mut files: Vec<String> = package.paths().map(str::to_string).collect();
        let kernels: Vec<&str> = package.paths().filter(|path| path.ends_with(".S")).collect();
        let library = if kernels.is_empty() {
            None
        } else {
            let kernels = kernels.iter().map(|path| (*path, package.get(path).expect("a path of the package")));
            let library = assemble::assemble(&identity.name, &dir, kernels, environment)?;
            assemble::tell_library(&library, &dir, tell);
            files.push(assemble::archive(&library));
            Some(library)
        };
        Ok((files, library))
    }

    /// These options, for what the target has.
    fn for_target(&self, environment: &Environment) -> Config {
        let config = self.clone();
        if environment.assembles() { config } else { config.target_isa([]) }
    }

    /// Stands for everything that the emitted files depend on.
    fn key(&self, place: &Place, external: &[PathBuf], environment: &Environment) -> String {
        let mut files = place.files();
        files.extend_from_slice(external);
        // What is no file, or lacks its data, is for the stages to complain about.
        let hash = sha256(&[], &files).unwrap_or_default();
        let text = format!("{FINGERPRINT}\n{self:?}\n{place:?}\n{hash}\n{environment:?}");
        hexadecimal(&Sha256::digest(text))
    }
}

/// Compiles a model from a build script with default options; see [`Config::compile`].
///
/// # Errors
/// When the model cannot be compiled.
pub fn compile(model: impl AsRef<Path>) -> Result<(), Error> {
    Config::new().compile(model)
}

/// Compiles models from a build script with default options; see [`Config::compile_all`].
///
/// # Errors
/// When a model cannot be compiled.
pub fn compile_all<P: AsRef<Path>>(models: impl IntoIterator<Item = P>) -> Result<(), Error> {
    Config::new().compile_all(models)
}

/// Notes that this build script compiles `source` into a folder.
fn claim(folder: &Path, source: &str) -> Result<(), Error> {
    static CLAIMED: Mutex<BTreeMap<PathBuf, String>> = Mutex::new(BTreeMap::new());
    let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    match claimed.insert(folder.to_path_buf(), source.to_string()) {
        None => Ok(()),
        Some(first) => {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Err(Error::SameName { name, first, second: source.to_string() })
        }
    }
}

/// Writes the file that has a module for every model.
fn write_modules(environment: &Environment, names: &[String]) -> Result<(), Error> {
    let mut text = "// @generated by peristyle. Do not edit.\n".to_string();
    for name in names {
        let module = name.replace('-', "_");
        text +=
            &format!("\n/// The compiled model `{name}`.\npub mod {module} {{\n    include!(\"{name}/mod.rs\");\n}}\n");
    }
    let mut package = emit::Package::default();
    package.insert("models.rs", text);
    let written = package.write_to(&environment.root());
    written.map_err(|source| Error::Write { what: "the list of models".to_string(), source })
}
