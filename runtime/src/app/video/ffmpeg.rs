//! Frames from the `ffmpeg` program: every codec, container and protocol that it knows.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::pipe::PipeReader;
use super::reader::{FrameReader, Stopper, VideoError};
use crate::app::source::{Limits, Picture};

/// What `ffmpeg` reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file.
    File(PathBuf),
    /// An address that has an end, such as a file on a web server.
    Address(String),
    /// An address that goes on, read with the least delay.
    Live(String),
}

/// How long a live address may take to answer.
const LIVE_ANSWER: Duration = Duration::from_secs(15);

/// How long a file may take to show what it is.
const FILE_ANSWER: Duration = Duration::from_secs(120);

/// Messages kept for an error.
const KEPT_MESSAGES: usize = 3;

/// The frames of the first video of an input, upright.
pub struct FfmpegReader {
    frames: PipeReader<ChildStdout>,
    child: Arc<Mutex<Child>>,
    log: Arc<Log>,
    any: bool,
}

/// What the program has said so far.
#[derive(Default)]
struct Log {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Default)]
struct Said {
    /// What is read; whoever shows an error names it already.
    address: String,
    /// The output has begun, so that everything about the input was said.
    started: bool,
    ended: bool,
    in_input: bool,
    fps: Option<f64>,
    seconds: Option<f64>,
    errors: VecDeque<String>,
}

impl FfmpegReader {
    /// Starts the program.
    ///
    /// # Errors
    /// [`VideoError::NoFfmpeg`] when there is none; [`VideoError::Ffmpeg`] with its words when it cannot read `input`.
    pub fn open(input: &Input, limits: &Limits) -> Result<Self, VideoError> {
        // The option is called so since version 5.1; what it is called elsewhere is not known there any more.
        match Self::start(input, limits, ["-fps_mode", "passthrough"]) {
            Err(VideoError::Ffmpeg(said)) if said.contains("fps_mode") => {
                Self::start(input, limits, ["-vsync", "passthrough"])
            }
            other => other,
        }
    }

    fn start(input: &Input, limits: &Limits, every_frame: [&str; 2]) -> Result<Self, VideoError> {
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info"]);
        let (address, patience) = match input {
            Input::File(path) => {
                // The protocol is said so that no name is taken for another one.
                let mut address = OsString::from("file:");
                address.push(path);
                command.arg("-i").arg(&address);
                (address.to_string_lossy().into_owned(), FILE_ANSWER)
            }
            Input::Address(address) => {
                command.arg("-i").arg(address);
                (address.clone(), FILE_ANSWER)
            }
            Input::Live(address) => {
                command.args(["-fflags", "nobuffer", "-flags", "low_delay"]);
                if address.starts_with("rtsp") {
                    command.args(["-rtsp_transport", "tcp"]);
                }
                command.arg("-i").arg(address);
                (address.clone(), LIVE_ANSWER)
            }
        };
        command.args(["-map", "0:V:0"]).args(every_frame);
        command.args(["-c:v", "ppm", "-pix_fmt", "rgb24", "-f", "image2pipe", "pipe:1"]);
        // In a group of its own, so that Ctrl-C ends this program first, and it decides.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => VideoError::NoFfmpeg { what: input.what().into() },
            _ => VideoError::Io(error),
        })?;
        let frames = PipeReader::ppm(child.stdout.take().expect("stdout is piped"), limits);
        let messages = child.stderr.take().expect("stderr is piped");
        let log = Arc::new(Log::default());
        log.lock().address = address;
        let reader = Self { frames, child: Arc::new(Mutex::new(child)), log: Arc::clone(&log), any: false };
        std::thread::Builder::new().name("ffmpeg messages".into()).spawn(move || log.follow(messages))?;
        reader.wait_for_start(patience)?;
        Ok(reader)
    }

    fn wait_for_start(&self, patience: Duration) -> Result<(), VideoError> {
        let waiting = self.log.lock();
        let (said, timeout) = self
            .log
            .more
            .wait_timeout_while(waiting, patience, |said| !said.started && !said.ended)
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Err(VideoError::Ffmpeg(format!("no video within {} seconds", patience.as_secs())));
        }
        if said.started { Ok(()) } else { Err(said.error()) }
    }
}

impl FrameReader for FfmpegReader {
    fn read(&mut self) -> Result<Option<Picture>, VideoError> {
        let frame = self.frames.read()?;
        if frame.is_some() {
            self.any = true;
            return Ok(frame);
        }
        // The end of its frames is followed by the end of its messages.
        let said = self.log.more.wait_while(self.log.lock(), |said| !said.ended);
        let said = said.unwrap_or_else(PoisonError::into_inner);
        let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait()?;
        if status.success() && self.any { Ok(None) } else { Err(said.error()) }
    }

