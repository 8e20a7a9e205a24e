//! Two models compiled by the build script, each in a module of its own.

/// The bundled example, with unrolled kernels where the target has them.
pub mod shapes {
    peristyle_runtime::include_model!("shapes");
}

/// A residual block, all tables.
pub mod resnet {
    peristyle_runtime::include_model!("resnet");
}
