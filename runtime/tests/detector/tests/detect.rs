//! `detect`: the files, lines and options of YOLOv5's `detect.py`.

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{BLUE, Folder, GREEN, RED, YELLOW};

/// The lines of a file of labels or of a table.
fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn every_run_has_a_directory_of_its_own() {
    let folder = Folder::new();
    folder.street("in/street.png");
    for run in ["exp", "exp2", "exp3"] {
        let out = folder.succeed(&["detect", "--source", "in"]);
        assert!(out.ends_with(&format!("\nResults saved to runs/detect/{run}\n")), "{out}");
    }
    assert_eq!(folder.files("runs/detect"), ["exp/street.png", "exp2/street.png", "exp3/street.png"]);
    for (args, saved) in [
        (&["--exist-ok"][..], "runs/detect/exp"),
        (&["--name", "night"], "runs/detect/night"),
        (&["--project", "mine"], "mine/exp"),
        (&["--project", "mine", "--name", "a/b"], "mine/a/b"),
        (&["--project", "mine", "--name", "a/b"], "mine/a/b2"),
        (&["--project", "mine", "--name", "a/b", "--exist_ok"], "mine/a/b"),
        (&["--output", "here"], "here"),
        (&["-o", "here"], "here"),
    ] {
        let out = folder.succeed(&[&["detect", "--source", "in"], args].concat());
        assert!(out.ends_with(&format!("Results saved to {saved}\n")), "{args:?}: {out}");
        assert_eq!(folder.files(saved), ["street.png"], "{args:?}");
    }
    let ended = folder.run(&["detect", "--source", "in", "--output", "x", "--name", "y"]);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
}

#[test]
fn copies_keep_name_and_format_and_show_the_objects() {
    let folder = Folder::new();
    for name in ["a.png", "b.JPG", "c.bmp", "d.webp", "e.tiff"] {
        let whole = folder.street("whole.png");
        let encoded = folder.join(&format!("in/{name}"));
        fs::create_dir_all(folder.join("in")).unwrap();
        // The contents of a file, not its name, tell its format.
        fs::copy(whole, encoded).unwrap();
    }
    folder.succeed(&["detect", "--source", "in"]);
    assert_eq!(folder.files("runs/detect/exp"), ["a.png", "b.JPG", "c.bmp", "d.webp", "e.tiff"]);
    let starts = [&b"\x89PNG"[..], b"\xff\xd8\xff", b"BM", b"RIFF", b"II*\0"];
    for (name, start) in folder.files("runs/detect/exp").iter().zip(starts) {
        let copy = fs::read(folder.join("runs/detect/exp").join(name)).unwrap();
        assert!(copy.starts_with(start), "{name}");
    }
    let copy = image::open(folder.join("runs/detect/exp/a.png")).unwrap().into_rgb8();
    let frame = copy.get_pixel(10, 60).0;
    assert!(frame != RED && frame != [90; 3], "{frame:?} is the left line of the person");
    assert_eq!(copy.get_pixel(34, 70).0, RED, "the inside stays");
}

#[test]
fn pictures_of_one_name_do_not_replace_each_other() {
    let folder = Folder::new();
    for name in ["a/x.png", "b/x.png", "b/x.jpg"] {
        folder.street(name);
    }
    folder.succeed(&["detect", "--source", "a", "b", "--save-txt"]);
    assert_eq!(
        folder.files("runs/detect/exp"),
        ["labels/x-2.txt", "labels/x-3.txt", "labels/x.txt", "x-2.jpg", "x-3.png", "x.png"]
    );
}

#[test]
fn console_lines_are_those_of_yolov5() {
    let folder = Folder::new();
    folder.street("in/b.png");
    folder.picture("in/a.png", [128, 128], &[]);
    let out = folder.succeed(&["detect", "--source", "in", "--save-txt", "--iou-thres", "1"]);
    let here = folder.path().canonicalize().unwrap();
    let printed = lines(&out);
    assert_eq!(printed.len(), 5, "{out}");
    let time = |line: &str, start: String| {
        let time = line.strip_prefix(&start).and_then(|rest| rest.strip_suffix("ms"));
        let time = time.unwrap_or_else(|| panic!("{line} does not start with {start}"));
        assert!(time.parse::<f64>().is_ok() && time.split_once('.').unwrap().1.len() == 1, "{line}");
    };
    time(printed[0], format!("image 1/2 {}/in/a.png: 128x128 (no detections), ", here.display()));
    time(printed[1], format!("image 2/2 {}/in/b.png: 128x128 2 persons, 1 bus, 1 tie, ", here.display()));
    let speed = printed[2].strip_prefix("Speed: ").unwrap();
    assert!(speed.contains("ms pre-process, ") && speed.contains("ms inference, "), "{speed}");
    assert!(speed.ends_with("ms NMS per image at shape (1, 3, 128, 128)"), "{speed}");
    assert_eq!(printed[3..], ["Results saved to runs/detect/exp", "1 labels saved to runs/detect/exp/labels"]);
}

