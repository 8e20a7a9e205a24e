//! What all requests share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::error::ApiError;
use super::intake::Room;
use super::metrics::Metrics;
use super::schedule::Schedule;
use super::settings::{EndpointSettings, Settings};
use crate::app::Compiled;
use crate::detect::{Params, Resize};
use crate::engine::Infer;
use crate::simd::Isa;

/// The service as its handlers see it.
pub struct App {
    /// What it was told.
    pub settings: Settings,
    /// The models of the program.
    pub models: Vec<Compiled>,
    /// Images that wait.
    pub schedule: Arc<Schedule>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Room for bodies.
    pub room: Room,
    /// Whether requests are taken.
    pub health: Health,
    /// What is known about every model since it was first made.
    pub facts: Vec<OnceLock<Facts>>,
    /// The document at `/openapi.json`.
    pub openapi: axum::body::Bytes,
    /// The page at `/docs`.
    pub docs: axum::body::Bytes,
}

/// What a model says about itself once it has been made.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The instruction set that it runs with.
    pub isa: Isa,
    /// Whether it multiplies integers.
    pub quantised: bool,
    /// Whether it carries golden values.
    pub golden: bool,
}

impl Facts {
    /// Asks an engine.
    pub fn of(model: &mut dyn Infer) -> Self {
        let isa = model.isa();
        let Some(engine) = model.engine() else { return Self { isa, quantised: false, golden: false } };
        let program = engine.program();
        let quantised = program.layers.iter().any(|layer| layer.kernel(isa).starts_with("u8s8"));
        Self { isa, quantised, golden: !program.golden.is_empty() }
    }
}

impl App {
    /// The endpoint with this name.
    ///
    /// # Errors
    /// 404 with the names that there are.
    pub fn endpoint(&self, name: &str) -> Result<&EndpointSettings, ApiError> {
        let endpoints = &self.settings.endpoints;
        let routed =
            |e: &&EndpointSettings| e.route.as_ref().is_some_and(|route| route.trim_start_matches('/') == name);
        let named = endpoints.iter().find(|e| e.name == name).or_else(|| endpoints.iter().find(routed));
        // What DeepSparse calls an endpoint without a name.
        let numbered = || endpoints.iter().enumerate().find(|(at, e)| name == format!("{}-{at}", e.task));
        named.or_else(|| numbered().map(|(_, e)| e)).ok_or_else(|| {
            let names: Vec<&str> = endpoints.iter().map(|e| e.name.as_str()).collect();
            ApiError::not_found(format!("no model is called {name:?}; there are {}", names.join(", ")))
        })
    }

    /// What is known about the model of an endpoint.
    pub fn card(&self, endpoint: &EndpointSettings) -> Value {
        let spec = self.models[endpoint.model].spec;
        let facts = self.facts[endpoint.model].get();
        let input = spec.inputs.first().map(|input| {
            let axis = |index: usize| input.shape.get(index).copied();
            let dtype = format!("{:?}", input.dtype).to_lowercase();
            json!({ "name": input.name, "width": axis(3), "height": axis(2), "dtype": dtype })
        });
        let zeros = |(all, nonzero): (u64, u64)| 1.0 - nonzero as f64 / all.max(1) as f64;
        json!({
            "model_path": spec.source,
            "name": endpoint.name,
            "task": endpoint.task,
            "route": endpoint.route,
            "sha256": spec.sha256,
            "compiler": format!("peristyle {}", spec.compiler),
            "input": input,
            "classes": spec.detector.as_ref().map(|detector| detector.classes),
            "class_names": endpoint.class_names,
            "quantised": facts.map(|facts| facts.quantised),
            "selftest": facts.map(|facts| facts.golden),
            "sparsity": (zeros(spec.weights) * 1e4).round() / 1e4,
            "weights": spec.weights.0,
            "nonzero_weights": spec.weights.1,
            "macs": spec.macs.0,
            "nonzero_macs": spec.macs.1,
            "isa": facts.map_or(Isa::detect(), |facts| facts.isa).name(),
            "defaults": defaults(&endpoint.defaults),
        })
    }

