//! Import of ONNX models: the vendored schema, bad inputs, real models.

#[path = "import/models.rs"]
mod models;
#[path = "import/schema.rs"]
mod schema;