#[test]
fn label_files_are_those_of_yolov5() {
    let folder = Folder::new();
    folder.street("s.png");
    // 10 20 40 100 of a person: worst score first.
    let label = |extra: &[&str]| {
        let args = [&["detect", "--source", "s.png", "--save-txt", "--nosave", "--exist-ok"], extra].concat();
        let out = folder.succeed(&args);
        assert!(out.ends_with("1 labels saved to runs/detect/exp/labels\n"), "{out}");
        assert_eq!(folder.files("runs/detect/exp"), ["labels/s.txt"]);
        folder.read("runs/detect/exp/labels/s.txt")
    };
    let tie = "27 0.195312 0.390625 0.078125 0.15625";
    let bus = "5 0.625 0.46875 0.46875 0.46875";
    let person = "0 0.195312 0.46875 0.234375 0.625";
    assert_eq!(lines(&label(&[])), [tie, bus, person]);
    let scored = [format!("{tie} 0.7"), format!("{bus} 0.8"), format!("{person} 0.9")];
    assert_eq!(lines(&label(&["--save-conf"])), scored);
    assert_eq!(
        lines(&label(&["--save_format", "1"])),
        [
            "27 0.15625 0.3125 0.234375 0.46875",
            "5 0.390625 0.234375 0.859375 0.703125",
            "0 0.078125 0.15625 0.3125 0.78125"
        ]
    );
    // A picture that lost its objects loses the file of an earlier run.
    folder.picture("s.png", [128, 128], &[]);
    folder.succeed(&["detect", "--source", "s.png", "--save-txt", "--nosave", "--exist-ok"]);
    assert_eq!(folder.files("runs/detect/exp"), Vec::<String>::new());
    let ended = folder.run(&["detect", "--source", "s.png", "--save-txt", "--save-format", "2"]);
    assert_eq!(ended.code, Some(2));
    let ended = folder.run(&["detect", "--source", "s.png", "--save-conf", "--nosave"]);
    assert!(ended.code == Some(0) && ended.err.starts_with("note: --save-conf is ignored: "), "{}", ended.err);
}

#[test]
fn the_table_is_that_of_yolov5() {
    let folder = Folder::new();
    folder.street("in/a, \"b\".png");
    folder.picture("in/c.png", [128, 128], &[]);
    folder.picture("in/d.png", [128, 128], &[(YELLOW, [20, 20, 60, 60])]);
    folder.succeed(&["detect", "--source", "in", "--save-csv", "--nosave"]);
    assert_eq!(folder.files("runs/detect/exp"), ["predictions.csv"]);
    let name = "\"a, \"\"b\"\".png\"";
    let expected = format!(
        "Image Name,Prediction,Confidence\r\n{name},tie,0.70\r\n{name},bus,0.80\r\n{name},person,0.90\r\n\
         d.png,truck,0.50\r\nd.png,car,0.85\r\n"
    );
    assert_eq!(folder.read("runs/detect/exp/predictions.csv"), expected);
}

#[test]
fn crops_stand_in_the_folder_of_their_class() {
    let folder = Folder::new();
    folder.street("in/s.png");
    folder.picture("in/s2.png", [128, 128], &[(RED, [30, 30, 50, 90])]);
    folder.succeed(&["detect", "--source", "in", "--save-crop", "--nosave", "--iou-thres", "1"]);
    assert_eq!(
        folder.files("runs/detect/exp"),
        [
            "crops/bus/s.jpg",
            "crops/person/s.jpg",
            "crops/person/s2.jpg",
            "crops/person/s22.jpg",
            "crops/person/s23.jpg",
            "crops/tie/s.jpg"
        ]
    );
    let crop = image::open(folder.join("runs/detect/exp/crops/bus/s.jpg")).unwrap().into_rgb8();
    // The bus is 60 by 60 around 80, 60; with a fiftieth and ten pixels more it goes from 44.4 to 115.6.
    assert_eq!(crop.dimensions(), (71, 71));
    let [r, g, b] = crop.get_pixel(30, 30).0;
    assert!(r < 20 && g > 235 && b < 20, "nothing is drawn on crops: {r} {g} {b}");
}

