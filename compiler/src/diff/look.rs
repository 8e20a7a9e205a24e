//! What two models make of the same input.

use crate::config::Compilation;
use crate::emit;
use crate::plan::{self, Options, PlanErrors};
use peristyle_runtime::detect::{Detections, Error, ImageRef, Params, Pipeline, iou};
use peristyle_runtime::engine::golden::Values;
use peristyle_runtime::engine::{
    DType, DetectorSpec, Engine, Head, Infer, ModelSpec, RawLevel, RunError, StartError, TensorMut, TensorRef,
};

/// Boxes of the two models are of one object when they overlap by this much.
const SAME_OBJECT: f32 = 0.5;

/// An object that a model finds.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Left, top, right, bottom in pixels of the picture.
    pub xyxy: [f32; 4],
    /// Score.
    pub score: f32,
    /// Class name, or number where the model has no names.
    pub label: String,
}

/// What both models found of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// By the old model.
    pub old: Object,
    /// By the new model.
    pub new: Object,
    /// Intersection over union of the two boxes.
    pub iou: f32,
}

/// What the models find in a picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Looked {
    /// Objects that both find, of one class, best score first.
    pub both: Vec<Pair>,
    /// Objects that only the old model finds.
    pub only_old: Vec<Object>,
    /// Objects that only the new model finds.
    pub only_new: Vec<Object>,
}

impl Looked {
    /// Whether both find the same to the bit.
    pub fn is_same(&self) -> bool {
        self.only_old.is_empty() && self.only_new.is_empty() && self.both.iter().all(|pair| pair.old == pair.new)
    }
}

/// How the outputs of two models on the known input differ, output by output.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// Name, numbers that differ, numbers in all, largest difference; in the order of the models.
    pub outputs: Vec<(String, usize, usize, f32)>,
}

impl Outputs {
    /// Whether no number differs.
    pub fn is_same(&self) -> bool {
        self.outputs.iter().all(|output| output.1 == 0)
    }
}

/// A compiled model in this process, with its head and names. Its memory is never freed.
struct InProcess {
    engine: Engine,
    spec: &'static ModelSpec,
}

impl InProcess {
    fn new(model: &Compilation) -> Result<InProcess, LookError> {
        let options = Options { code_budget: 0, ..Options::default() };
        let program = plan::build(&model.graph, &options)?.leak();
        let leaked = |text: &str| -> &'static str { String::leak(text.to_string()) };
        let class_names = model.identity.class_names.iter().map(|name| leaked(name)).collect::<Vec<_>>();
        let spec = ModelSpec {
            source: leaked(&model.identity.source),
            class_names: Vec::leak(class_names),
            detector: model.identity.detector.as_ref().map(detector),
            ..*program.spec
        };
        Ok(InProcess { engine: Engine::new(program, 1)?, spec: Box::leak(Box::new(spec)) })
    }
}

fn detector(detector: &emit::Detector) -> DetectorSpec {
    let level = |level: &emit::RawLevel| RawLevel {
        output: level.output,
        stride: level.stride,
        anchors: Vec::leak(level.anchors.clone()),
    };
    let levels: Vec<RawLevel> = detector.raw.iter().map(level).collect();
    let head = if levels.is_empty() { Head::Decoded } else { Head::Raw(Vec::leak(levels)) };
    DetectorSpec { classes: detector.classes, head }
}

impl Infer for InProcess {
    fn spec(&self) -> &'static ModelSpec {
        self.spec
    }

    fn run(&mut self, inputs: &[TensorRef<'_>], outputs: &mut [TensorMut<'_>]) -> Result<(), RunError> {
        self.engine.run(inputs, outputs)
    }
}

/// Looks at a picture with both models, with the default thresholds.
///
/// # Errors
/// When a model is no detector, or the operating system refuses memory.
pub fn look(old: &Compilation, new: &Compilation, picture: ImageRef<'_>) -> Result<Looked, LookError> {
    let found = |model: &Compilation| -> Result<Vec<Object>, LookError> {
        let mut pipeline = Pipeline::builder(InProcess::new(model)?).build()?;
        let found = pipeline.run(&[picture], &Params::default())?.remove(0);
        Ok(boxes(&found, &pipeline))
    };
    Ok(paired(found(old)?, found(new)?))
}