    fn fps(&self) -> Option<f64> {
        self.log.lock().fps
    }

    fn frames(&self) -> Option<u64> {
        let said = self.log.lock();
        Some((said.seconds? * said.fps?).round() as u64)
    }

    fn stopper(&self) -> Option<Stopper> {
        Some(Stopper(Arc::clone(&self.child)))
    }
}

impl Drop for FfmpegReader {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Input {
    fn what(&self) -> &'static str {
        match self {
            Self::File(_) => "this video",
            Self::Address(_) => "an address",
            Self::Live(_) => "a stream",
        }
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, messages: ChildStderr) {
        for line in BufReader::new(messages).split(b'\n').map_while(Result::ok) {
            self.lock().hear(String::from_utf8_lossy(&line).trim_end());
            self.more.notify_all();
        }
        self.lock().ended = true;
        self.more.notify_all();
    }
}

impl Said {
    /// Takes in a line such as `[mov @ 0x55] [error] moov atom not found`.
    fn hear(&mut self, line: &str) {
        for level in ["[error] ", "[fatal] ", "[panic] "] {
            if let Some((_, text)) = line.split_once(level) {
                if self.errors.len() == KEPT_MESSAGES {
                    self.errors.pop_front();
                }
                let text = text.trim();
                let about = text.strip_prefix(&self.address).and_then(|text| text.strip_prefix(": "));
                self.errors.push_back(about.unwrap_or(text).to_owned());
                return;
            }
        }
        let Some((_, text)) = line.split_once("[info] ") else { return };
        let text = text.trim_start();
        if text.starts_with("Input #0") {
            self.in_input = true;
        } else if text.starts_with("Output #0") {
            self.in_input = false;
            self.started = true;
        } else if self.in_input && text.starts_with("Duration: ") {
            self.seconds = text["Duration: ".len()..].split(',').next().and_then(seconds);
        } else if self.in_input && self.fps.is_none() && text.starts_with("Stream #0") && text.contains("Video: ") {
            let rate = |unit: &str| text.split(", ").find_map(|part| part.split(" (").next()?.strip_suffix(unit));
            // `25k tbr` stands for a time base, not for frames.
            self.fps = rate(" fps").or_else(|| rate(" tbr")).and_then(|rate| rate.parse().ok());
        }
    }

    fn error(&self) -> VideoError {
        let text = match self.errors.is_empty() {
            true => "it gave no frame and no reason".to_owned(),
            false => self.errors.iter().cloned().collect::<Vec<_>>().join("; "),
        };
        VideoError::Ffmpeg(text)
    }
}

/// `00:01:02.50` in seconds.
fn seconds(clock: &str) -> Option<f64> {
    clock.trim().split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(lines: &[&str]) -> Said {
        let mut said = Said::default();
        lines.iter().for_each(|line| said.hear(line));
        said
    }

    #[test]
    fn rate_and_length_are_read_from_the_description_of_the_input() {
        let said = hear(&[
            "[info] Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'file:high.mp4':",
            "[info]   Duration: 00:01:02.50, start: 0.000000, bitrate: 180 kb/s",
            "[info]   Stream #0:0[0x1](und): Video: h264 (High) (avc1 / 0x31637661), yuv420p(progressive), 640x480, 176 kb/s, 29.97 fps, 30 tbr, 15360 tbn (default)",
            "[info] Output #0, image2pipe, to 'pipe:1':",
            "[info]   Stream #0:0(und): Video: ppm, rgb24, 640x480, q=2-31, 200 kb/s, 25 fps, 25 tbn",
        ]);
        assert_eq!((said.fps, said.seconds, said.started), (Some(29.97), Some(62.5), true));
        let said = hear(&[
            "[info] Input #0, x",
            "[info] Stream #0:0: Video: vp8, 25 tbr, 1k tbn",
            "[info] Duration: N/A, start",
        ]);
        assert_eq!((said.fps, said.seconds, said.started), (Some(25.0), None, false));
    }

    #[test]
    fn errors_lose_their_speakers_and_the_name_of_the_input() {
        let mut said = Said { address: "file:cut.mp4".into(), ..Said::default() };
        said.hear("[mov,mp4 @ 0x55f0] [error] moov atom not found");
        said.hear("[error] file:cut.mp4: Invalid data found when processing input");
        let text = "ffmpeg: moov atom not found; Invalid data found when processing input";
        assert_eq!(said.error().to_string(), text);
    }
}
