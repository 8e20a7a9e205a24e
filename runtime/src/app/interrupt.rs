//! Ctrl-C as a wish to end, not as an end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the program was asked to end. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens to Ctrl-C and to the request to terminate. A second one ends the program at once.
    ///
    /// # Errors
    /// When the system does not let the program listen.
    pub fn listen() -> io::Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        const ENDED_BY_SIGNAL: i32 = 128;
        let asked = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // First, so that it sees whether the program was asked before.
            signal_hook::flag::register_conditional_shutdown(signal, ENDED_BY_SIGNAL + signal, asked.0.clone())?;
            signal_hook::flag::register(signal, asked.0.clone())?;
        }
        Ok(asked)
    }

    /// Whether the program was asked to end.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Asks the program to end.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
