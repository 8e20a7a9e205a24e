//! The driver: options, and the stages of a compilation in order.

use crate::emit::{self, Detector, Identity, OptTime, Package, RawLevel, RuntimeSource};
use crate::error::Error;
use crate::golden;
use crate::ir::{Graph, Op};
use crate::onnx::{self, ImportOptions};
use crate::passes;
use crate::plan::{self, ChannelZeros, Columns, Options, Plan};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Options of a compilation.
///
/// ```no_run
/// # fn main() -> Result<(), peristyle_compiler::Error> {
/// peristyle_compiler::Config::new().imgsz(640, 640).compile("model.onnx")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    imgsz: Option<[usize; 2]>,
    batch: usize,
    name: Option<String>,
    class_names: Option<Vec<String>>,
    options: Options,
    out_dir: Option<PathBuf>,
    runtime: String,
    emit_rerun_if_changed: bool,
    selftest: bool,
    opt_time: OptTime,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            imgsz: None,
            batch: 1,
            name: None,
            class_names: None,
            options: Options::default(),
            out_dir: None,
            runtime: "peristyle_runtime".to_string(),
            emit_rerun_if_changed: true,
            selftest: true,
            opt_time: OptTime::default(),
        }
    }
}

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
    /// Whether golden values are baked.
    selftest: bool,
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Config::default()
    }

    /// Height and width of the network input, for models that leave them open.
    #[must_use]
    pub fn imgsz(mut self, height: usize, width: usize) -> Self {
        self.imgsz = Some([height, width]);
        self
    }

    /// Images per call that benchmarks and documentation assume; any number can be run. 1 by default.
    #[must_use]
    pub fn batch(mut self, images: usize) -> Self {
        self.batch = images.max(1);
        self
    }

    /// Name of the emitted crate or module; by default the model's file name without `.onnx`.
    #[must_use]
    pub fn module_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Class names by index, instead of those in the model.
    #[must_use]
    pub fn class_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.class_names = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Which layers run in tensor columns.
    #[must_use]
    pub fn columns(mut self, columns: Columns) -> Self {
        self.options.columns = columns;
        self
    }

    /// Bytes of straight-line code that unrolled kernels may take; 0 keeps every layer in tables.
    #[must_use]
    pub fn code_budget(mut self, bytes: usize) -> Self {
        self.options.code_budget = bytes;
        self
    }

    /// Most bytes of straight-line code and tables together. Less is unrolled then, and a model whose tables alone take
    /// more is refused.
    #[must_use]
    pub fn max_code_size(mut self, bytes: usize) -> Self {
        self.options.max_code_size = Some(bytes);
        self
    }

    /// How long the Rust compiler may take over an emitted crate; a build script's own crate has its user's profile.
    #[must_use]
    pub fn opt_time(mut self, opt_time: OptTime) -> Self {
        self.opt_time = opt_time;
        self
    }

    /// Where [`Config::compile`] writes; by default cargo's `OUT_DIR`, where `include_model!` looks.
    #[must_use]
    pub fn out_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.out_dir = Some(dir.into());
        self
    }

    /// Path of the runtime crate in the emitted code, when it is renamed or re-exported.
    #[must_use]
    pub fn runtime_path(mut self, path: impl Into<String>) -> Self {
        self.runtime = path.into();
        self
    }

    /// Whether [`Config::compile`] tells cargo to run again when the model changes.
    #[must_use]
    pub fn emit_rerun_if_changed(mut self, emit: bool) -> Self {
        self.emit_rerun_if_changed = emit;
        self
    }

    /// Whether the model's answers to a known input are baked, which `selftest` compares its own with; true by default.
    /// The interpreter runs the model once for them.
    #[must_use]
    pub fn selftest(mut self, bake: bool) -> Self {
        self.selftest = bake;
        self
    }

    /// Reads and imports a model: the first stage of [`Config::analyze`], before any rewrite.
    ///
    /// # Errors
    /// When the file cannot be read or the model cannot be imported.
    pub fn import(&self, model: impl AsRef<Path>) -> Result<Graph, Error> {
        self.read(model.as_ref()).map(|source| source.graph)
    }

    fn read(&self, path: &Path) -> Result<Source, Error> {
        let bytes = read(path)?;
        let import_error = |source| Error::Import { path: path.to_path_buf(), source };
        let proto = onnx::decode(&bytes).map_err(import_error)?;
        let base_dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let options = ImportOptions { imgsz: self.imgsz, base_dir: Some(base_dir.to_path_buf()) };
        let graph = onnx::import(&proto, &options).map_err(import_error)?;
        Ok(Source { graph, bytes, external_files: onnx::external_files(&proto, base_dir) })
    }

    /// Reads, imports, optimises and plans a model.
    ///
    /// # Errors
    /// When the file cannot be read or the model cannot be compiled.
    pub fn analyze(&self, model: impl AsRef<Path>) -> Result<Compilation, Error> {
        let path = model.as_ref();
        let Source { graph, bytes, external_files } = self.read(path)?;
        let sha256 = sha256(&bytes, &external_files)?;
        drop(bytes);
        self.optimise(path, graph, sha256, external_files)
    }

    /// Optimises and plans another graph of a model, such as one of [other weights](crate::inspect::impose).
    ///
    /// # Errors
    /// When the graph cannot be compiled.
    pub fn replan(&self, model: impl AsRef<Path>, graph: Graph) -> Result<Compilation, Error> {
        self.optimise(model.as_ref(), graph, String::new(), Vec::new())
    }

    fn optimise(
        &self,
        path: &Path,
        mut graph: Graph,
        sha256: String,
        external_files: Vec<PathBuf>,
    ) -> Result<Compilation, Error> {
        let mut stages = vec![("import".to_string(), graph.to_string())];
        let mut channels = BTreeMap::new();
        let report = passes::run_with(&mut graph, &mut |pass, graph| {
            stages.push((pass.to_string(), graph.to_string()));
            if passes::before_dead_channels() == Some(pass) {
                channels = plan::channel_zeros(graph);
            }
        })
        .map_err(|source| Error::Passes { path: path.to_path_buf(), source })?;
        if let Some(names) = &self.class_names {
            graph.metadata.class_names.clone_from(names);
        }
        let plan =
            plan::build(&graph, &self.options).map_err(|source| Error::Plan { path: path.to_path_buf(), source })?;
        stages.push(("plan".to_string(), plan.to_string()));
        let identity = self.identity(path, sha256, &graph);
        let selftest = self.selftest;
        Ok(Compilation { graph, report, plan, identity, external_files, channels, stages, selftest })
    }

    /// Compiles a model into a crate of its own in `dir`.
    ///
    /// # Errors
    /// When the model cannot be compiled or the crate cannot be written.
    pub fn generate(&self, model: impl AsRef<Path>, dir: impl AsRef<Path>) -> Result<Compilation, Error> {
        let compilation = self.analyze(model)?;
        compilation.write_crate(dir.as_ref())?;
        Ok(compilation)
    }

    /// Compiles a model from a build script: writes its modules where `include_model!` finds them, and assembles and
    /// links its kernels.
    ///
    /// # Errors
    /// When the model cannot be compiled, or when this is not a build script.
    pub fn compile(&self, model: impl AsRef<Path>) -> Result<(), Error> {
        let model = model.as_ref();
        let variable = |name: &'static str| std::env::var(name).map_err(|_| Error::NotABuildScript { variable: name });
        let out_dir = match &self.out_dir {
            Some(dir) => dir.clone(),
            None => PathBuf::from(variable("OUT_DIR")?),
        };
        if self.emit_rerun_if_changed {
            println!("cargo::rerun-if-changed={}", model.display());
        }
        let compilation = self.analyze(model)?;
        let identity = compilation.baked();
        let Compilation { plan, external_files, .. } = compilation;
        if self.emit_rerun_if_changed {
            external_files.iter().for_each(|file| println!("cargo::rerun-if-changed={}", file.display()));
        }
        let dir = out_dir.join("peristyle").join(&identity.name);
        let package = emit::modules(&plan, &identity);
        package.write_to(&dir).map_err(|source| Error::Write { what: "the emitted modules".to_string(), source })?;
        let kernels: Vec<PathBuf> = package.paths().filter(|p| p.ends_with(".S")).map(|p| dir.join(p)).collect();
        let (arch, os) = (variable("CARGO_CFG_TARGET_ARCH")?, variable("CARGO_CFG_TARGET_OS")?);
        if !kernels.is_empty() && arch == "x86_64" && os == "linux" {
            let library = format!("{}_kernels", identity.name.replace('-', "_"));
            let mut build = cc::Build::new();
            build.files(kernels).out_dir(&dir).cargo_metadata(true);
            build.try_compile(&library).map_err(|source| Error::Assemble { name: identity.name.clone(), source })?;
        }
        Ok(())
    }

    fn identity(&self, path: &Path, sha256: String, graph: &Graph) -> Identity {
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = match &self.name {
            Some(name) => crate_name(name),
            None => crate_name(file_name.strip_suffix(".onnx").unwrap_or(&file_name)),
        };
        // The name stands in comments, strings and a manifest of the emitted crate.
        let plain = |c: char| if c.is_control() || matches!(c, '"' | '\\') { '_' } else { c };
        Identity {
            name,
            source: file_name.chars().map(plain).collect(),
            sha256,
            batch: self.batch,
            class_names: graph.metadata.class_names.clone(),
            detector: detector(graph),
            runtime: self.runtime.clone(),
            golden: Vec::new(),
            opt_time: self.opt_time,
        }
    }
}

