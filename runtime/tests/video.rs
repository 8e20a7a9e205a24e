//! Videos are read frame by frame, as `ffmpeg` reads them, and written so that they play.
#![cfg(feature = "app")]

#[path = "support/video.rs"]
mod videos;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use peristyle_runtime::app::source::{Frame, FrameKind, Frames, Limits, Options, Picture, Sources};
use peristyle_runtime::app::video::pipe::{Contents, read_contents};
use peristyle_runtime::app::video::{self, FfmpegReader, FrameReader, Input, VideoError, VideoWriter};
use videos::{ffmpeg, have_ffmpeg, psnr, read_all, test_card};

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("video").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn open(path: &Path) -> Box<dyn FrameReader> {
    video::open(path, &Limits::default()).unwrap()
}

fn by_ffmpeg(path: &Path) -> Vec<Picture> {
    let mut reader = FfmpegReader::open(&Input::File(path.to_owned()), &Limits::default()).unwrap();
    read_all(&mut reader)
}

#[test]
fn h264_agrees_with_ffmpeg_frame_by_frame() {
    if !have_ffmpeg("h264_agrees_with_ffmpeg_frame_by_frame") {
        return;
    }
    let directory = folder("h264");
    for (name, encoding) in [
        ("b_frames", "-c:v libx264 -bf 3 -b_strategy 0"),
        ("baseline", "-c:v libx264 -profile:v baseline"),
        ("slow", "-c:v libx264 -preset veryslow -crf 18"),
        ("cropped", "-c:v libx264 -vf crop=118:66"),
        (
            "bt709",
            "-c:v libx264 -vf scale=out_color_matrix=bt709 -colorspace bt709 -color_primaries bt709 -color_trc bt709",
        ),
        ("fragmented", "-c:v libx264 -g 5 -movflags frag_keyframe+empty_moov"),
        ("quicktime", "-c:v libx264 -f mov"),
    ] {
        let path = directory.join(name).with_extension("mp4");
        test_card(encoding, &path);
        let mut reader = open(&path);
        assert!((reader.fps().unwrap() - 20.0).abs() < 0.2, "{name}: {:?}", reader.fps());
        assert_eq!(reader.frames(), Some(20), "{name}");
        assert!(reader.stopper().is_none(), "{name} is decoded in this program");
        let (own, other) = (read_all(reader.as_mut()), by_ffmpeg(&path));
        assert_eq!((own.len(), other.len()), (20, 20), "{name}");
        let worst = own.iter().zip(&other).map(|(a, b)| psnr(a, b)).fold(f64::MAX, f64::min);
        assert!(worst > 40.0, "{name}: {worst:.1} dB");
    }
}

#[test]
fn rotation_is_applied() {
    if !have_ffmpeg("rotation_is_applied") {
        return;
    }
    let directory = folder("rotation");
    let plain = directory.join("plain.mp4");
    test_card("-c:v libx264", &plain);
    for degrees in [90, 180, 270] {
        let path = directory.join(format!("turned{degrees}.mp4"));
        ffmpeg(&format!("-i {} -c copy -metadata:s:v:0 rotate={degrees}", plain.display()), &path);
        let (own, other) = (read_all(open(&path).as_mut()), by_ffmpeg(&path));
        let size = if degrees == 180 { (128, 72) } else { (72, 128) };
        assert_eq!((own[0].width(), own[0].height()), size, "{degrees}");
        let worst = own.iter().zip(&other).map(|(a, b)| psnr(a, b)).fold(f64::MAX, f64::min);
        assert!(worst > 35.0, "{degrees}: {worst:.1} dB");
    }
}

#[test]
fn ffmpeg_reads_what_this_program_does_not() {
    if !have_ffmpeg("ffmpeg_reads_what_this_program_does_not") {
        return;
    }
    let directory = folder("others");
    for (name, encoding) in [
        ("ten_bit.mp4", "-c:v libx264 -pix_fmt yuv420p10le"),
        ("interlaced.mp4", "-c:v libx264 -flags +ilme+ildct"),
        ("full_chroma.mp4", "-c:v libx264 -pix_fmt yuv444p"),
        ("mpeg4.mp4", "-c:v mpeg4"),
        ("h265.mp4", "-c:v libx265 -x265-params log-level=none"),
        ("vp9.webm", "-c:v libvpx-vp9"),
        ("h264.mkv", "-c:v libx264"),
        ("h264.ts", "-c:v libx264"),
        ("motion_jpeg.avi", "-c:v mjpeg"),
        ("wmv2.wmv", "-c:v wmv2"),
        ("-leading dash.avi", "-c:v mjpeg"),
    ] {
        let path = directory.join(name);
        test_card(encoding, &path);
        let mut reader = open(&path);
        let pictures = read_all(reader.as_mut());
        assert_eq!((pictures.len(), pictures[0].width(), pictures[0].height()), (20, 128, 72), "{name}");
        assert!((reader.fps().unwrap() - 20.0).abs() < 0.5, "{name}: {:?}", reader.fps());
    }
}

