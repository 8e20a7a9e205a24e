//! A model against what its folder says that it computes.

use crate::golden;
use crate::interp;
use crate::ir::{DType, Data, Graph, Op, Tensor, Type, ValueId};
use crate::store::Sample;
use peristyle_runtime::tensor_io::Array;

/// Largest difference of an output of a float network, relative to its largest magnitude: the order of additions.
const FLOAT_BOUND: f64 = 1e-4;

/// Largest mean difference of an output of a quantised network, relative to its largest magnitude. Another runtime stores
/// what lies within rounding of a tie one step away, and everything after sees that, so single values say nothing.
const QUANTISED_BOUND: f64 = 2e-3;

/// A model and a sample that do not go together.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The sample is for another model, or for the same with another input.
    #[error("its sample `{file}` does not fit: {reason}")]
    Unfit {
        /// The file.
        file: String,
        /// The array, and what the model has instead.
        reason: String,
    },
    /// The interpreter has no result.
    #[error("its sample `{file}` cannot be computed")]
    Interp {
        /// The file.
        file: String,
        /// Why.
        source: interp::Error,
    },
    /// The outputs are others.
    #[error(
        "it computes something else from its sample `{file}` than its folder says: output `{output}` differs by \
         {difference:.2e} of its largest magnitude {}, where {bound:.0e} is what other runtimes may differ by. The samples \
         may be those of another version of the model; without them (`--no-samples`, `Config::samples(false)`) it compiles",
        if *mean { "on average" } else { "at the worst place" }
    )]
    Differs {
        /// The file.
        file: String,
        /// Name of the output.
        output: String,
        /// How much it differs.
        difference: f64,
        /// How much it may.
        bound: f64,
        /// Whether that is a mean.
        mean: bool,
    },
}

/// Runs a sample through the interpreter, compares the outputs, and returns the golden values of that run with its
/// inputs.
///
/// # Errors
/// When the sample does not fit the graph or the outputs are others.
pub fn check(graph: &Graph, sample: &Sample) -> Result<Vec<u8>, SampleError> {
    let file = sample.file.display().to_string();
    let unfit = |reason| SampleError::Unfit { file: file.clone(), reason };
    let inputs = bind(graph, &graph.inputs, "input", &sample.inputs).map_err(unfit)?;
    let expected = bind(graph, &graph.outputs, "output", &sample.outputs).map_err(unfit)?;
    let (golden, outputs) =
        golden::bake_on(graph, &inputs).map_err(|source| SampleError::Interp { file: file.clone(), source })?;
    let quantised = graph.nodes.iter().any(|node| match &node.op {
        Op::Conv(conv) => conv.quant.is_some(),
        Op::Quantize(_) => true,
        _ => false,
    });
    for ((got, expected), &id) in outputs.iter().zip(&expected).zip(&graph.outputs) {
        let (worst, mean) = difference(got, expected);
        let (difference, bound) = if quantised { (mean, QUANTISED_BOUND) } else { (worst, FLOAT_BOUND) };
        if difference.is_nan() || difference > bound {
            let output = graph.value(id).name.clone();
            return Err(SampleError::Differs { file, output, difference, bound, mean: quantised });
        }
    }
    Ok(golden)
}

/// One tensor per value: the array of its name, or that in its place when no name is known.
fn bind(graph: &Graph, values: &[ValueId], what: &str, given: &[(String, Array)]) -> Result<Vec<Tensor>, String> {
    let named = values.iter().all(|&id| given.iter().any(|(name, _)| *name == graph.value(id).name));
    if given.len() != values.len() && !named {
        return Err(format!("it has {} {what} arrays, the model has {}", given.len(), values.len()));
    }
    let array = |(index, &id): (usize, &ValueId)| {
        let (name, ty) = (&graph.value(id).name, graph.ty(id));
        let by_name = given.iter().find(|(other, _)| other == name && named);
        let (_, array) = by_name.unwrap_or(&given[index]);
        tensor(array, ty).ok_or_else(|| format!("{what} `{name}` is {ty}, the array {}", array.type_name()))
    };
    values.iter().enumerate().map(array).collect()
}

/// The first image of an array, whose batch may be any or missing.
fn tensor(array: &Array, ty: &Type) -> Option<Tensor> {
    let (batch, image) = ty.shape.split_first().map_or((1, &[][..]), |(batch, image)| (*batch, image));
    let fits = match array.shape() {
        shape if shape == image => true,
        [images, rest @ ..] => *images >= batch && rest == image,
        [] => false,
    };
    fits.then_some(())?;
    let len = ty.len();
    let data = match (ty.dtype, array) {
        (DType::F32, Array::F32 { data, .. }) => Data::F32(data[..len].to_vec()),
        (DType::U8, Array::U8 { data, .. }) => Data::U8(data[..len].to_vec()),
        _ => return None,
    };
    Some(Tensor::new(ty.shape.clone(), data))
}

/// Greatest and mean difference, relative to the largest magnitude that is expected.
fn difference(got: &Tensor, expected: &Tensor) -> (f64, f64) {
    let numbers = |tensor: &Tensor| -> Vec<f64> {
        match &tensor.data {
            Data::F32(values) => values.iter().map(|v| f64::from(*v)).collect(),
            Data::U8(values) => values.iter().map(|v| f64::from(*v)).collect(),
            _ => Vec::new(),
        }
    };
    let (got, expected) = (numbers(got), numbers(expected));
    let scale = expected.iter().fold(1e-6, |scale: f64, v| scale.max(v.abs()));
    let differences = got.iter().zip(&expected).map(|(g, e)| if g == e { 0.0 } else { (g - e).abs() / scale });
    // A NaN stays one: `max` would drop it.
    let (worst, sum) = differences
        .fold((0.0, 0.0), |(worst, sum): (f64, f64), d| (if d > worst || d.is_nan() { d } else { worst }, sum + d));
    (worst, sum / got.len().max(1) as f64)
}
