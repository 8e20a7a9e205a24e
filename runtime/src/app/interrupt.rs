//! Requests to stop: Ctrl-C and SIGTERM.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Tells whether the program was asked to stop.
///
/// The first request only sets a mark, so that the picture in work and the files of the run are finished; the second
/// ends the program at once.
#[derive(Clone, Debug)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
}

impl Interrupt {
    /// Starts to watch; the process has one watch, however often this is called.
    pub fn watch() -> Self {
        static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
        let asked = ASKED.get_or_init(|| {
            let asked = Arc::new(AtomicBool::new(false));
            // Where signals cannot be watched they end the program at once, which leaves whole files too.
            let _ = [SIGINT, SIGTERM].into_iter().try_for_each(|signal| register(signal, &asked));
            asked
        });
        Self { asked: Arc::clone(asked) }
    }

    /// Whether to stop.
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The order matters: the action of the second request must come before the mark of the first.
fn register(signal: i32, asked: &Arc<AtomicBool>) -> io::Result<()> {
    flag::register_conditional_default(signal, Arc::clone(asked))?;
    flag::register(signal, Arc::clone(asked)).map(drop)
}