#[test]
fn broken_videos_are_explained() {
    let directory = folder("broken");
    let error = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, bytes).unwrap();
        match video::open(&path, &Limits::default()).and_then(|mut reader| reader.read()) {
            Ok(_) => panic!("{name} has a frame"),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(error("void.mp4", b""), "the file is empty");
    assert!(
        video::open(&directory.join("absent.mp4"), &Limits::default()).is_err_and(|e| matches!(e, VideoError::Io(_)))
    );
    if !have_ffmpeg("broken_videos_are_explained") {
        return;
    }
    let text = error("text.mp4", b"not a video at all");
    assert!(text.starts_with("ffmpeg: ") && text.contains("Invalid data") && !text.contains("text.mp4"), "{text}");
    let whole = directory.join("whole.mp4");
    test_card("-c:v libx264", &whole);
    let bytes = fs::read(&whole).unwrap();
    // The tables of this file are at its end.
    assert!(error("cut.mp4", &bytes[..bytes.len() / 2]).contains("moov"), "the tables are named");
}

#[test]
fn written_videos_are_read_again() {
    let directory = folder("written");
    let path = directory.join("a.mp4");
    let (width, height) = (101, 67);
    let frame = |n: usize| -> Vec<u8> {
        let level = |x: usize, y: usize, c: usize| (x * 2 + y + 40 * c + 3 * n) as u8 / 2 + 60;
        (0..width * height * 3).map(|i| level(i / 3 % width, i / 3 / width, i % 3)).collect()
    };
    let mut writer = VideoWriter::create(&path, width, height, 12.5).unwrap();
    for n in 0..40 {
        writer.push(&frame(n)).unwrap();
    }
    let unfinished = fs::read(&path).unwrap();
    assert!(matches!(writer.push(&[0; 3]), Err(VideoError::SizeChanged { .. })));
    writer.finish().unwrap();

    let mut reader = open(&path);
    assert!((reader.fps().unwrap() - 12.5).abs() < 1e-3);
    let pictures = read_all(reader.as_mut());
    assert_eq!((pictures.len(), pictures[0].width(), pictures[0].height()), (40, 102, 68));
    for (n, picture) in pictures.iter().enumerate() {
        let sum = |n: usize| frame(n).iter().map(|level| u64::from(*level)).sum::<u64>() as f64;
        let mean = sum(n) / (width * height * 3) as f64;
        let read = picture.pixels().iter().map(|level| f64::from(*level)).sum::<f64>() / picture.pixels().len() as f64;
        assert!((mean - read).abs() < 2.0, "frame {n}: {mean} {read}");
    }

    // What is on the disk when the program is killed.
    let killed = directory.join("killed.mp4");
    fs::write(&killed, &unfinished).unwrap();
    let first_second = read_all(open(&killed).as_mut()).len();
    assert!((13..40).contains(&first_second), "{first_second}");
    if have_ffmpeg("written_videos_are_read_again") {
        assert_eq!(by_ffmpeg(&killed).len(), first_second);
        let other = by_ffmpeg(&path);
        let worst = pictures.iter().zip(&other).map(|(a, b)| psnr(a, b)).fold(f64::MAX, f64::min);
        assert!(other.len() == 40 && worst > 40.0, "{} {worst:.1}", other.len());
    }
}

#[test]
fn times_of_frames_are_kept() {
    let path = folder("times").join("a.mp4");
    let mut writer = VideoWriter::create(&path, 32, 32, 10.0).unwrap();
    for milliseconds in [0, 100, 900, 1000] {
        writer.push_at(&[128; 3 * 32 * 32], std::time::Duration::from_millis(milliseconds)).unwrap();
    }
    writer.finish().unwrap();
    // Four frames in 1.1 seconds.
    assert!((open(&path).fps().unwrap() - 4.0 / 1.1).abs() < 1e-3);
}

fn contents(bytes: Vec<u8>) -> Result<Contents, VideoError> {
    read_contents(Box::new(std::io::Cursor::new(bytes)), &Limits::default())
}

fn frames(bytes: Vec<u8>) -> (Vec<Picture>, Option<f64>) {
    match contents(bytes).unwrap() {
        Contents::Frames(mut reader) => (read_all(reader.as_mut()), reader.fps()),
        Contents::Picture(_) => panic!("one picture, not frames"),
    }
}

