//! `pipe`: a line of answer for every line of input.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::{Ended, Folder, RED};

/// Runs the program with `input` as its standard input.
fn run(folder: &Folder, args: &[&str], input: &[u8]) -> Ended {
    let mut command = folder.command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let ended = child.wait_with_output().unwrap().into();
    writer.join().unwrap().unwrap();
    ended
}

fn parsed(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn answers_come_in_order_and_errors_are_answers() {
    let folder = Folder::new();
    let street = folder.street("in/street.png");
    folder.picture("in/none.png", [64, 64], &[]);
    fs::write(folder.join("in/bad.jpg"), "not a picture").unwrap();
    let encoded = STANDARD.encode(fs::read(&street).unwrap());
    let input = format!(
        "in/street.png\r\n{{\"image\": \"in/none.png\", \"id\": 7}}\n\nin/bad.jpg\n\"in/missing.png\"\n\
         {{\"id\": {{\"a\": [1]}}, \"image\": \"{encoded}\"}}\n{{\"image\": \"data:image/png;base64,{encoded}\"}}\n\
         {{\"id\": null, \"image\": \"data:image/png;base64,!\"}}\n{{oops\n{{\"id\": \"x\"}}\nin/street.png"
    );
    let ended = run(&folder, &["pipe"], input.as_bytes());
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let answers = parsed(&ended.out);
    assert_eq!(answers.len(), 11, "{}", ended.out);
    let street = json!({
        "image": "in/street.png",
        "boxes": [[10.0, 20.0, 40.0, 100.0], [50.0, 30.0, 110.0, 90.0], [20.0, 40.0, 30.0, 60.0]],
        "scores": [0.9, 0.8, 0.7], "labels": ["person", "bus", "tie"], "class_ids": [0, 5, 27],
    });
    assert_eq!(answers[0], street);
    let none = json!({"id": 7, "image": "in/none.png", "boxes": [], "scores": [], "labels": [], "class_ids": []});
    assert_eq!(answers[1], none);
    let mut nameless = street.clone();
    nameless.as_object_mut().unwrap().remove("image");
    assert_eq!(answers[6], nameless);
    nameless["id"] = json!({"a": [1]});
    assert_eq!(answers[5], nameless);
    assert_eq!(answers[10], street);
    for (at, image, message) in [
        (2, Value::Null, "empty"),
        (3, json!("in/bad.jpg"), "not an image in a known format"),
        (4, json!("in/missing.png"), "No such file"),
        (7, Value::Null, "no base64"),
        (8, Value::Null, "not JSON"),
        (9, Value::Null, "no `image`"),
    ] {
        assert!(answers[at]["error"].as_str().unwrap().contains(message), "{}", answers[at]);
        assert_eq!((&answers[at]["image"], answers[at].get("boxes")), (&image, None), "{}", answers[at]);
    }
    assert_eq!((&answers[7]["id"], &answers[9]["id"]), (&Value::Null, &json!("x")));
    assert!(ended.out.lines().nth(7).unwrap().starts_with("{\"id\": null, \"error\": "), "{}", ended.out);
    let ended = run(&folder, &["pipe", "--strict", "--conf-thres", "0.75"], input.as_bytes());
    assert_eq!(ended.code, Some(1));
    assert_eq!(parsed(&ended.out)[0]["labels"], json!(["person", "bus"]));
}

#[test]
fn nothing_in_is_nothing_out() {
    let folder = Folder::new();
    let ended = run(&folder, &["pipe", "--strict", "--threads", "1"], b"");
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), "", ""));
}

#[test]
fn every_answer_is_written_at_once() {
    let folder = Folder::new();
    folder.street("s.png");
    let mut command = folder.command(&["pipe"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for id in 0..3 {
        writeln!(input, "{{\"id\": {id}, \"image\": \"s.png\"}}").unwrap();
        let mut line = String::new();
        // Waits for ever when answers are held back.
        output.read_line(&mut line).unwrap();
        assert!(line.starts_with(&format!("{{\"id\": {id}, \"image\": \"s.png\", \"boxes\": ")), "{line}");
    }
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_leaves_ends_the_program() {
    let folder = Folder::new();
    folder.street("s.png");
    let mut command = folder.command(&["pipe"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    // Until it has started, a process that another test starts holds the reading end too.
    while writeln!(input, "s.png").is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let ended: Ended = child.wait_with_output().unwrap().into();
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

/// Peak of memory in use, of a process that has ended its work but not its life.
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_lines() {
    let folder = Folder::new();
    folder.picture("s.png", [128, 128], &[(RED, [10, 10, 50, 60])]);
    let mut command = folder.command(&["pipe", "--threads", "1"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut peak = |lines: usize| -> u64 {
        for _ in 0..lines {
            writeln!(input, "s.png").unwrap();
            output.read_line(&mut String::new()).unwrap();
        }
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let (early, late) = (peak(50), peak(2000));
    assert!(late <= early + 256, "{early} kB after 50 lines, {late} kB after 2050");
    drop(input);
    assert!(child.wait().unwrap().success());
}
