//! The command-line program around a fake model: what it prints, writes and returns.
#![cfg(feature = "app")]

mod support;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use peristyle_runtime::app::{self, Compiled, Console, NewEngine};
use peristyle_runtime::engine::ModelSpec;
use peristyle_runtime::tensor_io::{Array, read_tensors, write_npz, write_tensor};
use support::{DETECTOR, Fake, PLAIN, bright_box, picture};

struct Ended {
    code: u8,
    out: String,
    err: String,
}

fn run_on(spec: &'static ModelSpec, new: NewEngine, args: &[&str]) -> Ended {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once(&"/usr/bin/fake-detector").chain(args).map(Into::into);
    let code = app::run(args, &[Compiled { new, spec }], &mut Console { out: &mut out, err: &mut err, color: false });
    Ended { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn run(args: &[&str]) -> Ended {
    run_on(&DETECTOR, |_| Ok(Box::new(Fake::new(&DETECTOR, bright_box))), args)
}

/// A new directory of this test binary.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("program").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn save_picture(path: &Path, rectangle: [usize; 4]) {
    image::RgbImage::from_raw(64, 64, picture(64, 64, rectangle)).unwrap().save(path).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn json_lines_hold_boxes_in_pixels_of_the_picture() {
    let path = folder("json").join("a \"quoted\".png");
    save_picture(&path, [8, 16, 24, 48]);
    let ended = run(&["detect", "--source", text(&path), "--json"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let escaped = text(&path).replace('"', "\\\"");
    let expected = format!(
        "{{\"image\": \"{escaped}\", \"boxes\": [[8.0,16.0,24.0,48.0],[28.0,28.0,36.0,36.0]], \
         \"scores\": [0.9,0.3], \"labels\": [\"person\",\"bus\"], \"class_ids\": [0,1]}}\n"
    );
    assert_eq!(ended.out, expected);
}

#[test]
fn console_lines_are_those_of_yolov5() {
    let directory = folder("console");
    save_picture(&directory.join("b.png"), [8, 16, 24, 48]);
    save_picture(&directory.join("a.bmp"), [0, 0, 0, 0]);
    fs::write(directory.join("notes.txt"), "x").unwrap();
    fs::write(directory.join("data.json"), "{}").unwrap();
    let ended = run(&["detect", "--source", text(&directory), "--nosave", "--iou_thres", "1"]);
    assert_eq!(ended.code, 0);
    let skipped = ended.err.strip_prefix("warning: skipped 2 files that are not images or videos: ").unwrap();
    assert!(skipped.find("data.json") < skipped.find("notes.txt"), "{skipped}");
    let lines: Vec<_> = ended.out.lines().collect();
    let start = |n: u8, name: &str| format!("image {n}/2 {}: 64x64 ", directory.join(name).display());
    assert!(lines[0].starts_with(&(start(1, "a.bmp") + "(no detections), ")), "{}", lines[0]);
    assert!(lines[1].starts_with(&(start(2, "b.png") + "2 persons, 1 bus, ")), "{}", lines[1]);
    assert!(lines[1].ends_with("ms"));
    assert!(lines[2].starts_with("Speed: ") && lines[2].ends_with("ms NMS per image at shape (1, 3, 64, 64)"));
}

#[test]
fn an_unreadable_image_does_not_stop_the_others() {
    let directory = folder("unreadable");
    save_picture(&directory.join("c.png"), [8, 16, 24, 48]);
    fs::write(directory.join("b.jpg"), "not a picture").unwrap();
    fs::write(directory.join("empty.jpg"), "").unwrap();
    let whole = fs::read(directory.join("c.png")).unwrap();
    fs::write(directory.join("cut.png"), &whole[..whole.len() / 2]).unwrap();
    let missing = directory.join("missing.jpg");
    let ended = run(&["detect", "--json", "--source", text(&missing), text(&directory)]);
    assert_eq!((ended.code, ended.out.lines().count()), (1, 1));
    let errors: Vec<_> = ended.err.lines().collect();
    assert_eq!(errors.len(), 4, "{errors:?}");
    for (error, (name, cause)) in errors.iter().zip([
        ("missing.jpg", "No such file"),
        ("b.jpg", "not an image in a known format"),
        ("cut.png", ""),
        ("empty.jpg", "empty"),
    ]) {
        assert!(error.starts_with("error: ") && error.contains(name) && error.contains(cause), "{error}");
    }
}

#[test]
fn huge_pictures_are_refused_before_they_are_decoded() {
    let path = folder("bomb").join("bomb.png");
    let mut ihdr = b"IHDR".to_vec();
    ihdr.extend([0, 1, 0, 0, 0, 1, 0, 0, 8, 2, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(&ihdr);
    bytes.extend(crc32(&ihdr).to_be_bytes());
    bytes.extend(b"\0\0\0\0IDAT");
    bytes.extend(crc32(b"IDAT").to_be_bytes());
    fs::write(&path, bytes).unwrap();
    let ended = run(&["detect", "--source", text(&path), "--nosave"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("65536x65536 pixels is larger than the limit"), "{}", ended.err);
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}

#[test]
fn sources_are_patterns_and_lists_too() {
    let directory = folder("sources");
    fs::create_dir_all(directory.join("deep/er")).unwrap();
    for name in ["b.png", "a.png", "deep/c.png", "deep/er/d.png", ".hidden.png"] {
        save_picture(&directory.join(name), [8, 16, 24, 48]);
    }
    fs::write(directory.join("list.txt"), "b.png\n\ndeep/c.png\n").unwrap();
    let names = |source: &str| -> Vec<String> {
        let ended = run(&["detect", "--json", "--source", text(&directory.join(source))]);
        assert_eq!(ended.code, 0, "{source}: {}", ended.err);
        let image = |line: &str| line.split('"').nth(3).unwrap().to_owned();
        ended.out.lines().map(|l| image(l).strip_prefix(text(&directory)).unwrap().to_owned()).collect()
    };
    assert_eq!(names("*.png"), ["/a.png", "/b.png"]);
    assert_eq!(names("**/*.png"), ["/a.png", "/b.png", "/deep/c.png", "/deep/er/d.png"]);
    assert_eq!(names("d*/?.png"), ["/deep/c.png"]);
    assert_eq!(names("list.txt"), ["/b.png", "/deep/c.png"]);
    let none = run(&["detect", "--source", text(&directory.join("*.gif"))]);
    assert_eq!((none.code, none.out.as_str()), (1, ""));
    assert!(none.err.contains("no images or videos there"), "{}", none.err);
}

#[test]
fn options_reach_the_pipeline() {
    let path = folder("options").join("a.png");
    save_picture(&path, [8, 16, 24, 48]);
    let ids = |extra: &[&str]| {
        let args = [&["detect", "--json", "--source", text(&path)], extra].concat();
        let ended = run(&args);
        assert_eq!(ended.code, 0, "{}", ended.err);
        ended.out.trim_end().rsplit_once("\"class_ids\": ").unwrap().1.trim_end_matches('}').to_owned()
    };
    assert_eq!(ids(&[]), "[0,1]");
    assert_eq!(ids(&["--conf_thres", "0.5"]), "[0]");
    assert_eq!(ids(&["--compat", "deepsparse"]), "[0]");
    assert_eq!(ids(&["--compat", "deepsparse", "--conf-thres=0.2"]), "[0,1]");
    assert_eq!(ids(&["--classes", "1", "2"]), "[1]");
    assert_eq!(ids(&["--classes", "bus"]), "[1]");
    assert_eq!(ids(&["--max_det", "1"]), "[0]");
    assert_eq!(ids(&["--multi-label", "--conf-thres", "0.05"]), "[0,1,1]");
    assert_eq!(ids(&["--resize", "stretch", "--agnostic-nms", "--threads", "3"]), "[0,1]");
}

#[test]
fn copies_never_replace_a_source() {
    let directory = folder("copies");
    let source = directory.join("a.jpg");
    save_picture(&source, [8, 16, 24, 48]);
    save_picture(&directory.join("a.png"), [8, 16, 24, 48]);
    let before = fs::read(&source).unwrap();
    for _ in 0..2 {
        let ended = run(&["detect", "--source", text(&source), text(&directory.join("a.png")), "-o", text(&directory)]);
        assert_eq!(ended.code, 0, "{}", ended.err);
        assert!(ended.out.ends_with(&format!("Results saved to {}\n", directory.display())));
    }
    assert_eq!(fs::read(&source).unwrap(), before);
    let mut names: Vec<_> = fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a-2.jpg", "a-3.png", "a.jpg", "a.png"]);
    let copy = image::open(directory.join("a-2.jpg")).unwrap().into_rgb8();
    let [r, g, b] = copy.get_pixel(8, 40).0;
    assert!(r > 180 && g < 110 && b < 120, "the frame of class 0 is red: {r} {g} {b}");
}

#[test]
fn benchmark_prints_the_known_lines() {
    let export = folder("benchmark").join("result.json");
    let args = ["benchmark", "-s", "sync", "-b", "3", "-ncores", "1", "-nstreams", "2", "-t", "0.05", "-w", "0"];
    let ended = run(&[&args[..], &["-x", text(&export)]].concat());
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(ended.err, "notice: the sync scenario has one stream; -nstreams 2 is ignored\n");
    let lines: Vec<_> = ended.out.lines().collect();
    assert_eq!(lines[..3], ["Original Model Path: fake.onnx", "Batch Size: 3", "Scenario: sync"]);
    for (line, start) in lines[3..].iter().zip([
        "Throughput (items/sec): ",
        "Latency Mean (ms/batch): ",
        "Latency Median (ms/batch): ",
        "Latency Std (ms/batch): ",
    ]) {
        let number = line.strip_prefix(start).unwrap();
        assert!(number.parse::<f64>().is_ok() && number.split_once('.').unwrap().1.len() == 4, "{line}");
    }
    let iterations: u64 = lines[7].strip_prefix("Iterations: ").unwrap().parse().unwrap();
    assert_eq!(lines.len(), 8);
    let result: serde_json::Value = serde_json::from_slice(&fs::read(&export).unwrap()).unwrap();
    assert_eq!(result["benchmark_result"]["iterations"], iterations);
    assert_eq!(result["scenario"], "singlestream");
    assert_eq!(result["input_shapes"], serde_json::json!([[3, 3, 64, 64]]));
    for key in ["engine", "version", "orig_model_path", "model_path", "num_cores", "num_streams", "scheduler", "cpu"] {
        assert!(!result[key].is_null(), "{key}");
    }
}

#[test]
fn benchmark_runs_streams_side_by_side_and_models_without_a_head() {
    let new: NewEngine = |threads| {
        assert_eq!(threads, 2);
        Ok(Box::new(Fake::new(&PLAIN, bright_box)))
    };
    let args = ["benchmark", "--scenario", "async", "--num_cores", "4", "-t", "0.02", "-w", "0.01", "-q"];
    let ended = run_on(&PLAIN, new, &args);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(ended.out.contains("Batch Size: 2\nScenario: async\n"), "{}", ended.out);
}

#[test]
fn every_stream_has_an_engine_with_its_share_of_the_cores() {
    static ENGINES: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let new: NewEngine = |threads| {
        ENGINES.lock().unwrap().push(threads);
        Ok(Box::new(Fake::new(&DETECTOR, bright_box)))
    };
    for (options, engines) in [
        ("-s async -nstreams 2 -ncores 5", &[3, 2][..]),
        ("-s async -ncores 5", &[3, 2]),
        ("-s async -ncores 1", &[1]),
        ("-s elastic -nstreams 3 -ncores 2", &[1, 1, 1]),
        ("-s sync -nstreams 3 -ncores 4", &[4]),
    ] {
        let args: Vec<_> = "benchmark -t 0.01 -w 0".split(' ').chain(options.split(' ')).collect();
        let ended = run_on(&DETECTOR, new, &args);
        assert_eq!((ended.code, std::mem::take(&mut *ENGINES.lock().unwrap())), (0, engines.to_vec()), "{options}");
        let notice = if options.starts_with("-s sync") {
            "notice: the sync scenario has one stream; -nstreams 3 is ignored\n"
        } else {
            ""
        };
        assert_eq!(ended.err, notice, "{options}");
    }
}

#[test]
fn threads_that_cannot_be_started_are_named_with_their_option() {
    let none: NewEngine = |_| Err(io::Error::other("no more processes"));
    let directory = folder("threads");
    let (image, tensor) = (directory.join("a.png"), directory.join("a.npy"));
    save_picture(&image, [8, 16, 24, 48]);
    write_tensor(&tensor, &Array::U8 { shape: vec![1, 3, 64, 64], data: vec![0; 3 * 64 * 64] }).unwrap();
    for (args, message) in [
        (
            &["detect", "--source", text(&image), "--threads", "99"][..],
            "99 threads: no more processes; pass a smaller --threads",
        ),
        (
            &["infer", "--input", text(&tensor), "--output", text(&directory), "--threads", "1"],
            "1 thread: no more processes; pass a smaller --threads",
        ),
        (&["benchmark", "-ncores", "7"], "7 threads: no more processes; pass a smaller -ncores"),
        (
            &["benchmark", "-s", "async", "-nstreams", "3", "-ncores", "7"],
            "7 threads: no more processes; pass a smaller -ncores or -nstreams",
        ),
    ] {
        let ended = run_on(&DETECTOR, none, args);
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{args:?}");
        assert_eq!(ended.err, format!("error: cannot start {message}\n"), "{args:?}");
    }
}

#[test]
fn absurd_numbers_are_refused_before_anything_is_started() {
    let none: NewEngine = |threads| panic!("{threads} threads were asked for");
    let path = folder("absurd").join("a.png");
    save_picture(&path, [8, 16, 24, 48]);
    for (args, message) in [
        (
            &["benchmark", "-ncores", "100000"][..],
            "cannot start 100000 threads: at most 1024 can work together; pass a",
        ),
        (&["benchmark", "-s", "async", "-ncores", "200000"], "cannot start 200000 threads: at most 1024"),
        (&["benchmark", "-s", "async", "-nstreams", "18446744073709551615"], "threads: at most 1024"),
        (&["benchmark", "-b", "18446744073709551615"], "no memory for batches of 18446744073709551615 images; pass a"),
        (&["benchmark", "-b", "1000000000000"], "(12672000.0 GB); pass a smaller -b"),
        (&["detect", "--source", text(&path), "--threads", "200000"], "cannot start 200000 threads: at most 1024"),
    ] {
        let ended = run_on(&DETECTOR, none, args);
        assert_eq!((ended.code, ended.out.as_str(), ended.err.lines().count()), (1, "", 1), "{args:?}: {}", ended.err);
        assert!(ended.err.starts_with("error: ") && ended.err.contains(message), "{args:?}: {}", ended.err);
    }
}

#[test]
fn a_file_is_no_folder_for_outputs() {
    let directory = folder("file-as-folder");
    let (image, file) = (directory.join("a.png"), directory.join("taken"));
    save_picture(&image, [8, 16, 24, 48]);
    fs::write(&file, "x").unwrap();
    let ended = run(&["detect", "--source", text(&image), "-o", text(&file)]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("taken: it is a file, expected a folder"), "{}", ended.err);
}

#[test]
fn a_model_without_a_head_points_to_infer() {
    let ended = run_on(&PLAIN, |_| Ok(Box::new(Fake::new(&PLAIN, bright_box))), &["detect", "--source", "a.png"]);
    assert_eq!((ended.code, ended.err.lines().count()), (1, 1));
    assert!(ended.err.contains("no detection head") && ended.err.contains("fake-detector infer"), "{}", ended.err);
}

#[test]
fn infer_takes_any_number_of_images_and_names_what_does_not_fit() {
    let directory = folder("infer");
    let run = |input: &Path| {
        run_on(
            &PLAIN,
            |_| Ok(Box::new(Fake::new(&PLAIN, bright_box))),
            &["infer", "--input", text(input), "--output", text(&directory.join("out/put"))],
        )
    };
    let save = |name: &str, array: &Array| {
        let path = directory.join(name);
        write_tensor(&path, array).unwrap();
        path
    };
    let planes = |picture: Vec<u8>| {
        (0..3).flat_map(|c| picture.clone().into_iter().skip(c).step_by(3).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let data = [planes(picture(64, 64, [0, 0, 16, 16])), planes(picture(64, 64, [8, 0, 24, 16]))].concat();
    let array = Array::U8 { shape: vec![2, 3, 64, 64], data };

    let ended = run(&save("two.npy", &array));
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let [(_, Array::F32 { shape, data })] = &read_tensors(&directory.join("out/put/output0.npy")).unwrap()[..] else {
        panic!("one array of floats")
    };
    assert_eq!(shape, &[2, 12, 8]);
    assert_eq!((data[7 * 8], data[12 * 8 + 7 * 8]), (8.0, 16.0));

    let archive = directory.join("named.npz");
    write_npz(&archive, &[("other".into(), array.clone()), ("images".into(), array.clone())]).unwrap();
    assert_eq!(run(&archive).code, 0);
    write_npz(&archive, &[("other".into(), array)]).unwrap();
    let floats = Array::F32 { shape: vec![1, 3, 64, 64], data: vec![0.0; 3 * 64 * 64] };
    let odd = Array::U8 { shape: vec![3, 64, 64], data: vec![0; 3 * 64 * 64] };
    let none = Array::U8 { shape: vec![0, 3, 64, 64], data: vec![] };
    for (path, message) in [
        (archive, "no member is named `images`; there are: other"),
        (save("floats.npy", &floats), "input `images`: expected u8[1x3x64x64], got f32[1x3x64x64]"),
        (save("odd.npy", &odd), "input `images`: expected u8[Nx3x64x64], got u8[3x64x64]"),
        (save("none.npy", &none), "input `images`: expected u8[Nx3x64x64], got u8[0x3x64x64]"),
        (directory.join("missing.npy"), "No such file"),
    ] {
        let ended = run(&path);
        assert_eq!((ended.code, ended.err.lines().count()), (1, 1), "{}", ended.err);
        assert!(ended.err.contains(message) && ended.err.contains(text(&path)), "{}", ended.err);
    }
}

#[test]
fn misuse_has_exit_code_two_and_help_none() {
    for args in [
        &["detect"][..],
        &["detect", "--source", "a.png", "--conf-thres", "2"],
        &["detect", "--source", "a.png", "--conf-thres", "nan"],
        &["detect", "--source", "a.png", "--classes", "zebra"],
        &["benchmark", "-b", "0"],
        &["benchmark", "-t", "-1"],
        &["profile", "-b", "0"],
        &["profile", "-bi", "0"],
        &["profile", "-wi", "-1"],
        &["profile", "-bi", "3", "-t", "1"],
        &["profile", "-nstreams", "2"],
        &["no-such-command"],
    ] {
        let ended = run(args);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{args:?}");
        assert!(ended.err.starts_with("error: "), "{args:?}: {}", ended.err);
    }
    for args in [&["--help"][..], &["--version"], &["detect", "--help"], &["benchmark", "-h"], &["profile", "--help"]] {
        let ended = run(args);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{args:?}");
    }
    let version = run(&["--version"]).out;
    assert!(version.starts_with("fake-detector ") && version.contains("0.0.0") && version.contains("5eed"));
    assert!(run(&["--help"]).out.contains("Usage: fake-detector <COMMAND>"));
}

#[test]
fn a_closed_output_ends_the_program_quietly() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let path = folder("closed").join("a.png");
    save_picture(&path, [8, 16, 24, 48]);
    let mut err = Vec::new();
    let args = ["fake", "detect", "--source", text(&path), "--nosave"].map(Into::into);
    let mut console = Console { out: &mut Closed, err: &mut err, color: false };
    let code = app::run(
        args,
        &[Compiled { new: |_| Ok(Box::new(Fake::new(&DETECTOR, bright_box))), spec: &DETECTOR }],
        &mut console,
    );
    assert_eq!((code, err.as_slice()), (0, &[][..]));
}
