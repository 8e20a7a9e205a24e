//! `serve`: the detector as an HTTP service.

mod config_file;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use config_file::{ConfigFile, Defaults};
use tracing::Level;

use super::Context;
use super::finder::{FinderArgs, not_a_detector};
use super::legacy::ignored;
use super::runs::positive;
use crate::app::failure::Failure;
use crate::app::serve;
use crate::app::serve::log::{self, LogFormat};
use crate::app::serve::settings::{EndpointSettings, Limits, Scheduling, Settings, Times};
use crate::app::threads::expect_startable;
use crate::app::{Compiled, available_cores};

/// The variable that holds the key, so that no list of processes shows it.
const KEY_VARIABLE: &str = "PERISTYLE_API_KEY";

/// A way of serving: [`serve::run`] or another.
pub(super) type Serve = fn(Settings, Vec<Compiled>, &mut dyn std::io::Write) -> Result<(), Failure>;

/// Serve over HTTP: images in, boxes out
///
/// POST an image file, JSON with base64 or a form to /predict; /docs describes everything. Nothing but this machine can
/// connect unless --host says so. Ends on Ctrl-C or SIGTERM when everything that was asked is answered.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  DETECTOR serve
  curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' 'http://127.0.0.1:5543/predict?conf_thres=0.5'
  curl -F request=@a.jpg -F request=@b.jpg http://127.0.0.1:5543/predict/from_files
  PERISTYLE_API_KEY=... DETECTOR serve --host 0.0.0.0 --log-format json
  DETECTOR serve -nstreams 1                           every image on all cores, one after the other

Exit codes: 0 ended as asked, 1 an error, 2 wrong use.")]
pub(super) struct ServeArgs {
    /// Accepted for scripts of other tools; the model is compiled in
    #[arg(value_name = "MODEL", hide = true)]
    model: Option<String>,

    /// Accepted for scripts of other tools; the model is compiled in
    #[arg(long, value_name = "MODEL", hide = true)]
    model_path: Option<String>,

    /// Accepted for scripts of other tools: `yolo`, as the answers are
    #[arg(long, value_name = "TASK", hide_short_help = true)]
    task: Option<String>,

    /// Endpoints, thresholds and names in the YAML of `deepsparse.server`; options win over the file
    #[arg(long, alias = "config", value_name = "FILE")]
    config_file: Option<PathBuf>,

    /// Address to listen on, `localhost` for this machine only, 0.0.0.0 for all networks [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    host: Option<IpAddr>,

    /// Port to listen on, 0 for any that is free [default: 5543]
    #[arg(long, value_name = "N")]
    port: Option<u16>,

    #[command(flatten)]
    scheduling: SchedulingArgs,

    #[command(flatten)]
    safety: SafetyArgs,

    /// Lines below this are not logged [default: info]
    #[arg(long, value_name = "LEVEL", help_heading = "Log")]
    log_level: Option<LogLevel>,

    /// Form of the log, on the error output
    #[arg(long, value_name = "FORM", default_value = "text", help_heading = "Log")]
    log_format: LogForm,

    /// Do not compare the network with its golden values before the first answer
    #[arg(long)]
    no_selftest: bool,

    /// Paths of another service: SageMaker's are always there
    #[arg(long, value_name = "KIND", hide_short_help = true)]
    integration: Option<Integration>,

    #[command(flatten)]
    finder: FinderArgs,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "How images are distributed")]
struct SchedulingArgs {
    /// Cores to use, also `-ncores` [default: all that this process may use]
    #[arg(long, aliases = ["ncores", "threads"], value_name = "N", value_parser = positive)]
    num_cores: Option<usize>,

    /// Images looked at side by side when many wait, also `-nstreams`; one that is alone gets all cores
    /// [default: the cores, 8 at most]
    #[arg(long, aliases = ["nstreams", "num-streams", "num-workers"], value_name = "N", value_parser = positive)]
    streams: Option<usize>,

    /// Waiting images that may share a run of the network, also `--batch-size` [default: 1]
    #[arg(long, alias = "batch-size", value_name = "N", value_parser = positive)]
    max_batch: Option<usize>,

    /// How long a run waits for more images [default: 0]
    #[arg(long, value_name = "MS")]
    max_wait_ms: Option<u64>,

    /// Images that may wait; more are answered 429 [default: 64]
    #[arg(long, value_name = "N", value_parser = positive)]
    queue: Option<usize>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
struct SafetyArgs {
    /// Bytes of a request [default: 33554432]
    #[arg(long, value_name = "N", value_parser = positive)]
    max_body_bytes: Option<usize>,

    /// Pixels of an image [default: 67108864]
    #[arg(long, value_name = "N", value_parser = positive)]
    max_pixels: Option<usize>,

    /// Images of a request [default: 64]
    #[arg(long, value_name = "N", value_parser = positive)]
    max_images: Option<usize>,

    /// Connections at a time [default: 512]
    #[arg(long, value_name = "N", value_parser = positive)]
    max_connections: Option<usize>,

    /// Time from a request to its answer; later it is answered 503 [default: 30000]
    #[arg(long, value_name = "MS", value_parser = positive)]
    timeout_ms: Option<usize>,

    /// Time for a request to arrive, and for a connection to be idle [default: 30000]
    #[arg(long, value_name = "MS", value_parser = positive)]
    read_timeout_ms: Option<usize>,

    /// Time that requests are still taken after SIGTERM, with readiness already false [default: 0]
    #[arg(long, value_name = "MS")]
    drain_delay_ms: Option<u64>,

    /// Time that answers may take after that [default: 30000]
    #[arg(long, value_name = "MS")]
    drain_timeout_ms: Option<u64>,

    /// Key that requests must carry; better in the environment variable PERISTYLE_API_KEY or in a file
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,

