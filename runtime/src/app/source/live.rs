//! Live sources: always the newest frame, however slow its reader is.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::app::interrupt::Interrupt;
use crate::app::video::{FrameReader, Stopper, VideoError};
use crate::picture::Picture;

/// Connects to a live source, again when the connection was lost.
pub type OpenLive = Box<dyn Fn() -> Result<Box<dyn FrameReader>, VideoError> + Send>;

/// What is done when a source goes silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// How long to wait before the first attempt; doubled after each.
    pub first_pause: Duration,
    /// The longest wait.
    pub longest_pause: Duration,
    /// Attempts without a frame after which the source is given up.
    pub attempts: u32,
    /// A source without a frame for so long is taken for lost.
    pub silence: Duration,
}

impl Default for Reconnect {
    /// Half a second, then up to ten, twelve times: a minute and a half. Ten seconds of silence.
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(10),
            attempts: 12,
            silence: Duration::from_secs(10),
        }
    }
}

/// What happened to a live source.
#[derive(Debug)]
pub enum LiveEvent {
    /// A frame, the newest of its source.
    Frame {
        /// Which source, counted from 0.
        source: usize,
        /// The frame.
        picture: Picture,
        /// Frames of the source before this one, dropped ones among them.
        index: u64,
        /// Frames that were dropped so far because newer ones came.
        dropped: u64,
        /// Frames per second, when the source says so.
        fps: Option<f64>,
        /// How long ago the frame came.
        age: Duration,
    },
    /// Something that passes: the source was lost or is back.
    Warning {
        /// Which source.
        source: usize,
        /// What happened.
        message: String,
    },
    /// The source gives no more frames.
    Failed {
        /// Which source.
        source: usize,
        /// Why.
        message: String,
    },
}

/// What became of the frames of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveReport {
    /// The name of the source.
    pub name: PathBuf,
    /// Frames that came.
    pub received: u64,
    /// Frames among them that were dropped because newer ones came.
    pub dropped: u64,
    /// Connections after the first.
    pub reconnected: u64,
}

impl fmt::Display for LiveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |n: u64| if n == 1 { "" } else { "s" };
        let Self { name, received, dropped, reconnected } = self;
        write!(f, "{}: {received} frame{}, {dropped} dropped to stay live", name.display(), plural(*received))?;
        if *reconnected > 0 {
            write!(f, ", reconnected {reconnected} time{}", plural(*reconnected))?;
        }
        Ok(())
    }
}

/// Reads live sources, each on a thread of its own.
pub struct Live {
    board: Arc<Board>,
    names: Vec<PathBuf>,
    /// The source that is asked first.
    turn: usize,
    reconnect: Reconnect,
    interrupt: Interrupt,
}

/// Where the threads put their frames.
struct Board {
    slots: Mutex<Vec<Slot>>,
    changed: Condvar,
    stop: Interrupt,
}

#[derive(Default)]
struct Slot {
    newest: Option<(Picture, u64, Instant)>,
    received: u64,
    dropped: u64,
    connections: u64,
    fps: Option<f64>,
    warnings: VecDeque<String>,
    failure: Option<String>,
    ended: bool,
    stopper: Option<Stopper>,
    /// When the source connected or last sent a frame; `None` while it is not connected.
    alive: Option<Instant>,
}

/// How often a wait looks for Ctrl-C and silent sources.
const LOOK_UP: Duration = Duration::from_millis(50);

impl Live {
    /// Starts to read named sources; of each, every `stride`-th frame.
    ///
    /// # Errors
    /// When the system does not grant the threads.
    pub fn start(
        sources: Vec<(PathBuf, OpenLive)>,
        stride: NonZeroUsize,
        reconnect: Reconnect,
        interrupt: Interrupt,
    ) -> io::Result<Self> {
        let slots = sources.iter().map(|_| Slot::default()).collect();
        let board = Arc::new(Board { slots: Mutex::new(slots), changed: Condvar::new(), stop: Interrupt::default() });
        let (names, opens): (Vec<_>, Vec<_>) = sources.into_iter().unzip();
        let live = Self { board: Arc::clone(&board), names, turn: 0, reconnect, interrupt };
        for (index, open) in opens.into_iter().enumerate() {
            let board = Arc::clone(&board);
            let reader = Reader { board, index, stride: stride.get() as u64, reconnect };
            thread::Builder::new().name(format!("live source {index}")).spawn(move || reader.run(&open))?;
        }
        Ok(live)
    }

