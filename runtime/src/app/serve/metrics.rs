//! What is counted and timed, in the text format of Prometheus.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::schedule::Spent;
use crate::app::memory;
use crate::engine::ModelSpec;
use crate::simd::Isa;

/// Seconds, from half a millisecond to half a minute.
const SECONDS: [f64; 15] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    endpoint: String,
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabels {
    endpoint: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: &'static str,
    sha256: &'static str,
    compiler: &'static str,
    isa: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histograms<RouteLabels>,
    stage_seconds: Histograms<StageLabels>,
    images: Family<EndpointLabels, Counter>,
    objects: Family<EndpointLabels, Counter>,
    batch: Histogram,
    queue_depth: Gauge,
    in_flight: Gauge,
    abandoned: Counter,
    ready: Gauge,
    models: Family<ModelLabels, Gauge>,
    resident: Gauge,
    cpu_seconds: Counter<f64, AtomicU64>,
    counted_cpu: std::sync::Mutex<f64>,
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let request_seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        let stage_seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        let (images, objects) = (Family::default(), Family::default());
        let batch = Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]);
        let (queue_depth, in_flight, ready, resident) = <(Gauge, Gauge, Gauge, Gauge)>::default();
        let abandoned = Counter::default();
        let cpu_seconds = Counter::default();
        let models = Family::default();
        let own = registry.sub_registry_with_prefix("peristyle");
        own.register("requests", "Requests answered", requests.clone());
        own.register_with_unit("request", "Time to answer a request", Unit::Seconds, request_seconds.clone());
        own.register_with_unit("stage", "Time of an image in each stage", Unit::Seconds, stage_seconds.clone());
        own.register("images", "Images looked at", images.clone());
        own.register("objects", "Objects found", objects.clone());
        own.register("batch_size", "Images per run of the network", batch.clone());
        own.register("queue_depth", "Images that wait", queue_depth.clone());
        own.register("requests_in_flight", "Requests that are being answered", in_flight.clone());
        own.register("requests_abandoned", "Requests whose client went away before the answer", abandoned.clone());
        own.register("ready", "1 when the service takes requests", ready.clone());
        own.register("model_info", "1 for a model in this program, once it has been made", models.clone());
        registry.register_with_unit(
            "process_resident_memory",
            "Memory that the process holds",
            Unit::Bytes,
            resident.clone(),
        );
        registry.register_with_unit("process_cpu", "Processor time", Unit::Seconds, cpu_seconds.clone());
        let start: Gauge<f64, AtomicU64> = Gauge::default();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        start.set(now.as_secs_f64());
        registry.register_with_unit("process_start_time", "Start of the service, Unix time", Unit::Seconds, start);
        Self {
            registry,
            requests,
            request_seconds,
            stage_seconds,
            images,
            objects,
            batch,
            queue_depth,
            in_flight,
            abandoned,
            ready,
            models,
            resident,
            cpu_seconds,
            counted_cpu: std::sync::Mutex::default(),
        }
    }

    /// A model was made, and runs with an instruction set.
    pub fn model(&self, spec: &ModelSpec, isa: Isa) {
        let &ModelSpec { name: model, sha256, compiler, .. } = spec;
        self.models.get_or_create(&ModelLabels { model, sha256, compiler, isa: isa.name() }).set(1);
    }

    /// A request came.
    pub fn begin(&self) {
        self.in_flight.inc();
    }

    /// A request was answered.
    pub fn end(&self, method: &str, route: &str, status: u16, took: Duration) {
        self.in_flight.dec();
        let labels = RequestLabels { method: method.to_owned(), route: route.to_owned(), status };
        self.requests.get_or_create(&labels).inc();
        let labels = RouteLabels { route: route.to_owned() };
        self.request_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// The client of a request went away.
    pub fn abandon(&self) {
        self.in_flight.dec();
        self.abandoned.inc();
    }

    /// Requests that are being answered.
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    /// The network ran.
    pub fn batch(&self, images: usize) {
        self.batch.observe(images as f64);
    }

    /// An image was answered.
    pub fn image(&self, endpoint: &str, spent: &Spent, objects: usize) {
        let stages = [
            ("queue", spent.queue),
            ("decode", spent.decode),
            ("pre_process", spent.pre_process),
            ("engine_forward", spent.inference),
            ("post_process", spent.post_process),
        ];
        for (stage, time) in stages {
            let labels = StageLabels { endpoint: endpoint.to_owned(), stage };
            self.stage_seconds.get_or_create(&labels).observe(time.as_secs_f64());
        }
        let labels = EndpointLabels { endpoint: endpoint.to_owned() };
        self.images.get_or_create(&labels).inc();
        self.objects.get_or_create(&labels).inc_by(objects as u64);
    }

    /// The text, with what is read at this moment.
    pub fn text(&self, queue_depth: usize, ready: bool) -> String {
        self.queue_depth.set(queue_depth as i64);
        self.ready.set(i64::from(ready));
        if let Some(bytes) = memory::resident() {
            self.resident.set(bytes as i64);
        }
        if let Some(total) = cpu_seconds() {
            let mut counted = self.counted_cpu.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            self.cpu_seconds.inc_by((total - *counted).max(0.0));
            *counted = total;
        }
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string succeeds");
        text
    }
}

/// Processor time of the process, where Linux tells.
fn cpu_seconds() -> Option<f64> {
    // In ticks of a hundredth of a second on every Linux.
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((ticks(11)? + ticks(12)?) as f64 / 100.0)
}

/// Milliseconds of a time.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