#[test]
fn byte_streams_hold_pictures_or_frames() {
    let picture = |level: u8| Picture::from_rgb(vec![level; 3 * 20 * 10], 20, 10);
    let jpeg = |level| picture(level).to_jpeg(90).unwrap();
    assert!(matches!(contents(jpeg(9)).unwrap(), Contents::Picture(one) if one.width() == 20));
    let (pictures, fps) = frames([jpeg(10), jpeg(100), jpeg(200)].concat());
    assert_eq!((pictures.len(), fps), (3, None));
    assert!(pictures.iter().zip([10, 100, 200]).all(|(p, level)| p.pixels()[0].abs_diff(level) < 3));

    let part = |level| [b"--edge\r\nContent-Type: image/jpeg\r\n\r\n".to_vec(), jpeg(level), b"\r\n".to_vec()].concat();
    assert_eq!(frames([part(1), part(2), b"--edge--\r\n".to_vec()].concat()).0.len(), 2);

    let ppm = |level| [b"P6\n20 10\n255\n".to_vec(), vec![level; 600]].concat();
    let (pictures, _) = frames([ppm(7), ppm(8)].concat());
    assert_eq!(pictures, [picture(7), picture(8)]);
    // A program that is stopped leaves half a frame behind.
    assert_eq!(frames([ppm(7), ppm(8)[..300].to_vec()].concat()).0.len(), 1);

    let mut y4m = b"YUV4MPEG2 W20 H10 F30000:1001 Ip A1:1 C420jpeg XCOLORRANGE=FULL\n".to_vec();
    for level in [50, 60] {
        y4m.extend(b"FRAME\n");
        y4m.extend([vec![level; 200], vec![128; 100]].concat());
    }
    let (pictures, fps) = frames(y4m);
    assert_eq!(pictures, [picture(50), picture(60)]);
    assert!((fps.unwrap() - 29.97).abs() < 0.01);

    for (bytes, cause) in [
        (b"".to_vec(), "empty"),
        (b"hello, world".to_vec(), "neither an image nor frames"),
        (b"YUV4MPEG2 W20 H10 F25:1 C444\n".to_vec(), "colour space 444"),
        (b"YUV4MPEG2 F25:1\n".to_vec(), "width and height"),
    ] {
        let error = contents(bytes).err().unwrap().to_string();
        assert!(error.contains(cause), "{error}");
    }
    let mut bomb = match contents(b"P6 99999999 99999999 255\n".to_vec()).unwrap() {
        Contents::Frames(reader) => reader,
        Contents::Picture(_) => unreachable!(),
    };
    assert!(bomb.read().unwrap_err().to_string().contains("larger than the limit"));
}

#[test]
fn every_nth_frame_is_taken_at_an_nth_of_the_rate() {
    let path = folder("stride").join("a.mp4");
    let mut writer = VideoWriter::create(&path, 32, 32, 10.0).unwrap();
    (0..10u8).for_each(|n| writer.push(&[16 + 20 * n; 3 * 32 * 32]).unwrap());
    writer.finish().unwrap();
    let options = Options { vid_stride: 4.try_into().unwrap(), ..Options::default() };
    let taken: Vec<Frame> = Frames::new(Sources::expand([path.as_path()]), options).map(|f| f.unwrap()).collect();
    let levels: Vec<u8> = taken.iter().map(|frame| frame.picture.pixels()[0]).collect();
    assert!(levels.iter().zip([16, 96, 176]).all(|(a, b)| a.abs_diff(b) < 4) && levels.len() == 3, "{levels:?}");
    let FrameKind::Video { index, count, fps } = taken[2].kind else { panic!("{:?}", taken[2].kind) };
    assert_eq!((index, count), (2, Some(3)));
    assert!((fps.unwrap() - 2.5).abs() < 1e-3);
}

/// Set in the process that plays a machine without `ffmpeg`.
const ALONE: &str = "PERISTYLE_TEST_WITHOUT_FFMPEG";

#[test]
fn without_ffmpeg_it_is_asked_for() {
    let path = folder("alone").join("a.mkv");
    fs::write(&path, [0x1a, 0x45, 0xdf, 0xa3, 0, 0, 0, 0]).unwrap();
    let tests = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_a_machine_without_ffmpeg_says", "--nocapture"])
        .env("PATH", "")
        .env(ALONE, &path)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&tests.stdout);
    assert!(tests.status.success(), "{out}");
    let said = out.split("SAID ").nth(1).unwrap().lines().next().unwrap();
    let expected = "a video that is not MP4 needs the `ffmpeg` program, which is not on PATH: install it (`apt-get install ffmpeg`)";
    assert_eq!(said, expected);
}

#[test]
fn what_a_machine_without_ffmpeg_says() {
    let Some(path) = std::env::var_os(ALONE) else { return };
    let error = video::open(Path::new(&path), &Limits::default()).err().unwrap();
    println!("SAID {error}");
}