fn boxes(found: &Detections, pipeline: &Pipeline) -> Vec<Object> {
    found.iter().map(|(xyxy, score, class)| Object { xyxy, score, label: pipeline.label(class).into_owned() }).collect()
}

fn paired(old: Vec<Object>, new: Vec<Object>) -> Looked {
    let mut looked = Looked::default();
    let mut left: Vec<Option<Object>> = new.into_iter().map(Some).collect();
    for old in old {
        let overlap =
            |new: &Option<Object>| new.as_ref().filter(|n| n.label == old.label).map_or(0.0, |n| iou(old.xyxy, n.xyxy));
        let best = (0..left.len()).max_by(|&a, &b| overlap(&left[a]).total_cmp(&overlap(&left[b])));
        match best.filter(|&at| overlap(&left[at]) >= SAME_OBJECT) {
            Some(at) => {
                let iou = overlap(&left[at]);
                let new = left[at].take().expect("an object that is taken overlaps nothing");
                looked.both.push(Pair { old, new, iou });
            }
            None => looked.only_old.push(old),
        }
    }
    looked.only_new = left.into_iter().flatten().collect();
    looked
}

/// Runs both models on the known input of `selftest`; `None` when their inputs or outputs differ in number or size.
///
/// # Errors
/// When the operating system refuses memory.
pub fn run_known(old: &Compilation, new: &Compilation) -> Result<Option<Outputs>, LookError> {
    let shapes = |model: &Compilation| {
        let port = |port: &crate::plan::Port| (port.dtype, port.shape.clone());
        [&model.plan.inputs, &model.plan.outputs].map(|ports| ports.iter().map(port).collect::<Vec<_>>())
    };
    if shapes(old) != shapes(new) {
        return Ok(None);
    }
    let (old, new) = (outputs(InProcess::new(old)?)?, outputs(InProcess::new(new)?)?);
    let differ = |((name, old), (_, new)): ((String, Vec<f32>), (String, Vec<f32>))| {
        let differences = old.iter().zip(&new).filter(|(a, b)| a.to_bits() != b.to_bits()).map(|(a, b)| (a - b).abs());
        let (count, most) = differences.fold((0, 0.0f32), |(count, most), d| (count + 1, most.max(d)));
        (name, count, old.len(), most)
    };
    Ok(Some(Outputs { outputs: old.into_iter().zip(new).map(differ).collect() }))
}

/// Names and numbers of the outputs on the known input.
fn outputs(mut model: InProcess) -> Result<Vec<(String, Vec<f32>)>, LookError> {
    let spec = model.spec;
    let inputs: Vec<Values> = spec.inputs.iter().map(|input| Values::input(input.dtype, input.len())).collect();
    let inputs: Vec<TensorRef<'_>> = (inputs.iter())
        .map(|values| match values {
            Values::F32(values) => TensorRef::F32(values),
            Values::U8(values) => TensorRef::U8(values),
        })
        .collect();
    let mut floats: Vec<Vec<f32>> = Vec::new();
    let mut bytes: Vec<Vec<u8>> = Vec::new();
    for output in spec.outputs {
        floats.push(if output.dtype == DType::F32 { vec![0.0; output.len()] } else { Vec::new() });
        bytes.push(if output.dtype == DType::U8 { vec![0; output.len()] } else { Vec::new() });
    }
    let mut outputs: Vec<TensorMut<'_>> = (floats.iter_mut().zip(&mut bytes).zip(spec.outputs))
        .map(|((floats, bytes), output)| match output.dtype {
            DType::F32 => TensorMut::F32(floats),
            DType::U8 => TensorMut::U8(bytes),
        })
        .collect();
    model.run(&inputs, &mut outputs)?;
    let numbers = floats
        .into_iter()
        .zip(bytes)
        .map(|(floats, bytes)| if floats.is_empty() { bytes.into_iter().map(f32::from).collect() } else { floats });
    Ok(spec.outputs.iter().map(|output| output.name.to_string()).zip(numbers).collect())
}

/// Why two models cannot be run side by side.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// A model cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanErrors),
    /// Memory or threads are refused.
    #[error("a model cannot be started: {0}")]
    Start(#[from] StartError),
    /// A model gives no boxes.
    #[error(transparent)]
    Detect(#[from] Error),
    /// A model refuses its tensors.
    #[error(transparent)]
    Run(#[from] RunError),
}
