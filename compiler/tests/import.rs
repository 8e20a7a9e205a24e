//! Import of ONNX models: the vendored schema, the corpus, bad inputs, real models.

#[path = "import/corpus.rs"]
mod corpus;
#[path = "import/models.rs"]
mod models;
#[path = "import/npz.rs"]
mod npz;
#[path = "import/schema.rs"]
mod schema;