#[test]
fn results_for_coco_have_its_numbers() {
    let folder = Folder::new();
    folder.street("in/000000000139.png");
    folder.picture("in/bus.png", [256, 192], &[(GREEN, [100, 50, 201, 100])]);
    folder.succeed(&["detect", "--source", "in", "--save-json", "--nosave"]);
    assert_eq!(folder.files("runs/detect/exp"), ["predictions.json"]);
    let results: Value = serde_json::from_str(&folder.read("runs/detect/exp/predictions.json")).unwrap();
    assert_eq!(results.as_array().unwrap().len(), 4);
    let expected = json!([
        {"image_id": 139, "category_id": 1, "bbox": [10.0, 20.0, 30.0, 80.0], "score": 0.9},
        {"image_id": 139, "category_id": 6, "bbox": [50.0, 30.0, 60.0, 60.0], "score": 0.8},
        {"image_id": 139, "category_id": 32, "bbox": [20.0, 40.0, 10.0, 20.0], "score": 0.7},
    ]);
    assert_eq!(results.as_array().unwrap()[..3], expected.as_array().unwrap()[..]);
    assert_eq!((&results[3]["image_id"], &results[3]["category_id"]), (&json!("bus"), &json!(6)));

    let other = ["detect", "--source", "in", "--save-json", "--nosave", "--class-names"];
    let names = (0..80).map(|id| format!("thing {id}")).collect::<Vec<_>>();
    fs::write(folder.join("names.txt"), names.join("\n")).unwrap();
    folder.succeed(&[&other[..], &["names.txt"]].concat());
    let results: Value = serde_json::from_str(&folder.read("runs/detect/exp2/predictions.json")).unwrap();
    assert_eq!((&results[1]["category_id"], &results[2]["category_id"]), (&json!(5), &json!(27)));

    folder.picture("none.png", [128, 128], &[]);
    folder.succeed(&["detect", "--source", "none.png", "--save-json", "--nosave"]);
    assert_eq!(serde_json::from_str::<Value>(&folder.read("runs/detect/exp3/predictions.json")).unwrap(), json!([]));
}

#[test]
fn json_lines_leave_no_files_unless_they_are_wanted() {
    let folder = Folder::new();
    folder.street("s.png");
    let json = ["detect", "--source", "s.png", "--json"];
    let line: Value = serde_json::from_str(&folder.succeed(&json)).unwrap();
    assert_eq!((&line["image"], &line["labels"]), (&json!("s.png"), &json!(["person", "bus", "tie"])));
    assert_eq!(line["boxes"][0], json!([10.0, 20.0, 40.0, 100.0]));
    assert!(!folder.join("runs").exists());
    for (extra, files) in [
        (&["--save-txt"][..], &["runs/detect/exp/labels/s.txt"][..]),
        (&["--name", "n"], &["runs/detect/n/s.png"]),
        (&["--project", "p"], &["p/exp/s.png"]),
        (&["--output", "o"], &["o/s.png"]),
        (&["--output", "o2", "--nosave"], &[]),
    ] {
        let before = folder.files("");
        assert_eq!(folder.succeed(&[&json, extra].concat()).lines().count(), 1);
        let new: Vec<_> = folder.files("").into_iter().filter(|file| !before.contains(file)).collect();
        assert_eq!(new, files, "{extra:?}");
    }
}

#[test]
fn thresholds_and_classes_choose_what_is_found() {
    let folder = Folder::new();
    folder.picture("s.png", [128, 128], &[(RED, [10, 10, 50, 60]), (YELLOW, [60, 60, 120, 120])]);
    for (extra, labels) in [
        (&[][..], json!(["person", "car", "truck"])),
        (&["--conf-thres", "0.7"], json!(["person", "car"])),
        (&["--conf_thres=0.86"], json!(["person"])),
        (&["--iou-thres", "0.9"], json!(["person", "car", "person", "truck"])),
        (&["--max-det", "1"], json!(["person"])),
        (&["--classes", "2", "7"], json!(["car", "truck"])),
        (&["--classes", "truck"], json!(["truck"])),
        (&["--agnostic-nms"], json!(["person", "car"])),
        (&["--multi-label"], json!(["person", "car", "truck", "tie"])),
        (&["--compat", "deepsparse", "--conf-thres", "0.55"], json!(["person", "car"])),
        (&["--class-names", "coco", "--threads", "1"], json!(["person", "car", "truck"])),
    ] {
        let out = folder.succeed(&[&["detect", "--source", "s.png", "--json"], extra].concat());
        assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["labels"], labels, "{extra:?}");
    }
    let nameless = |extra: &[&str]| {
        let mut command = folder.command(&[&["detect", "--source", "s.png", "--json"], extra].concat());
        let output = command.env("STAND_IN_NAMELESS", "1").output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["labels"].clone()
    };
    assert_eq!(nameless(&[]), json!(["0", "2", "7"]));
    assert_eq!(nameless(&["--class-names", "coco"]), json!(["person", "car", "truck"]));
    for bad in [&["--class-names", "a,b"][..], &["--class-names", "missing.txt"], &["--classes", "zebu"]] {
        let ended = folder.run(&[&["detect", "--source", "s.png"], bad].concat());
        assert_eq!((ended.code, ended.err.lines().count()), (Some(2), 1), "{bad:?}: {}", ended.err);
    }
}

