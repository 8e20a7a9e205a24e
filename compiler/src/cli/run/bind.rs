//! Arrays from files as the inputs of a graph, and outputs as arrays.

use anyhow::{bail, ensure};
use peristyle_compiler::ir::{DType, Data, Graph, Tensor, Type};
use peristyle_runtime::tensor_io::Array;

/// One array per graph input, in the graph's order, all with as many images on their first axis.
#[derive(Debug)]
pub struct Inputs {
    pub arrays: Vec<Array>,
    pub images: usize,
}

/// Matches arrays to inputs: by name, or one nameless array to the only input.
pub fn bind(graph: &Graph, given: Vec<(String, Array)>) -> anyhow::Result<Inputs> {
    let wanted: Vec<(&str, &Type)> =
        graph.inputs.iter().map(|&id| (graph.value(id).name.as_str(), graph.ty(id))).collect();
    let list = || wanted.iter().map(|(name, ty)| format!("`{name}` {ty}")).collect::<Vec<_>>().join(", ");
    let mut given = given;
    if let ([(name, _)], [(only, _)]) = (&mut given[..], &wanted[..])
        && name.is_empty()
    {
        *name = (*only).to_string();
    }
    if given.iter().any(|(name, _)| name.is_empty()) {
        bail!("one array, but the model has {} inputs ({}); pass an .npz with their names", wanted.len(), list());
    }
    if let Some((name, _)) = given.iter().find(|(name, _)| wanted.iter().all(|(w, _)| w != name)) {
        bail!("member `{name}` is no input of the model, whose inputs are {}", list());
    }
    let mut inputs = Inputs { arrays: Vec::new(), images: 0 };
    for (name, ty) in &wanted {
        let Some(at) = given.iter().position(|(n, _)| n == name) else {
            bail!("no member `{name}`; the model's inputs are {}", list());
        };
        let (_, array) = given.swap_remove(at);
        let images = check(name, ty, &array)?;
        ensure!(
            inputs.arrays.is_empty() || images == inputs.images,
            "input `{name}` holds {images} images, the inputs before it {}",
            inputs.images
        );
        inputs.images = images;
        inputs.arrays.push(array);
    }
    Ok(inputs)
}

/// How many images the array holds for an input of this type.
fn check(name: &str, ty: &Type, array: &Array) -> anyhow::Result<usize> {
    if array.dtype() != ty.dtype.to_string() {
        let hint = match (ty.dtype, array) {
            (DType::U8, Array::F32 { .. }) => "; the model takes pixels as bytes from 0 to 255",
            (DType::F32, Array::U8 { .. }) => "; the model takes pixels as floats from 0 to 1",
            _ => "",
        };
        bail!("input `{name}` is {ty}, the array is {}{hint}", array.type_name());
    }
    match (array.shape().split_first(), ty.shape.split_first()) {
        (Some((&images, rest)), Some((_, expected))) if images > 0 && rest == expected => Ok(images),
        _ => bail!("input `{name}` is {ty} per image, the array is {}", array.type_name()),
    }
}

/// Image number `index` of an array of `images` images.
pub fn image(array: &Array, index: usize, images: usize) -> Tensor {
    fn part<T: Clone>(data: &[T], index: usize, images: usize) -> Vec<T> {
        let len = data.len() / images;
        data[index * len..][..len].to_vec()
    }
    let mut shape = array.shape().to_vec();
    shape[0] = 1;
    let data = match array {
        Array::F32 { data, .. } => Data::F32(part(data, index, images)),
        Array::U8 { data, .. } => Data::U8(part(data, index, images)),
        Array::I8 { data, .. } => Data::I8(part(data, index, images)),
        Array::I32 { data, .. } => Data::I32(part(data, index, images)),
        Array::I64 { data, .. } => Data::I64(part(data, index, images)),
    };
    Tensor::new(shape, data)
}

/// A tensor as an array; truth values become bytes.
pub fn array(tensor: Tensor) -> Array {
    let shape = tensor.shape;
    match tensor.data {
        Data::F32(data) => Array::F32 { shape, data },
        Data::U8(data) => Array::U8 { shape, data },
        Data::I8(data) => Array::I8 { shape, data },
        Data::I32(data) => Array::I32 { shape, data },
        Data::I64(data) => Array::I64 { shape, data },
        Data::Bool(data) => Array::U8 { shape, data: data.into_iter().map(u8::from).collect() },
    }
}

/// Joins the output of a further image to those before it.
pub fn append(all: &mut Array, next: Array) -> anyhow::Result<()> {
    fn join<T>(shape: &mut [usize], data: &mut Vec<T>, next_shape: &[usize], next: Vec<T>) -> anyhow::Result<()> {
        match (shape.first_mut(), next_shape.first()) {
            (Some(extent), Some(added)) => *extent += added,
            _ => bail!("a scalar output cannot be joined over several images; run them one by one"),
        }
        data.extend(next);
        Ok(())
    }
    match (all, next) {
        (Array::F32 { shape, data }, Array::F32 { shape: s, data: d }) => join(shape, data, &s, d),
        (Array::U8 { shape, data }, Array::U8 { shape: s, data: d }) => join(shape, data, &s, d),
        (Array::I8 { shape, data }, Array::I8 { shape: s, data: d }) => join(shape, data, &s, d),
        (Array::I32 { shape, data }, Array::I32 { shape: s, data: d }) => join(shape, data, &s, d),
        (Array::I64 { shape, data }, Array::I64 { shape: s, data: d }) => join(shape, data, &s, d),
        _ => unreachable!("an output has the same type for every image"),
    }
}
