//! What a service is told when it starts.

use std::net::IpAddr;
use std::time::Duration;

use crate::detect::Params;

/// How much a request may ask for. Everything is refused before it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body.
    pub body_bytes: usize,
    /// Width times height of an image.
    pub pixels: u64,
    /// Images of a request.
    pub images: usize,
    /// Objects per image that may be asked for.
    pub max_det: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 32 << 20, pixels: 64 << 20, images: 64, max_det: 10_000 }
    }
}

/// How images are distributed over the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// Cores to keep busy, at least one.
    pub cores: usize,
    /// Images that are looked at side by side, at most; at least one.
    pub streams: usize,
    /// Images of one run of the network, at least one.
    pub max_batch: usize,
    /// How long a run waits for more images.
    pub max_wait: Duration,
    /// Images that may wait.
    pub queue: usize,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// From the end of a request to its answer.
    pub deadline: Duration,
    /// For a request to arrive, and for a connection to be idle.
    pub read: Duration,
    /// For a client that does not take its answer.
    pub write: Duration,
    /// How long requests are still taken after the request to end, with readiness already false.
    pub drain_delay: Duration,
    /// How long answers may take after that.
    pub drain: Duration,
}

/// A way to ask one of the models.
#[derive(Clone, Debug)]
pub struct EndpointSettings {
    /// Its name in `/v2/models/NAME`.
    pub name: String,
    /// A path of its own, such as `/predict`.
    pub route: Option<String>,
    /// The task in the words of the configuration file.
    pub task: String,
    /// Index of the model in the program.
    pub model: usize,
    /// What is not said in a request.
    pub defaults: Params,
    /// Names of the classes by index.
    pub class_names: Vec<String>,
}

/// Everything that a service is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on; 0 for any that is free.
    pub port: u16,
    /// The limits of a request.
    pub limits: Limits,
    /// How images are distributed.
    pub scheduling: Scheduling,
    /// How long things may take.
    pub times: Times,
    /// Connections at a time.
    pub connections: usize,
    /// The key that requests must carry.
    pub api_key: Option<String>,
    /// Origins whose pages may ask; `*` for all.
    pub cors: Vec<String>,
    /// Whether the golden values are compared before the first answer.
    pub selftest: bool,
    /// Ways to ask, at least one. The first also answers `/predict` and `/invocations`.
    pub endpoints: Vec<EndpointSettings>,
}
