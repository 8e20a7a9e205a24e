//! Why there is no model where one is asked for.

use std::path::PathBuf;

/// The day of the zoo's end, and what follows from it.
const ENDED: &str = "SparseZoo's service ended on 2025-06-02, so nothing can be downloaded";

/// A model that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such path, and it is no stub.
    #[error("there is no model `{}` in `{}`", path.display(), base.display())]
    Missing {
        /// As it was given.
        path: PathBuf,
        /// What it is relative to.
        base: PathBuf,
    },
    /// What starts with `zoo:` and is no stub.
    #[error("`{text}` is no stub of SparseZoo")]
    Stub {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        #[source]
        fault: StubFault,
    },
    /// A stub whose model is nowhere.
    #[error(
        "no model of the stub `{stub}` is on this machine: {ENDED}. Put its folder, the one with `model.onnx` in it, \
         or its ONNX file to one of these places{}:\n  {}",
        if *told { "" } else { " (PERISTYLE_MODELS, a folder of models, is not set)" },
        places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join("\n  ")
    )]
    NotHere {
        /// The stub.
        stub: String,
        /// Whether `PERISTYLE_MODELS` is set.
        told: bool,
        /// Where it was looked for.
        places: Vec<PathBuf>,
    },
    /// A stub that asks for something that no compiler takes.
    #[error(
        "the stub `{stub}` asks for `checkpoint={checkpoint}`, weights for training; leave that out to get the ONNX model"
    )]
    Checkpoint {
        /// The stub.
        stub: String,
        /// The checkpoint.
        checkpoint: String,
    },
    /// A folder without a model.
    #[error("`{}` holds no `model.onnx`, no archive of one and no other .onnx file; it holds {found}", folder.display())]
    Empty {
        /// The folder, or the archive that was unpacked.
        folder: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// A folder with several models.
    #[error("`{}` holds several models ({models}) and none is called `model.onnx`; name the file", folder.display())]
    Several {
        /// The folder.
        folder: PathBuf,
        /// Their names.
        models: String,
    },
    /// Sample inputs without outputs that belong to them, or the other way round.
    #[error("`{}` holds {inputs} sample inputs and {outputs} sample outputs; there must be as many", folder.display())]
    Samples {
        /// The folder of the model.
        folder: PathBuf,
        /// Number of inputs.
        inputs: usize,
        /// Number of outputs.
        outputs: usize,
    },
    /// An archive that is not unpacked.
    #[error("archive `{}`: {fault}", archive.display())]
    Archive {
        /// The archive.
        archive: PathBuf,
        /// Why.
        fault: ArchiveFault,
    },
    /// Arrays that cannot be read.
    #[error(transparent)]
    Arrays(#[from] peristyle_runtime::tensor_io::Error),
    /// A folder that cannot be read.
    #[error("cannot read folder `{}`", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFault {
    /// It is no archive, or a part of one.
    #[error("it is no whole .tar.gz: {0}")]
    Damaged(std::io::Error),
    /// A member outside the folder it is unpacked to.
    #[error("its member `{0}` would be written outside of the folder it is unpacked to; it is not to be trusted")]
    Outside(String),
    /// A link or a device.
    #[error("its member `{0}` is neither a file nor a folder; it is not to be trusted")]
    Kind(String),
    /// Two members of one name.
    #[error("it holds `{0}` twice")]
    Twice(String),
    /// More than is unpacked.
    #[error("it unpacks to more than {0} MiB, which no model has")]
    TooLarge(u64),
    /// More members than are unpacked.
    #[error("it has more than {0} members, which no model has")]
    TooMany(usize),
}

/// What is wrong with a stub.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StubFault {
    /// Neither grammar.
    #[error(
        "expected `DOMAIN/SUB_DOMAIN/ARCHITECTURE-SUB_ARCHITECTURE/FRAMEWORK/REPOSITORY/DATASET/TAG`, as in \
         `zoo:cv/detection/yolov5-s/pytorch/ultralytics/coco/pruned65_quant-none`, or `ARCHITECTURE-SUB-DATASET-TAG`, \
         as in `zoo:yolov5-s-coco-pruned75_quantized`"
    )]
    Form,
    /// A part with letters that stubs do not have.
    #[error("its part `{0}` is empty or has other characters than letters, digits, `.` and `_`")]
    Part(String),
    /// An unknown or impossible parameter.
    #[error(
        "its parameter `{0}` is none of `recipe=NAME`, `recipe_type=NAME`, `deployment=default` and \
         `checkpoint=prepruning|postpruning|preqat|postqat`"
    )]
    Parameter(String),
}
