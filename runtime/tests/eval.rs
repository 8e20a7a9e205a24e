//! `eval`: its figures against pycocotools, and the program around a model that knows the answer.
#![cfg(feature = "app")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use peristyle_runtime::app::eval::{AREAS, AveragePrecision, Dataset, Found, Judged, MAX_DETS, Truth, summarise};
use peristyle_runtime::app::{self, Compiled, Console, eval::matching::ClassMatches};
use serde_json::{Value, json};
use support::{DETECTOR, Fake, bright_box, picture};

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/eval")
}

fn numbers(value: &Value) -> [f64; 4] {
    let numbers: Vec<f64> = value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    numbers.try_into().unwrap()
}

fn assert_close(got: f64, expected: f64, bound: f64, what: &str) {
    assert!((got - expected).abs() <= bound, "{what}: {got}, expected {expected}");
}

#[test]
fn synthetic_boxes_have_the_figures_of_pycocotools() {
    let file = read_json(&tests().join("synthetic.json"));
    let ids = file["images"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap());
    let mut pictures: BTreeMap<u64, Judged> = ids.map(|id| (id, Judged::default())).collect();
    let of = |item: &Value| (item["image_id"].as_u64().unwrap(), item["category_id"].as_u64().unwrap() as usize - 1);
    for item in file["truths"].as_array().unwrap() {
        let (image, class_id) = of(item);
        let (xywh, area) = (numbers(&item["bbox"]), item["area"].as_f64().unwrap());
        let truth = Truth { class_id, xywh, area, crowd: item["iscrowd"] == 1 };
        pictures.get_mut(&image).unwrap().truths.push(truth);
    }
    for item in file["found"].as_array().unwrap() {
        let (image, class_id) = of(item);
        let found = Found { class_id, xywh: numbers(&item["bbox"]), score: item["score"].as_f64().unwrap() };
        pictures.get_mut(&image).unwrap().found.push(found);
    }
    let pictures: Vec<Judged> = pictures.into_values().collect();
    let summary = summarise(&pictures, &[0, 1, 2, 3, 4]);
    for ((name, got), expected) in summary.figures.iter().zip(file["stats"].as_array().unwrap()) {
        assert_close(*got, expected.as_f64().unwrap(), 1e-9, name);
    }
    assert_eq!(summary.figures.len(), 12);
    for (class_id, expected) in file["per_class"].as_array().unwrap().iter().enumerate() {
        let ap = AveragePrecision::new(&ClassMatches::new(&pictures, class_id, AREAS[0]), MAX_DETS[2]);
        for (threshold, expected) in expected.as_array().unwrap().iter().enumerate() {
            match expected.as_f64() {
                Some(expected) => assert_close(ap.at[threshold], expected, 1e-9, &format!("class {class_id}")),
                None => assert!(ap.at[threshold].is_nan()),
            }
        }
    }
}

/// A Python with pycocotools: `PERISTYLE_PYTHON`, or `python3`.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("PERISTYLE_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let there = Command::new(&python).args(["-c", "import pycocotools"]).output();
    there.is_ok_and(|output| output.status.success()).then_some(python)
}

/// Objects moved, renamed, missed and invented by a fixed rule, on real annotations.
#[test]
fn real_annotations_have_the_figures_of_pycocotools() {
    let data = std::env::var_os("PERISTYLE_TEST_DATA").map(PathBuf::from);
    let annotations = data.map(|data| data.join("images/instances_val.json")).filter(|path| path.is_file());
    let (Some(annotations), Some(python)) = (annotations, python()) else {
        eprintln!("SKIPPED: no images/instances_val.json in PERISTYLE_TEST_DATA, or no pycocotools");
        return;
    };
    let categories = read_json(&annotations)["categories"].as_array().unwrap().clone();
    let names: Vec<String> = categories.iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect();
    let dataset = Dataset::open(&annotations, None, &names).unwrap();
    let mut state = 7u32;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f64::from(state >> 8) / f64::from(1 << 24)
    };
    let (mut pictures, mut results) = (Vec::new(), Vec::new());
    for sample in &dataset.samples {
        let mut found = Vec::new();
        for truth in sample.truths_in(1, 1) {
            for _ in 0..(random() * 3.0) as usize {
                let [x, y, w, h] = truth.xywh;
                let moved = [x + 0.3 * w * random(), y + 0.3 * h * random(), w, h];
                let corners = [moved[0], moved[1], moved[0] + w, moved[1] + h].map(|v| v as f32);
                let class = if random() < 0.9 { truth.class_id } else { (random() * 80.0) as usize };
                found.push(Found::new(class.min(names.len() - 1), corners, random() as f32));
            }
        }
        results.extend(found.iter().map(|f| {
            let category = dataset.category_ids[f.class_id];
            json!({ "image_id": sample.id.to_json(), "category_id": category, "bbox": f.xywh, "score": f.score })
        }));
        pictures.push(Judged { truths: sample.truths_in(1, 1), found });
    }
    let file = folder("real").join("results.json");
    fs::write(&file, serde_json::to_vec(&results).unwrap()).unwrap();
    let output = Command::new(python).arg(tests().join("coco_stats.py")).args([&annotations, &file]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: Vec<f64> = serde_json::from_slice(&output.stdout).unwrap();
    let classes: Vec<usize> = (0..names.len()).collect();
    for ((name, got), expected) in summarise(&pictures, &classes).figures.iter().zip(expected) {
        assert_close(*got, expected, 1e-9, name);
    }
}

