//! Compiles the bundled example and a second model into this crate.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    peristyle_compiler::compile("../../example/shapes.onnx")?;
    peristyle_compiler::Config::new()
        .module_name("resnet")
        .code_budget(0)
        .compile("../corpus/resnet_block/model.onnx")?;
    Ok(())
}
