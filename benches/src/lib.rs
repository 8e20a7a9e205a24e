//! Benchmarks of Peristyle: see `benches/`.