    /// Waits for something to happen; `None` when all sources have ended or the user has ended the program. Sources
    /// take turns.
    pub fn wait(&mut self) -> Option<LiveEvent> {
        let mut slots = self.board.lock();
        loop {
            if self.interrupt.is_set() {
                return None;
            }
            let count = slots.len();
            for source in (0..count).map(|offset| (self.turn + offset) % count) {
                if let Some(event) = slots[source].event(source) {
                    self.turn = (source + 1) % count;
                    return Some(event);
                }
            }
            if slots.iter().all(|slot| slot.ended) {
                return None;
            }
            for slot in slots.iter_mut() {
                slot.stop_if_silent(self.reconnect.silence);
            }
            slots = self.board.changed.wait_timeout(slots, LOOK_UP).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What has become of the frames of each source so far.
    pub fn reports(&self) -> Vec<LiveReport> {
        let slots = self.board.lock();
        let reports = self.names.iter().zip(slots.iter()).map(|(name, slot)| LiveReport {
            name: name.clone(),
            received: slot.received,
            dropped: slot.dropped,
            reconnected: slot.connections.saturating_sub(1),
        });
        reports.collect()
    }

    /// The names of the sources.
    pub fn names(&self) -> &[PathBuf] {
        &self.names
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.board.stop.set();
        for slot in self.board.lock().iter() {
            slot.stopper.iter().for_each(Stopper::stop);
        }
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn event(&mut self, source: usize) -> Option<LiveEvent> {
        if let Some(message) = self.warnings.pop_front() {
            return Some(LiveEvent::Warning { source, message });
        }
        if let Some((picture, index, came)) = self.newest.take() {
            let (dropped, fps) = (self.dropped, self.fps);
            return Some(LiveEvent::Frame { source, picture, index, dropped, fps, age: came.elapsed() });
        }
        let message = self.failure.take()?;
        Some(LiveEvent::Failed { source, message })
    }

    /// Ends a program that gives no frames; its reader then connects again.
    fn stop_if_silent(&mut self, silence: Duration) {
        if self.alive.is_some_and(|alive| alive.elapsed() > silence)
            && let Some(stopper) = self.stopper.take()
        {
            self.warnings.push_back(format!("no frame for {} seconds", silence.as_secs()));
            stopper.stop();
        }
    }
}

/// The thread of a source.
struct Reader {
    board: Arc<Board>,
    index: usize,
    stride: u64,
    reconnect: Reconnect,
}

impl Reader {
    fn run(&self, open: &OpenLive) {
        let failure = self.read_until_lost_for_good(open);
        self.update(|slot| {
            slot.failure = failure;
            slot.ended = true;
        });
    }

    fn update<T>(&self, change: impl FnOnce(&mut Slot) -> T) -> T {
        let changed = change(&mut self.board.lock()[self.index]);
        self.board.changed.notify_all();
        changed
    }

    /// Returns why there is nothing more to read; `None` when nobody wants more.
    fn read_until_lost_for_good(&self, open: &OpenLive) -> Option<String> {
        let mut attempts = 0;
        let mut pause = self.reconnect.first_pause;
        loop {
            let before = self.update(|slot| slot.received);
            let reason = self.read_connection(open, attempts > 0);
            if self.board.stop.is_set() {
                return None;
            }
            let received = self.update(|slot| {
                (slot.alive, slot.stopper) = (None, None);
                slot.received
            });
            // An address that never worked is wrong, rather than lost.
            if received == 0 {
                return Some(reason);
            }
            if received > before {
                (attempts, pause) = (0, self.reconnect.first_pause);
            }
            if attempts == self.reconnect.attempts {
                return Some(format!("given up after {attempts} attempts to reconnect: {reason}"));
            }
            attempts += 1;
            let seconds = pause.as_secs_f64();
            self.update(|slot| slot.warnings.push_back(format!("lost ({reason}); reconnecting in {seconds:.1} s")));
            let until = Instant::now() + pause;
            while Instant::now() < until {
                if self.board.stop.is_set() {
                    return None;
                }
                thread::sleep(LOOK_UP.min(until.saturating_duration_since(Instant::now())));
            }
            pause = (pause * 2).min(self.reconnect.longest_pause);
        }
    }

    /// Connects and reads until there is nothing more; returns why.
    fn read_connection(&self, open: &OpenLive, again: bool) -> String {
        let mut reader = match open() {
            Ok(reader) => reader,
            Err(error) => return error.to_string(),
        };
        self.update(|slot| {
            slot.stopper = reader.stopper();
            slot.alive = Some(Instant::now());
        });
        let mut first = true;
        loop {
            if self.board.stop.is_set() {
                return String::new();
            }
            let picture = match reader.read() {
                Ok(Some(picture)) => picture,
                Ok(None) => return "the stream ended".into(),
                // One frame was damaged on its way; the next one may be whole.
                Err(VideoError::Picture(_)) => continue,
                Err(error) => return error.to_string(),
            };
            self.update(|slot| {
                if first {
                    slot.connections += 1;
                    slot.fps = reader.fps();
                    if again {
                        slot.warnings.push_back("connected again".into());
                    }
                }
                slot.put(picture, self.stride);
            });
            first = false;
        }
    }
}

impl Slot {
    fn put(&mut self, picture: Picture, stride: u64) {
        let now = Instant::now();
        let index = self.received;
        self.received += 1;
        self.alive = Some(now);
        if index.is_multiple_of(stride) && self.newest.replace((picture, index, now)).is_some() {
            self.dropped += 1;
        }
    }
}
