//! Finds objects in pictures: one line for each, its class first. `--only CLASS` leaves out the others.

mod detector {
    peristyle_runtime::include_model!("shapes");
}

use anyhow::{Context, bail};
use detector::{Class, Model};
use peristyle_runtime::detect::{ImageRef, Params, Pipeline};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1).peekable();
    let mut params = Params::default();
    if args.next_if_eq("--only").is_some() {
        let class: Class = args.next().context("--only wants the name of a class")?.parse()?;
        params.classes = Some(vec![class.index()]);
    }
    if args.peek().is_none() {
        bail!("name a picture; classes are {}", Class::NAMES.join(", "));
    }
    let mut pipeline = Pipeline::builder(Model::start()?.into_engine()).build()?;
    for file in args {
        let picture = image::open(&file).with_context(|| file.clone())?.to_rgb8();
        let [width, height] = [picture.width(), picture.height()].map(|n| n as usize);
        let found = pipeline.run(&[ImageRef::rgb(picture.as_raw(), width, height)?], &params)?;
        for ([left, top, right, bottom], score, class) in found.iter().flat_map(|objects| objects.iter()) {
            println!("{} {score:.3} {left:.1} {top:.1} {right:.1} {bottom:.1}", Class::try_from(class)?);
        }
    }
    Ok(())
}
