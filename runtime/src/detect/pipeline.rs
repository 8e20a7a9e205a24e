//! Pictures in, boxes out.

use alloc::borrow::Cow;
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::buffer::Buffer;
use super::clock::Instant;
use super::decode::Filter;
use super::head::Detector;
use super::nms::{Candidate, Nms, NmsParams};
use super::{Error, ImageRef, Letterbox, Params, Placement};
use crate::engine::{Infer, ModelSpec, TensorMut};

/// The objects found in one picture, best score first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detections {
    /// Left, top, right, bottom, in pixels of the picture and inside it.
    pub boxes: Vec<[f32; 4]>,
    /// Objectness times class score, 0 to 1.
    pub scores: Vec<f32>,
    /// Class of each box; [`Pipeline::label`] has its name.
    pub class_ids: Vec<usize>,
}

impl Detections {
    /// Number of objects.
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// Box, score and class id of each object.
    pub fn iter(&self) -> impl Iterator<Item = ([f32; 4], f32, usize)> + '_ {
        self.boxes.iter().zip(&self.scores).zip(&self.class_ids).map(|((b, s), c)| (*b, *s, *c))
    }
}

/// Time spent on all pictures of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Fitting pictures into the network input.
    pub pre_process: Duration,
    /// Running the network.
    pub inference: Duration,
    /// Reading the outputs and suppressing boxes.
    pub post_process: Duration,
}

impl core::ops::AddAssign for Timings {
    fn add_assign(&mut self, other: Self) {
        self.pre_process += other.pre_process;
        self.inference += other.inference;
        self.post_process += other.post_process;
    }
}

/// A replacement for [`Nms`]: leaves in the vector the boxes to report, in their order.
pub type NmsHook = Box<dyn FnMut(&mut Vec<Candidate>, &NmsParams) + Send>;

/// Makes a [`Pipeline`].
pub struct PipelineBuilder {
    model: Box<dyn Infer>,
    batch: usize,
    class_names: Option<Vec<String>>,
    nms: Option<NmsHook>,
}

impl PipelineBuilder {
    /// Pictures per run of the model, at least one; by default what the model was compiled for. A call with more
    /// pictures makes several runs. The pipeline holds the inputs and outputs of this many pictures.
    pub fn batch(mut self, images: usize) -> Self {
        self.batch = images.max(1);
        self
    }

    /// Names of the classes by index, instead of those in the model.
    pub fn class_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.class_names = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Called instead of the built-in suppression.
    pub fn nms(mut self, hook: impl FnMut(&mut Vec<Candidate>, &NmsParams) + Send + 'static) -> Self {
        self.nms = Some(Box::new(hook));
        self
    }

    /// The pipeline.
    ///
    /// # Errors
    /// [`Error::NotADetector`] when the model has no detection head, [`Error::Unsupported`] when its tensors do not
    /// fit one.
    pub fn build(self) -> Result<Pipeline, Error> {
        let spec = self.model.spec();
        let detector = Detector::new(spec)?;
        let class_names =
            self.class_names.unwrap_or_else(|| spec.class_names.iter().map(|name| (*name).to_owned()).collect());
        Ok(Pipeline {
            input: Buffer::new(detector.input.dtype),
            outputs: spec.outputs.iter().map(|output| Buffer::new(output.dtype)).collect(),
            model: self.model,
            spec,
            detector,
            batch: self.batch,
            class_names,
            nms_hook: self.nms,
            nms: Nms::new(),
            letterbox: Letterbox::new(),
            placements: Vec::new(),
            candidates: Vec::new(),
            timings: Timings::default(),
        })
    }
}

/// A detector with everything around it: letterbox, network, decoding, suppression.
///
/// The large tensors are allocated by the first call and kept.
pub struct Pipeline {
    model: Box<dyn Infer>,
    spec: &'static ModelSpec,
    detector: Detector,
    batch: usize,
    class_names: Vec<String>,
    input: Buffer,
    outputs: Vec<Buffer>,
    letterbox: Letterbox,
    placements: Vec<Placement>,
    candidates: Vec<Candidate>,
    nms: Nms,
    nms_hook: Option<NmsHook>,
    timings: Timings,
}

impl Pipeline {
    /// Starts a pipeline around `model`.
    pub fn builder(model: impl Infer + 'static) -> PipelineBuilder {
        Self::builder_boxed(Box::new(model))
    }