impl Compilation {
    /// The identity with golden values, where they are wanted and the interpreter has a result for them.
    fn baked(&self) -> Identity {
        let mut identity = self.identity.clone();
        if self.selftest {
            identity.golden = golden::bake(&self.graph).unwrap_or_default();
        }
        identity
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

/// Compiles a model from a build script with default options; see [`Config::compile`].
///
/// # Errors
/// When the model cannot be compiled.
pub fn compile(model: impl AsRef<Path>) -> Result<(), Error> {
    Config::new().compile(model)
}

/// A model as it is read.
struct Source {
    graph: Graph,
    /// Of the file of the model.
    bytes: Vec<u8>,
    external_files: Vec<PathBuf>,
}

/// SHA-256 of a model followed by its external data, hexadecimal.
fn sha256(model: &[u8], external_files: &[PathBuf]) -> Result<String, Error> {
    let mut hash = Sha256::new_with_prefix(model);
    for path in external_files {
        let copied = File::open(path).and_then(|mut file| std::io::copy(&mut file, &mut hash));
        copied.map_err(|source| Error::Read { path: path.clone(), source })?;
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// Models are protobuf messages, which cannot be larger.
const MAX_MODEL_BYTES: u64 = 1 << 31;

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let error = |source| Error::Read { path: path.to_path_buf(), source };
    let metadata = std::fs::metadata(path).map_err(error)?;
    if !metadata.is_file() {
        return Err(error(std::io::Error::other("not a file; pass the path of an .onnx file")));
    }
    if metadata.len() > MAX_MODEL_BYTES {
        return Err(error(std::io::Error::other("larger than 2 GiB, the limit of a protobuf message")));
    }
    std::fs::read(path).map_err(error)
}

/// How the outputs are read as boxes: decoded rows in output 0, or raw heads.
fn detector(graph: &Graph) -> Option<Detector> {
    let output = *graph.outputs.first()?;
    let classes = graph.metadata.class_names.len();
    let decoded = graph.nodes.iter().any(|n| matches!(n.op, Op::DetectHead(_)) && n.outputs.contains(&output));
    if let &[1, _, numbers] = graph.ty(output).shape.as_slice()
        && numbers > 5
        && (decoded || numbers == 5 + classes)
    {
        return Some(Detector { classes: numbers - 5, raw: Vec::new() });
    }
    let levels = passes::raw_head(graph)?;
    let classes = levels.first()?.outputs - 5;
    let raw = levels.into_iter().map(|l| RawLevel { output: l.output, stride: l.stride, anchors: l.anchors });
    Some(Detector { classes, raw: raw.collect() })
}

/// Crates that the emitted one uses, and folders that cargo keeps in its build folder.
const RESERVED: &[&str] = &[
    "core",
    "std",
    "alloc",
    "test",
    "cc",
    "peristyle-runtime",
    "peristyle_runtime",
    "build",
    "deps",
    "examples",
    "incremental",
];

/// A valid crate name: lower case letters, digits, `-` and `_`, starting with a letter.
#[must_use]
pub fn crate_name(text: &str) -> String {
    let mut name: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' })
        .collect();
    while name.contains("--") {
        name = name.replace("--", "-");
    }
    let name = name.trim_matches('-');
    let keyword = syn::parse_str::<syn::Ident>(&name.replace('-', "_")).is_err();
    if keyword || RESERVED.contains(&name) { format!("model-{name}") } else { name.to_string() }
}

/// The runtime beside this compiler's source when it is there, else the published crate.
fn runtime_source(dir: &Path) -> RuntimeSource {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (Ok(workspace), Ok(runtime)) = (workspace.canonicalize(), workspace.join("runtime").canonicalize()) else {
        return RuntimeSource::Registry;
    };
    match resolved(dir).strip_prefix(&workspace) {
        Ok(inside) => {
            let up = "../".repeat(inside.components().count());
            RuntimeSource::Path(format!("{up}runtime"))
        }
        Err(_) => RuntimeSource::Path(runtime.display().to_string()),
    }
}

/// The absolute path of a folder that may not exist yet, links and `..` resolved as far as it does.
fn resolved(dir: &Path) -> PathBuf {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    let existing = absolute.ancestors().find_map(|a| Some((a.canonicalize().ok()?, absolute.strip_prefix(a).ok()?)));
    existing.map_or_else(|| absolute.clone(), |(existing, rest)| existing.join(rest))
}

#[cfg(test)]
mod tests {
    use super::{crate_name, runtime_source};
    use crate::emit::RuntimeSource;
    use std::path::Path;

    #[test]
    fn crates_in_the_workspace_reach_the_runtime_relatively() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../generated/no-such-crate");
        assert_eq!(runtime_source(&dir), RuntimeSource::Path("../../runtime".to_string()));
    }

    #[test]
    fn crate_names_are_valid() {
        assert_eq!(crate_name("yolov5n-pruned65_quant.qdq"), "yolov5n-pruned65_quant-qdq");
        assert_eq!(crate_name("best (1)"), "best-1");
        assert_eq!(crate_name("8bit"), "model-8bit");
        assert_eq!(crate_name("type"), "model-type");
        assert_eq!(crate_name("cc"), "model-cc");
        assert_eq!(crate_name("ümlaut"), "mlaut");
        assert_eq!(crate_name("…"), "model-");
    }
}
