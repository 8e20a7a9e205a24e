//! `peristyle run`: a model in the reference interpreter.

mod bind;

use super::{ModelArgs, expect_folder};
use anyhow::{Context, bail};
use bind::{array, bind, image};
use peristyle_compiler::ir::{Graph, Tensor};
use peristyle_compiler::{interp, passes};
use peristyle_runtime::tensor_io::{Array, read_tensors, write_tensor};
use std::path::{Path, PathBuf};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The interpreter is slow and exact: it is what compiled models are tested against. \
A float model takes f32 elements (pixels from 0 to 1), a quantised model with a byte input takes u8 elements (0 to 255). \
More than one image on the first axis: images run one after the other and their outputs are joined.

Examples:
  peristyle run yolov5s.onnx --input images.npy --output out
  peristyle run model.onnx --input inputs.npz --output out --no-passes")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// The input: an .npy for a model with one input, or an .npz whose members are named like the model's inputs.
    #[arg(short, long, value_name = "FILE.npy|FILE.npz")]
    input: PathBuf,

    /// Folder to write every output to, as its name (`/` becoming `_`) with `.npy`.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Interpret the model as imported, without the compiler's rewrites.
    #[arg(long)]
    no_passes: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    expect_folder(&args.output, "-o")?;
    let graph = load(&args.model, !args.no_passes)?;
    let files = output_files(&graph, &args.output)?;
    let given = read_tensors(&args.input)?;
    let inputs = bind(&graph, given).with_context(|| args.input.display().to_string())?;
    let mut joined: Vec<Array> = Vec::new();
    for index in 0..inputs.images {
        let tensors: Vec<Tensor> = inputs.arrays.iter().map(|a| image(a, index, inputs.images)).collect();
        let outputs = interp::run(&graph, &tensors).with_context(|| format!("image {index}"))?;
        if joined.is_empty() {
            joined = outputs.into_iter().map(array).collect();
        } else {
            let outputs = outputs.into_iter().map(array);
            joined.iter_mut().zip(outputs).try_for_each(|(all, next)| bind::append(all, next))?;
        }
    }
    std::fs::create_dir_all(&args.output).with_context(|| format!("cannot make folder {}", args.output.display()))?;
    for (file, array) in files.iter().zip(&joined) {
        write_tensor(file, array)?;
        println!("{}: {}", file.display(), array.type_name());
    }
    Ok(())
}

fn load(args: &ModelArgs, with_passes: bool) -> anyhow::Result<Graph> {
    let mut graph = args.config().import(&args.model)?;
    if with_passes {
        passes::run(&mut graph).with_context(|| format!("model `{}`", args.model.display()))?;
    }
    Ok(graph)
}

/// The file of every output.
fn output_files(graph: &Graph, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for &id in &graph.outputs {
        let name = &graph.value(id).name;
        let file = folder.join(format!("{}.npy", name.replace(['/', '\\', '\0'], "_")));
        if files.contains(&file) {
            bail!("output `{name}` and another output would both be written to {}", file.display());
        }
        files.push(file);
    }
    Ok(files)
}
