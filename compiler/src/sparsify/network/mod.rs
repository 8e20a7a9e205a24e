//! A float network that can be run and trained on a CPU.
//!
//! [`Network::new`] takes an imported graph, folds what can be folded (batch normalisations, activations, residuals, the
//! decode of a detector), and keeps the convolutions under the names of the source model. Static shapes are forgotten:
//! [`Network::workspace`] derives them for any input size that the strides allow.
//!
//! One [`Workspace`] holds everything of one image. Images know nothing of each other, so a batch is a parallel
//! loop over workspaces:
//!
//! ```no_run
//! # use peristyle_compiler::{Config, sparsify::network::Network};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let network = Network::new(&Config::new().import("yolov5n.onnx")?)?;
//! let weights = network.weights();
//! let mut workspace = network.workspace([320, 320])?;
//! let image = vec![0.5; 3 * 320 * 320];
//! network.forward_observed(&weights, &image, &mut workspace, &mut |convolution, input, shape| {
//!     println!("{} reads {shape:?}, first {}", network.convolutions()[convolution].name, input[0]);
//! });
//! for &output in network.outputs() {
//!     println!("{:?}", workspace.shape(output));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Feature maps are row-major `[channels, height, width]`, pixels of photographs from 0 to 1.

mod backward;
mod build;
mod columns;
mod convolution;
mod error;
mod forward;
mod pointwise;
mod pool;
mod quantise;
mod shape;
mod workspace;

pub use backward::{Gradients, Loss};
pub use build::trainable;
pub use columns::{Columns, Window};
pub use convolution::{Convolution, Parameters, Weights};
pub use error::Error;
pub(super) use pointwise::activate;
pub use pointwise::sigmoid;
pub use quantise::{InputRange, quantised_weight};
pub use shape::Shape;
pub use workspace::Workspace;

use crate::ir::{Activation, DetectHead, Graph, Pool, Residual};

/// Index of a feature map of a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MapId(usize);

impl MapId {
    /// The map with this index.
    pub fn at(index: usize) -> Self {
        MapId(index)
    }

    /// From 0, in the order in which maps are computed.
    pub fn index(self) -> usize {
        self.0
    }
}

/// What is computed, in an order in which every map is known before it is read.
#[derive(Clone, Debug)]
enum Step {
    Convolve { convolution: usize, input: MapId, residual: Option<(MapId, Residual)>, output: MapId },
    Activate { activation: Activation, input: MapId, output: MapId },
    Add { inputs: [MapId; 2], output: MapId },
    Concat { inputs: Vec<MapId>, output: MapId },
    MaxPool { pool: Pool, input: MapId, output: MapId },
    Enlarge { scale: [usize; 2], input: MapId, output: MapId },
    GlobalAverage { input: MapId, output: MapId },
}

impl Step {
    fn output(&self) -> MapId {
        match *self {
            Step::Convolve { output, .. }
            | Step::Activate { output, .. }
            | Step::Add { output, .. }
            | Step::Concat { output, .. }
            | Step::MaxPool { output, .. }
            | Step::Enlarge { output, .. }
            | Step::GlobalAverage { output, .. } => output,
        }
    }
}

/// A network of convolutions, maps and what lies between them. See [the module](self).
#[derive(Clone, Debug)]
pub struct Network {
    steps: Vec<Step>,
    /// Channels of every map.
    channels: Vec<usize>,
    input: MapId,
    outputs: Vec<MapId>,
    head: Option<DetectHead>,
    convolutions: Vec<Convolution>,
}

impl Network {
    /// The network of an imported float graph.
    ///
    /// # Errors
    /// When the graph has an operator that cannot be trained, or not exactly one input map.
    pub fn new(graph: &Graph) -> Result<Self, Error> {
        build::build(graph)
    }

    /// All convolutions, in the order in which they run.
    pub fn convolutions(&self) -> &[Convolution] {
        &self.convolutions
    }

    /// The same, to be changed.
    pub fn convolutions_mut(&mut self) -> &mut [Convolution] {
        &mut self.convolutions
    }

    /// The convolution whose weight has this name in the source model.
    pub fn convolution_mut(&mut self, weight: &str) -> Option<&mut Convolution> {
        self.convolutions.iter_mut().find(|convolution| convolution.weight_name == weight)
    }

    /// The map that holds the image.
    pub fn input(&self) -> MapId {
        self.input
    }

    /// The result maps: of a detector the raw heads `[anchors * outputs, h, w]`, finest or first level first as in
    /// [`Network::head`]; of other networks their outputs.
    pub fn outputs(&self) -> &[MapId] {
        &self.outputs
    }

    /// How the outputs are read as boxes, when the network is a detector whose decode is known.
    pub fn head(&self) -> Option<&DetectHead> {
        self.head.as_ref()
    }

    /// The map that a convolution writes, activated and with its residual.
    pub fn output_of(&self, convolution: usize) -> MapId {
        let writes = |step: &&Step| matches!(step, Step::Convolve { convolution: c, .. } if *c == convolution);
        self.steps.iter().find(writes).expect("every convolution is a step").output()
    }

    /// The map that a convolution reads.
    pub fn input_of(&self, convolution: usize) -> MapId {
        let reads = |step: &Step| match step {
            Step::Convolve { convolution: c, input, .. } if *c == convolution => Some(*input),
            _ => None,
        };
        self.steps.iter().find_map(reads).expect("every convolution is a step")
    }
}
