//! Import of ONNX models: the vendored schema, the corpus, forms of operators, bad and hostile inputs, real models.

#[path = "import/batch.rs"]
mod batch;
#[path = "import/build.rs"]
mod build;
#[path = "import/corpus.rs"]
mod corpus;
#[path = "import/errors.rs"]
mod errors;
#[path = "import/hostile.rs"]
mod hostile;
#[path = "import/models.rs"]
mod models;
#[path = "import/npz.rs"]
mod npz;
#[path = "import/operators.rs"]
mod operators;
#[path = "import/schema.rs"]
mod schema;
