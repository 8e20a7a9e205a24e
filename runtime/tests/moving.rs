//! The command-line program around a fake model looks at videos and pipes.
#![cfg(feature = "app")]

mod support;
#[path = "support/video.rs"]
mod videos;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use peristyle_runtime::app::source::{Limits, Picture};
use peristyle_runtime::app::video::{self, VideoWriter};
use peristyle_runtime::app::{self, Compiled, Console};
use support::{DETECTOR, Fake, bright_box, picture};
use videos::{have_ffmpeg, read_all, wandering_square};

fn run(args: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once(&"/usr/bin/fake-detector").chain(args).map(Into::into);
    let mut console = Console { out: &mut out, err: &mut err, color: false };
    let code = app::run(
        args,
        &[Compiled { new: |_| Ok(Box::new(Fake::new(&DETECTOR, bright_box))), spec: &DETECTOR }],
        &mut console,
    );
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moving").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Frame number and best box of each line.
fn boxes(out: &str) -> Vec<(u64, [f64; 4])> {
    let lines = out.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let corner = |i: usize| line["boxes"][0][i].as_f64().unwrap();
        (line["frame"].as_u64().unwrap(), [corner(0), corner(1), corner(2), corner(3)])
    });
    lines.collect()
}

#[test]
fn an_object_is_followed_through_a_video() {
    if !have_ffmpeg("an_object_is_followed_through_a_video") {
        return;
    }
    for (name, encoding) in [("own.mp4", "-c:v libx264 -pix_fmt yuv420p"), ("ffmpeg.avi", "-c:v mjpeg -q:v 2")] {
        let directory = folder(name);
        let source = directory.join(name);
        wandering_square(2.0, encoding, &source);
        let output = directory.join("annotated");
        let (code, out, err) = run(&["detect", "--json", "--source", text(&source), "-o", text(&output)]);
        assert_eq!((code, err.as_str()), (0, ""), "{name}");
        let boxes = boxes(&out);
        assert_eq!(boxes.len(), 20, "{name}");
        for (at, (frame, [left, top, right, bottom])) in boxes.into_iter().enumerate() {
            let expected = 16.0 + 4.0 * at as f64;
            let off = [left - expected, top - 24.0, right - expected - 32.0, bottom - 56.0];
            // A pixel of the network's input is two and a half of the video's.
            assert!(frame == at as u64 && off.iter().all(|off| off.abs() <= 4.0), "{name} {at}: {off:?}");
        }
        let stem = name.split('.').next().unwrap();
        let copy = output.join(stem).with_extension("mp4");
        let mut reader = video::open(&copy, &Limits::default()).unwrap();
        assert!((reader.fps().unwrap() - 10.0).abs() < 1e-3, "{name}");
        let pictures = read_all(reader.as_mut());
        assert_eq!(pictures.len(), 20, "{name}");
        let is_red = |pixel: &[u8]| pixel[0] > 150 && pixel[1] < 120 && pixel[2] < 130;
        assert!(pictures.iter().all(|p| p.pixels().chunks(3).filter(|p| is_red(p)).count() > 50), "boxes are drawn");
    }
}

#[test]
fn images_come_before_videos_and_bad_files_do_not_end_the_run() {
    let directory = folder("mixed");
    let mut writer = VideoWriter::create(&directory.join("a.mp4"), 64, 64, 10.0).unwrap();
    (0..3).for_each(|_| writer.push(&picture(64, 64, [8, 16, 24, 48])).unwrap());
    writer.finish().unwrap();
    let image = Picture::from_rgb(picture(64, 64, [8, 16, 24, 48]), 64, 64);
    fs::write(directory.join("z.jpg"), image.to_jpeg(95).unwrap()).unwrap();
    fs::write(directory.join("b.mp4"), "").unwrap();
    fs::write(directory.join("notes.md"), "x").unwrap();
    fs::write(directory.join("list.txt"), "# pictures\n\nz.jpg\na.mp4\n").unwrap();
    let (code, out, err) = run(&["detect", "--nosave", "--source", text(&directory)]);
    assert_eq!(code, 1);
    let starts: Vec<_> = out.lines().map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
    let path = |name: &str| directory.join(name).display().to_string();
    assert_eq!(starts[0], format!("image 1/3 {}:", path("z.jpg")));
    assert_eq!(starts[1..4], ["video 2/3 (1/3)", "video 2/3 (2/3)", "video 2/3 (3/3)"]);
    let errors: Vec<_> = err.lines().collect();
    assert_eq!(errors.len(), 2, "{err}");
    assert!(errors[0].starts_with("warning: skipped 2 files that are not images or videos: "), "{err}");
    assert!(errors[1].starts_with(&format!("error: {}: ", path("b.mp4"))) && errors[1].contains("empty"), "{err}");

    let (code, out, _) = run(&["detect", "--source", text(&directory.join("list.txt")), "--vid-stride", "2", "--json"]);
    assert_eq!((code, out.lines().count()), (0, 3));
}

#[test]
fn a_named_pipe_is_read_to_its_end() {
    let pipe = folder("pipe").join("frames");
    if !Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
        println!("SKIPPED a_named_pipe_is_read_to_its_end: no `mkfifo`");
        return;
    }
    let into = pipe.clone();
    let writer = std::thread::spawn(move || {
        let frame = |left| [b"P6\n64 64\n255\n".to_vec(), picture(64, 64, [left, 16, left + 16, 48])].concat();
        fs::write(into, [frame(8), frame(10), frame(12)].concat()).unwrap();
    });
    let (code, out, err) = run(&["detect", "--json", "--source", text(&pipe)]);
    writer.join().unwrap();
    assert_eq!((code, err.as_str()), (0, ""));
    let expected = [8.0, 10.0, 12.0].map(|left| [left, 16.0, left + 16.0, 48.0]);
    assert_eq!(boxes(&out), [(0, expected[0]), (1, expected[1]), (2, expected[2])]);
}
