//! `infer`: tensors in, tensors out.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::tensors::{Memory, batched_shape};
use crate::app::failure::Failure;
use crate::app::files;
use crate::engine::{DType, TensorRef, TensorSpec};
use crate::tensor_io::{Array, read_tensors, write_tensor};

/// Run the network on tensors from a file
///
/// Nothing is added to the network: no scaling of images, no reading of boxes. Every output is written to
/// DIR/NAME.npy with the shape of the model for as many images as the input has; a slash in NAME becomes `_`.
#[derive(Args, Debug)]
pub(super) struct InferArgs {
    /// Input tensors: an .npz with a member for each input, or an .npy when the model has one input. The first axis
    /// may have any extent from 1
    #[arg(short, long, value_name = "FILE")]
    input: PathBuf,

    /// Directory for the output tensors
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Threads of the network [default: the cores that this process may use]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

pub(super) fn run(args: &InferArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let spec = context.spec;
    let failed = |message: String| Failure::new(format_args!("{}: {message}", args.input.display()));
    let members = read_tensors(&args.input).map_err(Failure::new)?;
    let arrays = (spec.inputs.iter())
        .map(|input| member(&members, input, spec.inputs).map_err(failed))
        .collect::<Result<Vec<_>, _>>()?;
    let images = arrays.first().map_or(0, |array| array.shape().first().copied().unwrap_or(0));
    let inputs = (arrays.iter().zip(spec.inputs))
        .map(|(array, input)| tensor(array, input, images).map_err(failed))
        .collect::<Result<Vec<_>, _>>()?;

    let mut engine = context.engine(args.threads)?;
    let mut outputs: Vec<_> = spec.outputs.iter().map(|output| Memory::zeros(output, images)).collect();
    let mut tensors: Vec<_> = outputs.iter_mut().map(Memory::tensor_mut).collect();
    engine.run(&inputs, &mut tensors).map_err(Failure::new)?;

    files::create_directory(&args.output)?;
    for (output, memory) in spec.outputs.iter().zip(outputs) {
        let path = args.output.join(output.name.replace('/', "_") + ".npy");
        let array = memory.into_array(batched_shape(output, images));
        write_tensor(&path, &array).map_err(|error| Failure::new(format_args!("cannot write {error}")))?;
        writeln!(context.console.out, "{} {}", path.display(), array.type_name())?;
    }
    Ok(())
}

/// The array for `input`: the one of its name, or the only one of an .npy.
fn member<'a>(members: &'a [(String, Array)], input: &TensorSpec, inputs: &[TensorSpec]) -> Result<&'a Array, String> {
    if let ([(name, array)], [_]) = (members, inputs)
        && name.is_empty()
    {
        return Ok(array);
    }
    let found = members.iter().find(|(name, _)| name == input.name).map(|(_, array)| array);
    found.ok_or_else(|| {
        let there: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
        match there[..] {
            [""] => format!("the model has {} inputs; an .npz with a member for each is needed", inputs.len()),
            _ => format!("no member is named `{}`; there are: {}", input.name, there.join(", ")),
        }
    })
}

/// The elements of `array` when it is `images` images, at least one, of `input`.
fn tensor<'a>(array: &'a Array, input: &TensorSpec, images: usize) -> Result<TensorRef<'a>, String> {
    let fits = images > 0 && array.shape() == batched_shape(input, images);
    match (array, input.dtype) {
        (Array::F32 { data, .. }, DType::F32) if fits => Ok(TensorRef::F32(data)),
        (Array::U8 { data, .. }, DType::U8) if fits => Ok(TensorRef::U8(data)),
        _ => {
            let dtype = match input.dtype {
                DType::F32 => "f32",
                DType::U8 => "u8",
            };
            let only_count_differs = images > 0 && array.shape().get(1..) == input.shape.get(1..);
            let count = if only_count_differs { images.to_string() } else { "N".to_owned() };
            let axes = input.shape.iter().skip(1).map(|extent| format!("x{extent}")).collect::<String>();
            let expected = format!("{dtype}[{count}{axes}]");
            Err(format!("input `{}`: expected {expected}, got {}", input.name, array.type_name()))
        }
    }
}
