//! Instruction sets: what this machine has, and the arithmetic the kernels are defined by.

pub mod math;