    /// Starts a pipeline around `model`.
    pub fn builder_boxed(model: Box<dyn Infer>) -> PipelineBuilder {
        let batch = model.spec().batch.max(1);
        PipelineBuilder { model, batch, class_names: None, nms: None }
    }

    /// Finds the objects in each of `images`, any number of them.
    ///
    /// # Errors
    /// [`Error::Param`] when `params` are out of range, [`Error::Run`] when the model refuses its tensors.
    pub fn run(&mut self, images: &[ImageRef<'_>], params: &Params) -> Result<Vec<Detections>, Error> {
        params.check(self.detector.classes)?;
        self.timings = Timings::default();
        let mut wanted = Vec::new();
        if let Some(classes) = &params.classes {
            wanted.resize(self.detector.classes, false);
            classes.iter().for_each(|id| wanted[*id] = true);
        }
        let filter = Filter { conf_thres: params.conf_thres, multi_label: params.multi_label, wanted: &wanted };
        let mut found = Vec::with_capacity(images.len());
        for chunk in images.chunks(self.batch) {
            self.run_chunk(chunk, params, &filter, &mut found)?;
        }
        Ok(found)
    }

    fn run_chunk(
        &mut self,
        images: &[ImageRef<'_>],
        params: &Params,
        filter: &Filter<'_>,
        found: &mut Vec<Detections>,
    ) -> Result<(), Error> {
        let started = Instant::now();
        self.fill_input(images, params);
        let filled = Instant::now();

        for (buffer, output) in self.outputs.iter_mut().zip(self.spec.outputs) {
            buffer.reserve(output, images.len());
        }
        let input = self.input.tensor(self.detector.input.len() * images.len());
        let mut outputs: Vec<TensorMut<'_>> = (self.outputs.iter_mut().zip(self.spec.outputs))
            .map(|(buffer, output)| buffer.tensor_mut(output.len() * images.len()))
            .collect();
        self.model.run(&[input], &mut outputs)?;
        let ran = Instant::now();

        let nms_params = NmsParams { iou_thres: params.iou_thres, max_det: params.max_det, agnostic: params.agnostic };
        for (index, placement) in self.placements.iter().enumerate() {
            self.candidates.clear();
            self.detector.candidates(&outputs, index, filter, &mut self.candidates);
            match &mut self.nms_hook {
                Some(hook) => hook(&mut self.candidates, &nms_params),
                None => self.nms.suppress(&mut self.candidates, &nms_params),
            }
            found.push(Detections {
                boxes: self.candidates.iter().map(|c| placement.to_picture(c.xyxy)).collect(),
                scores: self.candidates.iter().map(|c| c.score).collect(),
                class_ids: self.candidates.iter().map(|c| c.class_id).collect(),
            });
        }
        self.timings += Timings { pre_process: filled - started, inference: ran - filled, post_process: ran.elapsed() };
        Ok(())
    }

    fn fill_input(&mut self, images: &[ImageRef<'_>], params: &Params) {
        let (size, len) = (self.detector.size, self.detector.input.len());
        self.input.reserve(self.detector.input, images.len());
        self.placements.clear();
        for (index, image) in images.iter().enumerate() {
            let span = index * len..(index + 1) * len;
            let placement = match &mut self.input {
                Buffer::F32(data) => self.letterbox.write_f32(image, params.resize, size, &mut data[span]),
                Buffer::U8(data) => self.letterbox.write_u8(image, params.resize, size, &mut data[span]),
            };
            self.placements.push(placement);
        }
    }

    /// The model, to run on tensors.
    pub fn model(&mut self) -> &mut dyn Infer {
        self.model.as_mut()
    }

    /// Time spent by the last call of [`run`](Self::run).
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// Name of a class, or its number when it has none.
    pub fn label(&self, class_id: usize) -> Cow<'_, str> {
        match self.class_names.get(class_id) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(class_id.to_string()),
        }
    }

    /// Names of the classes by index; empty when there are none.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.detector.classes
    }

    /// Width and height of the network input.
    pub fn input_size(&self) -> [usize; 2] {
        self.detector.size
    }

    /// What the model says about itself.
    pub fn spec(&self) -> &'static ModelSpec {
        self.spec
    }
}