    /// What the service was told, without the key.
    pub fn config(&self) -> Value {
        let Settings { host, port, limits, scheduling, times, connections, api_key, cors, selftest, .. } =
            &self.settings;
        let endpoints: Vec<Value> = (self.settings.endpoints.iter())
            .map(|endpoint| {
                json!({
                    "name": endpoint.name,
                    "route": endpoint.route,
                    "task": endpoint.task,
                    "model": self.models[endpoint.model].spec.source,
                    "batch_size": scheduling.max_batch,
                    "kwargs": { "class_names": endpoint.class_names },
                    "defaults": defaults(&endpoint.defaults),
                })
            })
            .collect();
        json!({
            "host": host.to_string(),
            "port": port,
            "num_cores": scheduling.cores,
            "num_workers": scheduling.streams,
            "max_batch": scheduling.max_batch,
            "max_wait_ms": scheduling.max_wait.as_secs_f64() * 1e3,
            "queue": scheduling.queue,
            "max_body_bytes": limits.body_bytes,
            "max_pixels": limits.pixels,
            "max_images": limits.images,
            "timeout_ms": times.deadline.as_millis() as u64,
            "read_timeout_ms": times.read.as_millis() as u64,
            "max_connections": connections,
            "api_key": api_key.is_some(),
            "cors": cors,
            "selftest": selftest,
            "endpoints": endpoints,
        })
    }
}

fn defaults(params: &Params) -> Value {
    let resize = match params.resize {
        Resize::Letterbox => "letterbox",
        Resize::Stretch => "stretch",
    };
    let number = |value: f32| (f64::from(value) * 1e6).round() / 1e6;
    json!({
        "conf_thres": number(params.conf_thres),
        "iou_thres": number(params.iou_thres),
        "max_det": params.max_det,
        "classes": params.classes,
        "agnostic_nms": params.agnostic,
        "multi_label": params.multi_label,
        "resize": resize,
    })
}

/// Whether the service takes requests.
#[derive(Default)]
pub struct Health {
    proved: AtomicBool,
    wrong: OnceLock<String>,
    /// Requests are still taken, but no more should be sent.
    leaving: AtomicBool,
    /// No more requests are taken.
    draining: AtomicBool,
}

impl Health {
    /// The models compute what they should.
    pub fn prove(&self) {
        self.proved.store(true, Ordering::SeqCst);
    }

    /// A model computes something else, or cannot run.
    pub fn fail(&self, why: String) {
        let _ = self.wrong.set(why);
    }

    /// The service was asked to end.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
    }

    /// The service takes no more requests.
    pub fn drain(&self) {
        self.leave();
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the service was asked to end.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// Whether requests should be sent here.
    ///
    /// # Errors
    /// 503 with the reason why not.
    pub fn expect_ready(&self) -> Result<(), ApiError> {
        self.expect_right()?;
        if self.is_leaving() {
            return Err(ApiError::unavailable("draining", 5, "the service is ending"));
        }
        if !self.proved.load(Ordering::SeqCst) {
            return Err(ApiError::unavailable("starting", 1, "the service is starting"));
        }
        Ok(())
    }

    /// Whether a request is taken; while the service starts it waits.
    ///
    /// # Errors
    /// 503 with the reason why not.
    pub fn expect_open(&self) -> Result<(), ApiError> {
        self.expect_right()?;
        if self.draining.load(Ordering::SeqCst) {
            return Err(ApiError::unavailable("draining", 5, "the service is ending; send the request to another one"));
        }
        Ok(())
    }

    /// Whether nothing is known to be wrong with the models.
    ///
    /// # Errors
    /// 503 with what is wrong.
    pub fn expect_right(&self) -> Result<(), ApiError> {
        match self.wrong.get() {
            Some(why) => Err(ApiError::unavailable("selftest_failed", 60, why.clone())),
            None => Ok(()),
        }
    }
}
