//! Live sources show their newest frame, count what they drop, and come back.
#![cfg(feature = "app")]

#[path = "support/video.rs"]
mod videos;

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use peristyle_runtime::app::interrupt::Interrupt;
use peristyle_runtime::app::source::{
    FrameKind, Frames, Live, LiveEvent, OpenLive, Options, Picture, Reconnect, Sources,
};
use peristyle_runtime::app::video::{FrameReader, VideoError};
use videos::have_ffmpeg;

/// Gives a frame every few milliseconds, as a camera does, and ends after some.
struct Camera {
    made: Arc<AtomicU64>,
    left: u64,
    pause: Duration,
}

impl FrameReader for Camera {
    fn read(&mut self) -> Result<Option<Picture>, VideoError> {
        if self.left == 0 {
            return Ok(None);
        }
        sleep(self.pause);
        self.left -= 1;
        self.made.fetch_add(1, Ordering::SeqCst);
        Ok(Some(Picture::from_rgb(vec![0; 12], 2, 2)))
    }

    fn fps(&self) -> Option<f64> {
        Some(200.0)
    }
}

fn camera(made: &Arc<AtomicU64>, frames: u64) -> OpenLive {
    let made = Arc::clone(made);
    Box::new(move || Ok(Box::new(Camera { made: Arc::clone(&made), left: frames, pause: Duration::from_millis(5) })))
}

fn quick(attempts: u32) -> Reconnect {
    let pause = Duration::from_millis(20);
    Reconnect { first_pause: pause, longest_pause: pause, attempts, ..Reconnect::default() }
}

fn start(sources: Vec<(&str, OpenLive)>, reconnect: Reconnect, interrupt: &Interrupt) -> Live {
    let sources = sources.into_iter().map(|(name, open)| (name.into(), open)).collect();
    Live::start(sources, NonZeroUsize::MIN, reconnect, interrupt.clone()).unwrap()
}

#[test]
fn a_slow_reader_sees_the_newest_frame_and_every_other_is_counted() {
    let made = Arc::new(AtomicU64::new(0));
    let interrupt = Interrupt::default();
    let mut live = start(vec![("camera", camera(&made, u64::MAX))], Reconnect::default(), &interrupt);
    let mut seen = 0;
    let mut last = (0, 0);
    while seen < 10 {
        sleep(Duration::from_millis(60));
        let before = made.load(Ordering::SeqCst);
        match live.wait().unwrap() {
            LiveEvent::Frame { index, dropped, fps, .. } => {
                seen += 1;
                // The frame that is being handed over may not have arrived yet.
                assert!(index + 2 >= before, "frame {index} of {before}");
                assert_eq!((index - dropped, fps), (seen - 1, Some(200.0)), "{dropped} were dropped");
                last = (index, dropped);
            }
            event => panic!("{event:?}"),
        }
    }
    assert!(last.1 >= 10, "{last:?}");
    interrupt.set();
    assert!(live.wait().is_none(), "Ctrl-C ends it");
    let report = &live.reports()[0];
    assert!(report.received > report.dropped && report.reconnected == 0, "{report}");
    assert!(report.to_string().starts_with("camera: ") && report.to_string().ends_with(" dropped to stay live"));
}

#[test]
fn lost_sources_are_connected_again_until_they_are_given_up() {
    let made = Arc::new(AtomicU64::new(0));
    let connections = Arc::new(AtomicU64::new(0));
    let camera = camera(&made, 3);
    let opened = Arc::clone(&connections);
    // The third connection and those after it fail.
    let open: OpenLive = Box::new(move || match opened.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => camera(),
        _ => Err(VideoError::Damaged("connection refused".into())),
    });
    let mut live = start(vec![("camera", open)], quick(2), &Interrupt::default());
    let (mut frames, mut warnings, mut failures) = (0, Vec::new(), Vec::new());
    while let Some(event) = live.wait() {
        match event {
            LiveEvent::Frame { .. } => frames += 1,
            LiveEvent::Warning { message, .. } => warnings.push(message),
            LiveEvent::Failed { message, .. } => failures.push(message),
        }
    }
    assert_eq!(warnings[..2], ["lost (the stream ended); reconnecting in 0.0 s", "connected again"]);
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert_eq!(failures, ["given up after 2 attempts to reconnect: connection refused"]);
    let report = &live.reports()[0];
    assert_eq!((report.received, report.reconnected, report.received - report.dropped), (6, 1, frames));
    assert!(report.to_string().ends_with("reconnected 1 time"), "{report}");
}

