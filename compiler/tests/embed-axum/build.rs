//! Compiles the detectors into the service.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    peristyle_compiler::Config::new().batch(1).compile_all(["../../example/shapes.onnx"])?;
    Ok(())
}
