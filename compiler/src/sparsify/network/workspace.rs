//! Everything of one image: its feature maps, and what training remembers of them.

use super::columns::Columns;
use super::{Error, MapId, Network, Shape};

/// Buffers of one image. They are reused from call to call and never shrink.
#[derive(Clone, Debug)]
pub struct Workspace {
    pub(super) shapes: Vec<Shape>,
    pub(super) maps: Vec<Vec<f32>>,
    /// Of every convolution, the derivative of its activation at every output; empty unless training.
    pub(super) slopes: Vec<Vec<f32>>,
    /// Of every convolution that simulates quantisation, its rounded input.
    pub(super) rounded: Vec<Vec<f32>>,
    /// Of every map, the derivative of the loss; empty unless training.
    pub(super) gradients: Vec<Vec<f32>>,
    pub(super) columns: Columns,
    /// The derivative by a rounded input.
    pub(super) unrounded: Vec<f32>,
    pub(super) training: bool,
}

impl Network {
    /// Buffers for one image of this height and width.
    ///
    /// # Errors
    /// When the strides do not allow the size.
    pub fn workspace(&self, size: [usize; 2]) -> Result<Workspace, Error> {
        let shapes = self.shapes(size)?;
        Ok(Workspace {
            maps: shapes.iter().map(|shape| vec![0.0; shape.len()]).collect(),
            slopes: vec![Vec::new(); self.convolutions.len()],
            rounded: vec![Vec::new(); self.convolutions.len()],
            gradients: vec![Vec::new(); shapes.len()],
            shapes,
            columns: Columns::default(),
            unrounded: Vec::new(),
            training: false,
        })
    }

    /// The same with room for [`Network::backward`].
    ///
    /// # Errors
    /// When the strides do not allow the size.
    pub fn training_workspace(&self, size: [usize; 2]) -> Result<Workspace, Error> {
        Ok(Workspace { training: true, ..self.workspace(size)? })
    }
}

impl Workspace {
    /// Extents of a map.
    pub fn shape(&self, map: MapId) -> Shape {
        self.shapes[map.0]
    }

    /// The elements that the last forward run left in a map.
    pub fn map(&self, map: MapId) -> &[f32] {
        &self.maps[map.0]
    }

    /// The derivative of the loss by a map, after [`Network::backward`]; empty for a map it does not reach.
    pub fn gradient(&self, map: MapId) -> &[f32] {
        &self.gradients[map.0]
    }
}