struct Ended {
    code: u8,
    out: String,
    err: String,
}

fn run(args: &[&str]) -> Ended {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once(&"/usr/bin/fake-detector").chain(args).map(Into::into);
    let new = |_| -> std::io::Result<Box<dyn peristyle_runtime::engine::Infer>> {
        Ok(Box::new(Fake::new(&DETECTOR, bright_box)))
    };
    let code = app::run(
        args,
        &[Compiled { new, spec: &DETECTOR }],
        &mut Console { out: &mut out, err: &mut err, color: false },
    );
    Ended { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("eval").join(name);
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

/// Three pictures: a person that is found, a bus that is found in its place (the model always sees one in the middle),
/// and nothing.
fn yolo_set(name: &str) -> PathBuf {
    let root = folder(name);
    fs::create_dir_all(root.join("images/val")).unwrap();
    fs::create_dir_all(root.join("labels/val")).unwrap();
    save_picture(&root.join("images/val/a.png"), [8, 16, 24, 48]);
    save_picture(&root.join("images/val/b.png"), [0, 0, 16, 16]);
    save_picture(&root.join("images/val/c.png"), [0, 0, 0, 0]);
    fs::write(root.join("labels/val/a.txt"), "0 0.25 0.5 0.25 0.5\n").unwrap();
    fs::write(root.join("labels/val/b.txt"), "1 0.5 0.5 0.125 0.125\n0 0.125 0.125 0.25 0.25\n").unwrap();
    fs::write(root.join("labels/val/c.txt"), "").unwrap();
    fs::write(root.join("data.yaml"), "path: .\nval: images/val\nnames: {0: person, 1: bus, 2: tie}\n").unwrap();
    root
}

#[test]
fn a_yolo_set_gives_the_table_of_val_and_every_file() {
    let root = yolo_set("yolo");
    let project = root.join("runs");
    let data = root.join("data.yaml");
    let args = ["eval", "--data", text(&data), "--project", text(&project)];
    let export = root.join("figures.json");
    let ended = run(&[&args[..], &["--save-json", "--save-txt", "--save-conf", "-x", text(&export)]].concat());
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.err);
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines[0], "                 Class     Images  Instances          P          R      mAP50   mAP50-95");
    let fields = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
    assert_eq!(fields(lines[1])[..3], ["all", "3", "3"]);
    assert_eq!(fields(lines[2])[..3], ["person", "3", "2"]);
    assert_eq!(fields(lines[2])[5..], ["1", "1"]);
    assert_eq!(fields(lines[3])[0], "bus");
    assert!(lines[4].starts_with("Speed: ") && ended.out.contains("maxDets=100 ] = "), "{}", ended.out);
    assert!(ended.out.ends_with(&format!("Results saved to {}\n", project.join("exp").display())));
    for name in ["confusion_matrix", "PR_curve", "F1_curve", "P_curve", "R_curve"] {
        let figure = image::open(project.join("exp").join(format!("{name}.png"))).unwrap().into_rgb8();
        let ink = figure.pixels().filter(|p| p.0 != [255; 3]).count();
        assert!(figure.width() > 600 && ink > 2000, "{name}: {ink}");
    }
    let results = read_json(&project.join("exp/fake_predictions.json"));
    let first = &results.as_array().unwrap()[0];
    assert_eq!((first["image_id"].as_str(), first["category_id"].as_u64()), (Some("a"), Some(0)));
    assert_eq!(numbers(&first["bbox"]), [8.0, 16.0, 16.0, 32.0]);
    let labels = fs::read_to_string(project.join("exp/labels/a.txt")).unwrap();
    assert!(labels.starts_with("0 0.25 0.5 0.25 0.5 0.9\n"), "{labels}");
    let figures = read_json(&export);
    assert_eq!((figures["images"].as_u64(), figures["classes"][0]["map50_95"].as_f64()), (Some(3), Some(1.0)));

    assert!(run(&args).out.contains(&format!("Results saved to {}\n", project.join("exp2").display())));
    let again = run(&[&args[..], &["--exist-ok", "--batch-size", "2"]].concat());
    assert!(again.out.contains(&format!("Results saved to {}\n", project.join("exp").display())));
    let of_folder = run(&["eval", "--data", text(&root), "--nosave"]);
    assert_eq!((of_folder.code, of_folder.out.lines().nth(1)), (0, Some(lines[1])));
}