#[test]
fn stretching_fits_each_side_on_its_own() {
    let folder = Folder::new();
    // Halved by the letterbox, a line of one pixel drowns in the grey around it.
    folder.picture("tall.png", [64, 256], &[(RED, [20, 64, 21, 192])]);
    let found = |extra: &[&str]| {
        let out = folder.succeed(&[&["detect", "--source", "tall.png", "--json"], extra].concat());
        serde_json::from_str::<Value>(&out).unwrap()["boxes"].clone()
    };
    assert_eq!(found(&[]), json!([]));
    assert_eq!(found(&["--resize", "letterbox"]), json!([]));
    assert_eq!(found(&["--resize", "stretch"]), json!([[20.0, 64.0, 21.0, 192.0]]));
}

#[test]
fn options_without_a_meaning_here_say_so() {
    let folder = Folder::new();
    folder.street("s.png");
    let run = |extra: &[&str]| folder.run(&[&["detect", "--source", "s.png", "--nosave"], extra].concat());
    for (extra, option) in [
        (&["--weights", "yolov5s.pt", "b.pt"][..], "--weights"),
        (&["--data", "coco.yaml"], "--data"),
        (&["--device", "0"], "--device"),
        (&["--half"], "--half"),
        (&["--dnn"], "--dnn"),
        (&["--update"], "--update"),
        (&["--view-img"], "--view-img"),
        (&["--vid-stride", "2"], "--vid-stride"),
    ] {
        let ended = run(extra);
        assert_eq!((ended.code, ended.err.lines().count()), (Some(0), 1), "{extra:?}: {}", ended.err);
        assert!(ended.err.starts_with(&format!("note: {option} is ignored: ")), "{}", ended.err);
    }
    for silent in [
        &["--device", "cpu"][..],
        &["--vid_stride", "1"],
        &["--imgsz", "128"],
        &["--img", "128", "128"],
        &["--img-size", "128"],
    ] {
        let ended = run(silent);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{silent:?}");
    }
    for (extra, message) in [
        (&["--augment"][..], "--augment: "),
        (&["--imgsz", "640"], "compiled for 128x128; compile another with `peristyle build MODEL --imgsz 640 640`"),
        (&["--imgsz", "128", "96"], "--imgsz 128 96"),
    ] {
        let ended = run(extra);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{extra:?}");
        assert!(ended.err.starts_with("error: ") && ended.err.contains(message), "{}", ended.err);
    }
}

#[test]
fn lines_and_labels_are_drawn_as_asked() {
    let folder = Folder::new();
    folder.picture("s.png", [128, 128], &[(BLUE, [30, 40, 100, 110])]);
    let drawn = |extra: &[&str]| {
        folder.succeed(&[&["detect", "--source", "s.png", "-o", "out"], extra].concat());
        image::open(folder.join("out/s.png")).unwrap().into_rgb8()
    };
    let source = image::open(folder.join("s.png")).unwrap().into_rgb8();
    let changed = |copy: &image::RgbImage, x: u32, y: u32| copy.get_pixel(x, y) != source.get_pixel(x, y);
    // Below the label, the columns around the left edge, x = 30.
    let width = |copy: &image::RgbImage| (20..50).filter(|x| changed(copy, *x, 80)).count();
    assert_eq!(width(&drawn(&[])), 1);
    assert_eq!(width(&drawn(&["--line-thickness", "5"])), 5);
    // Above the box stands the label: its width shrinks without the score and it goes away.
    let label = |copy: &image::RgbImage| (0..128).filter(|x| changed(copy, *x, 34)).count();
    let (both, name) = (label(&drawn(&[])), label(&drawn(&["--hide-conf"])));
    assert!(both > name && name > 10, "{both} {name}");
    assert_eq!(label(&drawn(&["--hide-labels"])), 0);
    let ended = folder.run(&["detect", "--source", "s.png", "--line-thickness", "0"]);
    assert_eq!(ended.code, Some(2));
}
