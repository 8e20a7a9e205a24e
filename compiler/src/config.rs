//! The driver: options, and the stages of a compilation in order.

mod compilation;
mod crate_name;
mod runtime_source;

pub use compilation::Compilation;
pub use crate_name::crate_name;

use crate::emit::{Detector, Identity, OptTime, RawLevel, hexadecimal};
use crate::error::Error;
use crate::ir::{Graph, Op};
use crate::onnx::{self, ImportOptions};
use crate::passes;
use crate::plan::{self, Columns, Options};
use crate::sample::{self, SampleError};
use crate::store::{self, Place};
use peristyle_runtime::simd::Isa;
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
    classes: Option<Vec<String>>,
    options: Options,
    isas: Vec<Isa>,
    pub(crate) out_dir: Option<PathBuf>,
    runtime: String,
    pub(crate) emit_rerun_if_changed: bool,
    selftest: bool,
    samples: bool,
    threads: Option<usize>,
    format: bool,
    version: String,
    license: Option<String>,
    pub(crate) report: Option<PathBuf>,
    opt_time: OptTime,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            imgsz: None,
            batch: 1,
            name: None,
            class_names: None,
            classes: None,
            options: Options::default(),
            isas: Isa::ALL.to_vec(),
            out_dir: None,
            runtime: "peristyle_runtime".to_string(),
            emit_rerun_if_changed: true,
            selftest: true,
            samples: true,
            threads: None,
            format: true,
            version: "0.1.0".to_string(),
            license: None,
            report: None,
            opt_time: OptTime::default(),
        }
    }
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

    /// The classes to compile in, by name (or number, where the model has no names); all by default. The others leave the
    /// weights of the detection head. Class ids then count the classes that are kept, in the order of the model.
    ///
    /// Every row of the outputs is that of the whole model without the columns of the other classes: of an integer head
    /// to the bit, of a float head up to the order of additions. A box is therefore reported with the best of the kept
    /// classes, also where a class that is gone would have been better.
    #[must_use]
    pub fn classes(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.classes = Some(names.into_iter().map(Into::into).collect());
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

    /// Whether the sample inputs and outputs in a model's folder are compared with what the interpreter computes, and baked
    /// for `selftest`; true by default.
    #[must_use]
    pub fn samples(mut self, compare: bool) -> Self {
        self.samples = compare;
        self
    }

    /// The instruction sets that the emitted code is specialised for; by default all that the target may have. Without
    /// [`Isa::Avx2`] no kernel is unrolled into assembly, without [`Isa::Avx512`] there are no tables for its dot
    /// products and integer networks run the kernels of 256 bits on such machines. What the runtime holds for others stays:
    /// the model runs on every machine.
    #[must_use]
    pub fn target_isa(mut self, isas: impl IntoIterator<Item = Isa>) -> Self {
        self.isas = isas.into_iter().collect();
        self
    }

    /// What the planner may choose from, for the instruction sets.
    fn options(&self) -> Options {
        let code_budget = if self.isas.contains(&Isa::Avx2) { self.options.code_budget } else { 0 };
        let wide = self.options.wide && self.isas.contains(&Isa::Avx512);
        Options { code_budget, wide, ..self.options }
    }

    /// Threads of the emitted `Model::start`; by default as many as the machine has cores.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    /// Whether the emitted source is laid out for readers; true by default.
    #[must_use]
    pub fn format(mut self, format: bool) -> Self {
        self.format = format;
        self
    }

    /// Version of the emitted crate; 0.1.0 by default.
    #[must_use]
    pub fn crate_version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Licence of the emitted crate, an SPDX expression such as `MIT OR Apache-2.0`. Registries want one: without it the
    /// crate is marked as not to be published, for a model's licence is its owner's.
    #[must_use]
    pub fn license(mut self, license: impl Into<String>) -> Self {
        self.license = Some(license.into());
        self
    }

    /// A file to describe the compilation in, as JSON: the model, every layer with its kernel and the reason for it, and
    /// what remains of weights and multiply-accumulates. A relative path is below the folder that is written to.
    #[must_use]
    pub fn report(mut self, file: impl Into<PathBuf>) -> Self {
        self.report = Some(file.into());
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
        let place = match Place::find(path, Path::new("")) {
            // What the system says about it is shorter.
            Err(store::Error::Missing { path, .. }) => Place::of_file(path, String::new()),
            found => found?,
        };
        let opened = place.open()?;
        let bytes = read(&opened.model)?;
        let import_error = |source| Error::Import { path: place.file.clone(), source };
        let proto = onnx::decode(&bytes).map_err(import_error)?;
        let base_dir = opened.model.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let options = ImportOptions { imgsz: self.imgsz, base_dir: Some(base_dir.to_path_buf()) };
        let graph = onnx::import(&proto, &options).map_err(import_error)?;
        let mut external_files = onnx::external_files(&proto, base_dir);
        let sha256 = sha256(&bytes, &external_files)?;
        if opened.unpacked.is_some() {
            // They go away with the folder that they were unpacked to.
            external_files.clear();
        }
        Ok(Source { graph, sha256, external_files, place })
    }

    /// Reads, imports, optimises and plans a model.
    ///
    /// # Errors
    /// When the file cannot be read or the model cannot be compiled.
    pub fn analyze(&self, model: impl AsRef<Path>) -> Result<Compilation, Error> {
        let Source { graph, sha256, external_files, place } = self.read(model.as_ref())?;
        let sample = if self.selftest && self.samples { place.sample()? } else { None };
        let mut compilation = self.optimise(&place, graph, sha256)?;
        compilation.external_files = external_files;
        match sample.map(|sample| sample::check(&compilation.graph, &sample)) {
            None => {}
            Some(Ok(golden)) => compilation.golden = Some(golden),
            // Compiled for another size, say: then there is nothing to compare with.
            Some(Err(error @ SampleError::Unfit { .. })) => compilation.warnings.push(error.to_string()),
            Some(Err(source)) => return Err(Error::Sample { path: place.file, source: Box::new(source) }),
        }
        Ok(compilation)
    }

    /// Optimises and plans a graph: an imported one, or one that was built or changed in this process. `name` stands for
    /// the file of a model.
    ///
    /// # Errors
    /// When the graph cannot be compiled.
    pub fn analyze_graph(&self, name: &str, graph: Graph) -> Result<Compilation, Error> {
        let hash = hexadecimal(&Sha256::digest(format!("{graph:?}")));
        self.optimise(&Place::of_file(name.into(), name.to_string()), graph, hash)
    }

    fn optimise(&self, place: &Place, mut graph: Graph, sha256: String) -> Result<Compilation, Error> {
        let path = &place.file;
        let mut stages = vec![("import".to_string(), graph.to_string())];
        let mut channels = BTreeMap::new();
        let mut report = passes::run_with(&mut graph, &mut |pass, graph| {
            stages.push((pass.to_string(), graph.to_string()));
            if passes::before_dead_channels() == Some(pass) {
                channels = plan::channel_zeros(graph);
            }
        })
        .map_err(|source| Error::Passes { path: path.clone(), source })?;
        if let Some(names) = &self.class_names {
            graph.metadata.class_names.clone_from(names);
        }
        if let Some(wanted) = &self.classes {
            passes::keep_classes(&mut graph, wanted, &mut report)
                .map_err(|source| Error::Classes { path: path.clone(), source })?;
            stages.push(("keep-classes".to_string(), graph.to_string()));
        }
        let plan = plan::build(&graph, &self.options()).map_err(|source| Error::Plan { path: path.clone(), source })?;
        stages.push(("plan".to_string(), plan.to_string()));
        let identity = self.identity(place, sha256, &graph);
        Ok(Compilation {
            graph,
            report,
            plan,
            identity,
            external_files: Vec::new(),
            channels,
            stages,
            warnings: Vec::new(),
            selftest: self.selftest,
            golden: None,
        })
    }

    /// Compiles a model into a crate of its own in `dir`.
    ///
    /// # Errors
    /// When the model cannot be compiled or the crate cannot be written.
    pub fn generate(&self, model: impl AsRef<Path>, dir: impl AsRef<Path>) -> Result<Compilation, Error> {
        let compilation = self.analyze(model)?;
        compilation.write_crate(dir.as_ref())?;
        if let Some(file) = &self.report {
            compilation.write_report(&dir.as_ref().join(file))?;
        }
        Ok(compilation)
    }

    /// Name of the crate or module of a model, whose path is relative to `base`.
    pub(crate) fn name_of(&self, model: &Path, base: &Path) -> String {
        self.name.as_deref().map_or_else(|| crate_name(&store::name(model, base)), crate_name)
    }

    fn identity(&self, place: &Place, sha256: String, graph: &Graph) -> Identity {
        let name = crate_name(self.name.as_ref().unwrap_or(&place.name));
        // The name stands in comments, strings and a manifest of the emitted crate.
        let plain = |c: char| if c.is_control() || matches!(c, '"' | '\\') { '_' } else { c };
        Identity {
            name,
            source: place.source.chars().map(plain).collect(),
            sha256,
            batch: self.batch,
            class_names: graph.metadata.class_names.clone(),
            detector: detector(graph),
            runtime: self.runtime.clone(),
            golden: Vec::new(),
            threads: self.threads,
            format: self.format,
            version: self.version.chars().map(plain).collect(),
            license: self.license.as_ref().map(|license| license.chars().map(plain).collect()),
            opt_time: self.opt_time,
        }
    }
}

/// A model as it is read.
struct Source {
    graph: Graph,
    sha256: String,
    external_files: Vec<PathBuf>,
    place: Place,
}

/// SHA-256 of a model followed by its external data, hexadecimal.
pub(crate) fn sha256(model: &[u8], external_files: &[PathBuf]) -> Result<String, Error> {
    let mut hash = Sha256::new_with_prefix(model);
    for path in external_files {
        let copied = File::open(path).and_then(|mut file| std::io::copy(&mut file, &mut hash));
        copied.map_err(|source| Error::Read { path: path.clone(), source })?;
    }
    Ok(hexadecimal(&hash.finalize()))
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
