//! How far sparsification has come.

/// A part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Tracing what zeros cost in every layer.
    Sensitivity,
    /// Pruning layer by layer.
    Prune,
    /// Training the pruned network to answer as the dense one does.
    Distill,
    /// Choosing scales and rounding weights.
    Quantize,
}

/// A message for who waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<'s> {
    /// The part of the work.
    pub stage: Stage,
    /// Steps of it that are done.
    pub done: usize,
    /// Its steps.
    pub total: usize,
    /// What is at work now.
    pub what: &'s str,
}

/// Where messages go.
pub struct Progress<'p> {
    show: &'p mut dyn FnMut(&Step<'_>),
}

impl<'p> Progress<'p> {
    /// Shows every step to `show`.
    pub fn new(show: &'p mut dyn FnMut(&Step<'_>)) -> Self {
        Self { show }
    }

    /// Tells that step `done` of `total` begins.
    pub fn at(&mut self, stage: Stage, done: usize, total: usize, what: &str) {
        (self.show)(&Step { stage, done, total, what });
    }
}