    /// File that holds the key
    #[arg(long, value_name = "FILE", conflicts_with = "api_key")]
    api_key_file: Option<PathBuf>,

    /// Origins whose web pages may ask, as in `--cors https://example.org`, or `*` [default: none]
    #[arg(long, value_name = "ORIGIN", num_args = 1.., value_parser = origin)]
    cors: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    Trace,
    Debug,
    Info,
    #[value(alias = "warning")]
    Warn,
    #[value(aliases = ["critical", "fatal"])]
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogForm {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Integration {
    Local,
    Sagemaker,
}

fn address(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => text.parse().map_err(|_| "expected an address such as 127.0.0.1, 0.0.0.0 or ::, or localhost".into()),
    }
}

fn origin(text: &str) -> Result<String, String> {
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty() && !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
    });
    if is_origin || text == "*" {
        Ok(text.into())
    } else {
        Err("expected an origin such as https://example.org".into())
    }
}

impl SchedulingArgs {
    fn scheduling(&self, file: &ConfigFile) -> Result<Scheduling, Failure> {
        let cores = self.num_cores.or(file.num_cores).unwrap_or_else(available_cores);
        expect_startable(cores).map_err(|error| Failure::threads(cores, &error, "--num-cores"))?;
        let streams = self.streams.or(file.streams).unwrap_or(cores.min(8)).min(cores);
        Ok(Scheduling {
            cores,
            streams,
            max_batch: self.max_batch.or(file.max_batch).unwrap_or(1),
            max_wait: Duration::from_millis(self.max_wait_ms.or(file.max_wait_ms).unwrap_or(0)),
            queue: self.queue.or(file.queue).unwrap_or(64),
        })
    }
}

impl SafetyArgs {
    fn limits(&self) -> Limits {
        let defaults = Limits::default();
        Limits {
            body_bytes: self.max_body_bytes.unwrap_or(defaults.body_bytes),
            pixels: self.max_pixels.map_or(defaults.pixels, |pixels| pixels as u64),
            images: self.max_images.unwrap_or(defaults.images),
            ..defaults
        }
    }

    fn times(&self) -> Times {
        let milliseconds = |given: Option<u64>, default| Duration::from_millis(given.unwrap_or(default));
        let read = milliseconds(self.read_timeout_ms.map(|ms| ms as u64), 30_000);
        Times {
            deadline: milliseconds(self.timeout_ms.map(|ms| ms as u64), 30_000),
            read,
            write: read,
            drain_delay: milliseconds(self.drain_delay_ms, 0),
            drain: milliseconds(self.drain_timeout_ms, 30_000),
        }
    }

    fn key(&self) -> Result<Option<String>, Failure> {
        let from_file = self.api_key_file.as_ref().map(|path| {
            let key = std::fs::read_to_string(path);
            key.map_err(|error| Failure::Usage(format!("--api-key-file {}: {error}", path.display())))
        });
        let given = match (from_file.transpose()?, &self.api_key) {
            (Some(key), _) => Some(key.trim().to_owned()),
            (None, Some(key)) => Some(key.clone()),
            (None, None) => std::env::var(KEY_VARIABLE).ok(),
        };
        match given {
            Some(key) if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) => {
                Err(Failure::Usage("the API key must be visible ASCII characters, at least one".into()))
            }
            given => Ok(given),
        }
    }
}

pub(super) fn run(args: &ServeArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    start(args, context, serve::run)
}

/// Gives what the options say to a way of serving.
pub(super) fn start(args: &ServeArgs, context: &mut Context<'_, '_>, serve: Serve) -> Result<(), Failure> {
    let spec = context.spec;
    for model in [&args.model, &args.model_path].into_iter().flatten() {
        if model != "default" {
            ignored("the model", &format!("{} is compiled in; {model} is not read", spec.source), context);
        }
    }
    let models = context.models.to_vec();
    let mut endpoints = Vec::new();
    let task = args.task.as_deref().unwrap_or("yolo");
    for (model, Compiled { spec, .. }) in models.iter().enumerate() {
        let Some(head) = &spec.detector else { return Err(not_a_detector(spec, context.program)) };
        let (class_names, defaults) = args.finder.read(head.classes, spec)?;
        let (name, task) = (spec.name.to_owned(), task.to_owned());
        endpoints.push(EndpointSettings { name, route: None, task, model, defaults, class_names });
    }
    let defaults = endpoints[0].defaults.clone();
    let limits = args.safety.limits();
    let mut file = match &args.config_file {
        Some(path) => config_file::read(path, &models, &Defaults { params: &defaults, limits: &limits, task })?,
        None => ConfigFile::default(),
    };
    for (key, why) in std::mem::take(&mut file.notes) {
        ignored(key, why, context);
    }
    if file.endpoints.is_empty() {
        file.endpoints = endpoints;
    }
    let settings = Settings {
        host: args.host.or(file.host).unwrap_or(Ipv4Addr::LOCALHOST.into()),
        port: args.port.or(file.port).unwrap_or(5543),
        limits,
        scheduling: args.scheduling.scheduling(&file)?,
        times: args.safety.times(),
        connections: args.safety.max_connections.unwrap_or(512),
        api_key: args.safety.key()?,
        cors: args.safety.cors.clone(),
        selftest: !args.no_selftest,
        endpoints: file.endpoints,
    };
    let level = match args.log_level.unwrap_or(LogLevel::Info) {
        LogLevel::Trace => Level::TRACE,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error => Level::ERROR,
    };
    let format = match args.log_format {
        LogForm::Text => LogFormat::Text,
        LogForm::Json => LogFormat::Json,
    };
    log::start(level, format);
    serve(settings, models, context.console.out)
}
