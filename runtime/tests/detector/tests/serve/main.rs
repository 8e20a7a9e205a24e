//! `serve`: the program as a service, asked over real connections.

mod client;
mod docs;
mod errors;
mod http;
mod load;
mod models;
mod observability;
mod routes;
mod safety;
mod shutdown;
mod soak;
#[path = "../support/mod.rs"]
mod support;
