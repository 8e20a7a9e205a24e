//! What the student is told.

use super::vectors::{pull, pull_sigmoids, pull_weighted, sigmoids, sums};
use crate::sparsify::network::{Loss, MapId, Network, Shape, Workspace};
use std::cmp::Ordering;

/// Outputs of an anchor before its classes: x, y, w, h, objectness.
const BOX: usize = 4;
/// Weight of the terms of a detection.
const OBJECTNESS: f32 = 1.0;
const CLASSES: f32 = 0.5;
const BOXES: f32 = 0.5;
/// How much of an average one image replaces.
const RENEWAL: f32 = 0.02;

/// What losses are relative to: averages over the images so far.
pub(super) struct Normalisation {
    /// Of every map, the sum of squared distances from its channels' means; `None` where nothing is compared.
    spread: Vec<Option<f32>>,
    /// Objects the teacher sees in an image: its objectness, summed.
    objects: f32,
    images: usize,
}

impl Normalisation {
    pub(super) fn new(teacher: &Network) -> Self {
        let maps = (0..teacher.convolutions().len()).map(|c| teacher.output_of(c));
        let compared: Vec<MapId> = maps.filter(|map| !teacher.outputs().contains(map)).collect();
        let last = compared.iter().chain(teacher.outputs()).map(|m| m.index()).max().unwrap_or(0);
        let mut spread = vec![None; last + 1];
        compared.iter().for_each(|map| spread[map.index()] = Some(0.0));
        if teacher.head().is_none() {
            teacher.outputs().iter().for_each(|map| spread[map.index()] = Some(0.0));
        }
        Normalisation { spread, objects: 0.0, images: 0 }
    }

    /// Takes the teacher's maps of an image into the averages.
    pub(super) fn note(&mut self, teacher: &Network, taught: &Workspace) {
        self.images += 1;
        let renewal = RENEWAL.max(1.0 / self.images as f32);
        for (index, spread) in self.spread.iter_mut().enumerate() {
            let Some(spread) = spread else { continue };
            let map = MapId::at(index);
            *spread += renewal * (deviation(taught.map(map), taught.shape(map)) - *spread);
        }
        self.objects += renewal * (objects(teacher, taught) - self.objects);
    }

    fn layers(&self) -> f32 {
        self.spread.iter().flatten().count().max(1) as f32
    }
}

fn deviation(map: &[f32], shape: Shape) -> f32 {
    let of_plane = |plane: &[f32]| {
        let count = plane.len() as f32;
        let [sum, squares] = sums(plane);
        (squares - sum * sum / count).max(0.0)
    };
    map.chunks_exact(shape.pixels()).map(of_plane).sum()
}

fn objects(teacher: &Network, taught: &Workspace) -> f32 {
    let Some(head) = teacher.head() else { return 0.0 };
    let of_map = |map: MapId| {
        let planes = taught.map(map).chunks_exact(taught.shape(map).pixels());
        planes.skip(BOX).step_by(head.outputs).map(|plane| sigmoids(plane).iter().sum::<f32>()).sum::<f32>()
    };
    teacher.outputs().iter().map(|&map| of_map(map)).sum()
}

/// The loss of one image.
pub(super) struct DistillationLoss<'a> {
    teacher: &'a Network,
    taught: &'a Workspace,
    normalisation: &'a Normalisation,
    features: f32,
    /// Of the image in its batch.
    share: f32,
    terms: [f32; 2],
}

impl<'a> DistillationLoss<'a> {
    pub(super) fn new(
        teacher: &'a Network,
        taught: &'a Workspace,
        normalisation: &'a Normalisation,
        features: f32,
        share: f32,
    ) -> Self {
        DistillationLoss { teacher, taught, normalisation, features, share, terms: [0.0; 2] }
    }

    /// Of the detections, per object; of the features, relative to their spread, mean over layers.
    pub(super) fn terms(&self) -> [f32; 2] {
        self.terms
    }

    fn detections(&mut self, outputs: usize, map: MapId, shape: Shape, elements: &[f32], gradient: &mut [f32]) {
        let pixels = shape.pixels();
        let taught = self.taught.map(map).chunks_exact(pixels * outputs);
        let anchors = elements.chunks_exact(pixels * outputs).zip(gradient.chunks_exact_mut(pixels * outputs));
        let unit = self.share / self.normalisation.objects.max(1.0);
        let evenly = vec![1.0; pixels];
        let mut sum = 0.0;
        for (taught, (ours, gradient)) in taught.zip(anchors) {
            let sure = sigmoids(&taught[BOX * pixels..][..pixels]);
            let planes =
                taught.chunks_exact(pixels).zip(ours.chunks_exact(pixels)).zip(gradient.chunks_exact_mut(pixels));
            for (at, ((taught, ours), gradient)) in planes.enumerate() {
                sum += match at.cmp(&BOX) {
                    Ordering::Less => BOXES * pull_weighted(taught, ours, &sure, 2.0 * BOXES * unit, gradient),
                    Ordering::Equal => OBJECTNESS * pull_sigmoids(taught, ours, &evenly, OBJECTNESS * unit, gradient),
                    Ordering::Greater => CLASSES * pull_sigmoids(taught, ours, &sure, CLASSES * unit, gradient),
                };
            }
        }
        self.terms[0] += sum / self.normalisation.objects.max(1.0);
    }

    fn features(&mut self, spread: f32, map: MapId, elements: &[f32], gradient: &mut [f32]) {
        let layers = self.normalisation.layers();
        let unit = 1.0 / (spread.max(f32::MIN_POSITIVE) * layers);
        let factor = 2.0 * self.share * self.features * unit;
        self.terms[1] += unit * pull(self.taught.map(map), elements, factor, gradient);
    }
}

impl Loss for DistillationLoss<'_> {
    fn reads(&self, map: MapId) -> bool {
        let compared = self.normalisation.spread.get(map.index()).is_some_and(Option::is_some);
        compared || self.teacher.outputs().contains(&map)
    }

    fn differentiate(&mut self, map: MapId, shape: Shape, elements: &[f32], gradient: &mut [f32]) {
        match (self.normalisation.spread.get(map.index()).copied().flatten(), self.teacher.head()) {
            (Some(spread), _) => self.features(spread, map, elements, gradient),
            (None, Some(head)) => self.detections(head.outputs, map, shape, elements, gradient),
            (None, None) => {}
        }
    }
}
