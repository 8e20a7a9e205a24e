//! The detector as an HTTP service.
//!
//! ```text
//! connections (one thread) --routes--> infer --intake--> images --schedule--> worker threads: decode, network, boxes
//!                          <--observe-- answer <-------------------oneshot------------------'
//! ```
//!
//! Connections are served on one thread that never waits for an image: bodies are bounded and timed while they are read,
//! then every image waits in one queue (`schedule`) until a thread of its own (`worker`) decodes and looks at it.
//! Who goes away takes his images out of the queue.

mod answer;
mod benchmark;
mod docs;
pub mod error;
mod infer;
mod intake;
mod key;
pub mod lambda;
mod listen;
pub mod log;
mod metrics;
mod observe;
pub mod page;
pub mod params;
mod proof;
mod routes;
mod schedule;
pub mod settings;
mod state;
mod worker;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Barrier, OnceLock};

use super::Compiled;
use super::failure::Failure;
use metrics::Metrics;
use schedule::Schedule;
use settings::Settings;
use state::{App, Health};
use worker::{Networks, Workshop};

/// Serves until the program is asked to end and every request is answered.
///
/// Where it listens is the only line on `out`.
///
/// # Errors
/// When the address cannot be listened on, the threads cannot be started, or requests were left without an answer.
pub fn run(settings: Settings, models: Vec<Compiled>, out: &mut dyn Write) -> Result<(), Failure> {
    let runtime = runtime()?;
    let address = SocketAddr::new(settings.host, settings.port);
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "; another program has the port: pass another --port, or 0 for any",
            io::ErrorKind::PermissionDenied => "; ports below 1024 are for the administrator: pass another --port",
            io::ErrorKind::AddrNotAvailable => "; this machine has no such address: --host 0.0.0.0 takes all it has",
            _ => "",
        };
        Failure::new(format_args!("cannot listen on {address}: {error}{hint}"))
    };
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let app = start(Settings { port: address.port(), ..settings }, models)?;
        let names: Vec<&str> = app.models.iter().map(|model| model.spec.name).collect();
        writeln!(out, "Serving {} on http://{address}", names.join(", "))?;
        out.flush()?;
        tracing::info!(
            cores = app.settings.scheduling.cores,
            streams = app.settings.scheduling.streams,
            "serving on http://{address}"
        );
        let router = routes::router(&app);
        let served = listen::serve(listener, router, app.clone()).await;
        app.schedule.close();
        match served.map_err(|error| Failure::new(format_args!("cannot serve: {error}")))? {
            0 => Ok(()),
            requests => Err(Failure::new(format_args!("requests left without an answer: {requests}"))),
        }
    })
}

/// The thread that requests are read and answered on.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(format_args!("cannot start the service: {error}")))
}

/// The service without a way to reach it, its threads running.
fn start(settings: Settings, models: Vec<Compiled>) -> Result<Arc<App>, Failure> {
    let app = Arc::new(App {
        openapi: docs::openapi(&settings, &models).into(),
        docs: docs::page(&settings, &models).into(),
        schedule: Arc::new(Schedule::new(settings.scheduling)),
        metrics: Arc::new(Metrics::new()),
        room: intake::Room::new(&settings.limits),
        health: Health::default(),
        facts: models.iter().map(|_| OnceLock::new()).collect(),
        models,
        settings,
    });
    start_workers(&app)?;
    Ok(app)
}

/// Starts the threads that look at images. The first one proves the models before any of them does.
fn start_workers(app: &Arc<App>) -> Result<(), Failure> {
    let workshop = Arc::new(Workshop {
        schedule: app.schedule.clone(),
        networks: Networks::new(app.models.clone()),
        metrics: app.metrics.clone(),
        limits: app.settings.limits,
    });
    let streams = app.settings.scheduling.streams;
    let proved = Arc::new(Barrier::new(streams));
    for index in 0..streams {
        let (app, workshop, proved) = (app.clone(), workshop.clone(), proved.clone());
        let work = move || {
            if index == 0 {
                proof::prove(&app, &workshop.networks);
            }
            proved.wait();
            match app.health.expect_right() {
                Ok(()) => workshop.work(),
                Err(refusal) => workshop.refuse(&refusal),
            }
        };
        let started = std::thread::Builder::new().name(format!("stream-{index}")).spawn(work);
        started.map_err(|error| Failure::threads(streams, &error, "--streams"))?;
    }
    Ok(())
}
