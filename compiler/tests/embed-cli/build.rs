//! Compiles the detector into the program.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    peristyle_compiler::Config::new().threads(2).compile("../../example/shapes.onnx")?;
    Ok(())
}
