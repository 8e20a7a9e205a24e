//! What the times of layers mean.

use super::Measured;
use crate::engine::{Engine, Layer, LayerInfo};
use crate::simd::Isa;
use crate::simd::peak::Peak;

/// A measured network.
pub(super) struct Report {
    pub batch: usize,
    pub threads: usize,
    pub isa: Isa,
    /// Of one thread.
    pub peak: Peak,
    /// Mean milliseconds of a run, what lies between the layers included.
    pub total: f64,
    pub layers: Vec<LayerTime>,
}

/// A measured layer. Times are milliseconds per run.
#[derive(Clone, Debug)]
pub(super) struct LayerTime {
    /// Index in the program.
    pub index: usize,
    pub name: String,
    pub info: LayerInfo,
    pub mean: f64,
    pub min: f64,
    /// What its nonzero multiply-accumulates take at peak on all threads.
    pub attainable: f64,
    /// Nonzero multiply-accumulates per run.
    pub nonzero_macs: f64,
}

/// All layers of one kind.
#[derive(Clone, Debug)]
pub(super) struct KindTime {
    pub name: String,
    pub layers: usize,
    pub mean: f64,
    pub min: f64,
    pub attainable: f64,
}

impl Report {
    pub(super) fn new(engine: &Engine, batch: usize, peak: &Peak, measured: &Measured) -> Self {
        let runs = measured.iterations.len() as f64;
        let times = engine.program().layers.iter().zip(&measured.layers).enumerate();
        let layers = times
            .map(|(index, (layer, &(sum, min)))| LayerTime::new(index, layer, [sum / runs, min], batch, engine, peak));
        Self {
            batch,
            threads: engine.threads(),
            isa: engine.isa(),
            peak: *peak,
            total: measured.iterations.iter().sum::<f64>() / runs,
            layers: layers.collect(),
        }
    }

    /// Milliseconds of a run outside of the layers.
    pub(super) fn outside(&self) -> f64 {
        self.total - self.layers.iter().map(|l| l.mean).sum::<f64>()
    }

    /// Images per second.
    pub(super) fn items_per_second(&self) -> f64 {
        self.batch as f64 * 1e3 / self.total.max(1e-9)
    }

    /// The fastest times of all layers together, in milliseconds.
    pub(super) fn fastest(&self) -> f64 {
        self.layers.iter().map(|l| l.min).sum()
    }

    /// Share of a run, from 0 to 1.
    pub(super) fn share(&self, milliseconds: f64) -> f64 {
        milliseconds / self.total.max(1e-9)
    }

    /// The layer that loses most; `None` without layers.
    pub(super) fn worst(&self) -> Option<&LayerTime> {
        self.layers.iter().max_by(|a, b| a.lost().total_cmp(&b.lost()))
    }

    /// The kinds of layers, those first that lose most.
    pub(super) fn kinds(&self) -> Vec<KindTime> {
        let mut kinds: Vec<KindTime> = Vec::new();
        for layer in &self.layers {
            let name = layer.kind();
            let at = kinds.iter().position(|k| k.name == name).unwrap_or_else(|| {
                kinds.push(KindTime { name, layers: 0, mean: 0.0, min: 0.0, attainable: 0.0 });
                kinds.len() - 1
            });
            kinds[at].layers += 1;
            kinds[at].mean += layer.mean;
            kinds[at].min += layer.min;
            kinds[at].attainable += layer.attainable;
        }
        kinds.sort_by(|a, b| b.lost().total_cmp(&a.lost()));
        kinds
    }
}

impl LayerTime {
    fn new(index: usize, layer: &Layer, [mean, min]: [f64; 2], batch: usize, engine: &Engine, peak: &Peak) -> Self {
        let mut info = layer.info.clone();
        info.kernel = layer.kernel(engine.isa()).to_owned().into();
        info.reason = layer.reason(engine.isa()).to_owned().into();
        let rate = if info.weight_bits == 8 { peak.u8s8 } else { peak.f32 };
        let nonzero_macs = info.macs.1 as f64 * batch as f64;
        let attainable = nonzero_macs * 1e3 / (rate.macs_per_second * engine.threads() as f64);
        Self { index, name: layer.name.to_string(), info, mean, min, attainable, nonzero_macs }
    }

    /// The start of its module's name in the emitted crate.
    pub(super) fn module(&self) -> String {
        format!("l{:03}", self.index)
    }

    /// `Conv 3x3/2 u8s8`
    pub(super) fn kind(&self) -> String {
        let mut name = self.info.op.to_string();
        if let Some(window) = self.info.window {
            let ([h, w], [sh, sw]) = (window.size, window.stride);
            name += &format!(" {h}x{w}");
            match (sh, sw) {
                (1, 1) => {}
                _ if sh == sw => name += &format!("/{sh}"),
                _ => name += &format!("/{sh}x{sw}"),
            }
        }
        match self.info.weight_bits {
            0 => name,
            8 => name + " u8s8",
            _ => name + " f32",
        }
    }

    /// Milliseconds above what is attainable, at its fastest: what disturbs a run is not the layer's fault.
    pub(super) fn lost(&self) -> f64 {
        self.min - self.attainable
    }

    /// Share of the peak, from 0 to 1; `None` for a layer that multiplies nothing.
    pub(super) fn of_peak(&self) -> Option<f64> {
        (self.nonzero_macs > 0.0).then(|| self.attainable / self.mean.max(1e-9))
    }

    /// Billions of nonzero multiply-accumulates per second.
    pub(super) fn gmacs_per_second(&self) -> f64 {
        self.nonzero_macs / self.mean.max(1e-9) / 1e6
    }

    /// Share of weights that are not zero; `None` without weights.
    pub(super) fn density(&self) -> Option<f64> {
        let (weights, nonzeros) = self.info.weights;
        (weights > 0).then(|| nonzeros as f64 / weights as f64)
    }

    /// `[outputs, inputs of a group, height, width]` of its weights; `[height, width]` of a window without weights.
    pub(super) fn kernel_dims(&self) -> Option<Vec<usize>> {
        let [h, w] = self.info.window?.size;
        let weights = self.info.weights.0 as usize;
        let outputs = self.info.outputs.first().and_then(|shape| shape.get(1)).copied().unwrap_or(1);
        Some(if weights == 0 { vec![h, w] } else { vec![outputs, weights / (outputs * h * w).max(1), h, w] })
    }

    /// Shape of the first output of a run.
    pub(super) fn output_dims(&self, batch: usize) -> Vec<usize> {
        batched(self.info.outputs.first().map_or(&[], |shape| &shape[..]), batch)
    }

    /// Shape of the first input of a run.
    pub(super) fn input_dims(&self, batch: usize) -> Vec<usize> {
        batched(self.info.inputs.first().map_or(&[], |shape| &shape[..]), batch)
    }
}

impl KindTime {
    /// Milliseconds above what is attainable, at its fastest: what disturbs a run is not the layer's fault.
    pub(super) fn lost(&self) -> f64 {
        self.min - self.attainable
    }
}

fn batched(shape: &[usize], batch: usize) -> Vec<usize> {
    shape.first().map(|first| first * batch).into_iter().chain(shape.iter().skip(1).copied()).collect()
}
