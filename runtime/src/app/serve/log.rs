//! Lines about what happens, on the error output.

use tracing::Level;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object of JSON.
    Json,
}

/// Writes lines of `level` and above from here on. Image bytes and keys are in none of them.
pub fn start(level: Level, format: LogFormat) {
    let lines = fmt::Subscriber::builder().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    // Fails when lines are written already, as in a test of several services.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(false).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).finish().try_init(),
    };
}