#[test]
fn a_source_that_never_worked_is_an_error_at_once() {
    let open: OpenLive = Box::new(|| Err(VideoError::Damaged("no such camera".into())));
    let mut live = start(vec![("camera", open)], Reconnect::default(), &Interrupt::default());
    assert!(matches!(live.wait(), Some(LiveEvent::Failed { message, .. }) if message == "no such camera"));
    assert!(live.wait().is_none());
}

#[test]
fn sources_take_turns() {
    let made = Arc::new(AtomicU64::new(0));
    let sources = vec![("a", camera(&made, u64::MAX)), ("b", camera(&made, u64::MAX))];
    let mut live = start(sources, Reconnect::default(), &Interrupt::default());
    sleep(Duration::from_millis(100));
    let turns: Vec<usize> = (0..6)
        .map(|_| {
            sleep(Duration::from_millis(40));
            match live.wait().unwrap() {
                LiveEvent::Frame { source, .. } => source,
                event => panic!("{event:?}"),
            }
        })
        .collect();
    assert!(turns == [0, 1, 0, 1, 0, 1] || turns == [1, 0, 1, 0, 1, 0], "{turns:?}");
}

/// Ends `ffmpeg` when the test does.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves a test card at 25 frames per second to the first who connects.
fn serve(port: u16, seconds: u32) -> Server {
    let card = format!("testsrc2=s=160x120:r=25:d={seconds}");
    let address = format!("tcp://127.0.0.1:{port}?listen=1");
    let mut command = Command::new("ffmpeg");
    command.args(["-loglevel", "error", "-nostdin", "-re", "-f", "lavfi", "-i", &card, "-c:v", "mpeg2video"]);
    command.args(["-f", "mpegts", &address]).stdout(Stdio::null()).stderr(Stdio::null());
    Server(command.spawn().unwrap())
}

#[test]
fn a_stream_through_ffmpeg_stays_live_and_comes_back() {
    if !have_ffmpeg("a_stream_through_ffmpeg_stays_live_and_comes_back") {
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = serve(port, 60);
    sleep(Duration::from_millis(700));
    let interrupt = Interrupt::default();
    let reconnect = Reconnect { first_pause: Duration::from_millis(200), attempts: 50, ..Reconnect::default() };
    let options = Options { interrupt: interrupt.clone(), reconnect, ..Options::default() };
    let address = format!("tcp://127.0.0.1:{port}");
    let mut frames = Frames::new(Sources::expand([Path::new(&address)]), options);
    let (mut seen, mut warnings) = (0, Vec::new());
    let deadline = Instant::now() + Duration::from_secs(90);
    while Instant::now() < deadline && frames.live_reports().first().is_none_or(|report| report.reconnected == 0) {
        match frames.next().unwrap() {
            Ok(frame) => {
                seen += 1;
                assert_eq!((frame.picture.width(), frame.picture.height()), (160, 120));
                let FrameKind::Live { age, .. } = frame.kind else { panic!("{:?}", frame.kind) };
                // Slower than the stream; what waits meanwhile is replaced, so that it is never old.
                assert!(age < Duration::from_secs(2), "{age:?}");
                sleep(Duration::from_millis(200));
                if seen == 8 {
                    drop(server);
                    server = serve(port, 60);
                }
            }
            Err(problem) => {
                assert!(problem.passing, "{problem}");
                warnings.push(problem.message);
            }
        }
    }
    interrupt.set();
    assert!(frames.next().is_none());
    let report = &frames.live_reports()[0];
    assert!(report.dropped >= 8 && report.reconnected == 1, "{report}, {seen} seen: {warnings:?}");
    assert!(warnings.iter().any(|warning| warning.starts_with("lost (")), "{warnings:?}");
    drop(server);
}

#[test]
fn a_webcam_gives_frames() {
    let options = Options::default();
    let mut frames = Frames::new(Sources::expand([Path::new("0")]), options);
    if !Path::new("/dev/video0").exists() {
        println!("SKIPPED a_webcam_gives_frames: no /dev/video0");
        let problem = frames.next().unwrap().unwrap_err();
        assert_eq!(problem.path, Path::new("/dev/video0"));
        assert!(!problem.passing && problem.message.starts_with("no such camera"), "{problem}");
        return;
    }
    let frame = frames.next().unwrap().unwrap();
    assert!(frame.picture.width() >= 160, "{}", frame.picture.width());
}
