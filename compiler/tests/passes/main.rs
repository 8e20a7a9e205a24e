//! What every pass must preserve, and what it must leave.

mod channels;
mod classes;
mod corpus;
mod detect;
mod epilogue;
mod graphs;
mod layout;
mod models;
mod quantization;
mod random;