#[test]
fn hard_fail_is_exit_code_one() {
    let root = yolo_set("hard-fail");
    let eval = |least: &str| run(&["eval", "--data", text(&root), "--nosave", "--hard-fail", least]);
    assert_eq!(eval("0.5").code, 0);
    let failed = eval("1");
    let (before, rest) = failed.err.split_once(", below --hard-fail 1\n").unwrap();
    assert!(failed.code == 1 && rest.is_empty() && before.starts_with("error: mAP50-95 is 0."), "{}", failed.err);
    assert!(failed.out.contains("mAP50-95"), "the table is printed first");
}

#[test]
fn a_coco_file_finds_its_pictures_and_names_what_is_missing() {
    let root = folder("coco");
    fs::create_dir(root.join("val")).unwrap();
    save_picture(&root.join("val/a.png"), [8, 16, 24, 48]);
    let file = json!({
        "images": [{ "id": 3, "file_name": "a.png" }, { "id": 5, "file_name": "gone.png" }],
        "categories": [{ "id": 17, "name": "person" }],
        "annotations": [{ "id": 1, "image_id": 3, "category_id": 17, "bbox": [8, 16, 16, 32], "area": 512, "iscrowd": 0 }],
    });
    let json = root.join("instances_val.json");
    fs::write(&json, file.to_string()).unwrap();
    let project = root.join("runs");
    let ended = run(&["eval", "--data", text(&json), "--save-json", "--project", text(&project)]);
    assert_eq!(ended.code, 1, "a picture is missing");
    assert!(ended.err.contains("gone.png") && ended.err.contains("left out"), "{}", ended.err);
    let fields: Vec<&str> = ended.out.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((fields[1], fields[2], fields[6]), ("1", "1", "1"));
    let results = read_json(&project.join("exp/fake_predictions.json"));
    assert!(results.as_array().unwrap().iter().all(|r| r["category_id"] == 17 && r["image_id"] == 3));
    fs::remove_file(root.join("val/a.png")).unwrap();
    let none = run(&["eval", "--data", text(&json), "--nosave"]);
    assert!(none.code == 1 && none.err.contains("pass it with --images"), "{}", none.err);
}

#[test]
fn what_is_no_data_set_is_named() {
    let root = folder("faults");
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    fs::create_dir(root.join("empty")).unwrap();
    for (data, message) in [
        (root.join("missing.yaml"), "No such file"),
        (root.join("missing"), "no such file or folder"),
        (root.join("empty"), "no data set there; expected a data.yaml, a COCO .json"),
        (write("a.txt", ""), "expected a data.yaml, a COCO .json"),
        (write("b.json", "{"), "not JSON"),
        (write("c.yaml", "names: [person]\n"), "no `val`"),
        (write("d.yaml", "val: images\n"), "no `names`"),
        (write("e.yaml", "val: nowhere\nnames: [person]\n"), "`val: nowhere` is not there; looked for"),
        (write("f.yaml", "val: [\n"), "not YAML"),
        (write("g.yaml", "val: x\nnames: [zebra, person]\n"), "classes that the model does not: \"zebra\""),
    ] {
        let ended = run(&["eval", "--data", text(&data), "--nosave"]);
        assert_eq!((ended.code, ended.out.as_str(), ended.err.lines().count()), (1, "", 1), "{}", ended.err);
        assert!(ended.err.contains(message) && ended.err.contains(text(&data)), "{}", ended.err);
    }
}
