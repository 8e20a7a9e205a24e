//! Runs that do not go well: what is said, what is left, and the exit code.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::{Ended, Folder};

#[test]
fn a_bad_file_among_good_ones_is_named_and_the_others_are_done() {
    let folder = Folder::new();
    for name in ["in/a.png", "in/c.png", "in/e.jpg"] {
        folder.street(name);
    }
    let whole = fs::read(folder.join("in/e.jpg")).unwrap();
    fs::write(folder.join("in/b.jpg"), &whole[..whole.len() / 2]).unwrap();
    fs::write(folder.join("in/d.png"), "").unwrap();
    fs::write(folder.join("in/notes.md"), "not a picture, and not called one").unwrap();
    let ended = folder.run(&["detect", "--source", "in", "--save-txt", "--save-csv"]);
    assert_eq!(ended.code, Some(1));
    let errors: Vec<_> = ended.err.lines().collect();
    assert_eq!(errors.len(), 3, "{}", ended.err);
    assert!(errors[0].starts_with("warning: skipped 1 file that is no image or video: in/notes.md"), "{}", errors[0]);
    assert!(errors[1].starts_with("error: in/b.jpg: ") && errors[1].contains("cut short"), "{}", errors[1]);
    assert_eq!(errors[2], "error: in/d.png: the file is empty");
    let saved = folder.files("runs/detect/exp");
    assert_eq!(saved, ["a.png", "c.png", "e.jpg", "labels/a.txt", "labels/c.txt", "labels/e.txt", "predictions.csv"]);
    assert!(ended.out.contains("image 5/5 ") && ended.out.contains("Results saved to runs/detect/exp"));
    let json = folder.run(&["detect", "--source", "in", "--json"]);
    assert_eq!((json.code, json.out.lines().count()), (Some(1), 3));
}

#[test]
fn nothing_to_look_at_is_an_error() {
    let folder = Folder::new();
    fs::create_dir(folder.join("empty")).unwrap();
    for (args, message) in [
        (&["detect", "--source", "empty"][..], "error: empty: no images or videos there"),
        (&["annotate", "--source", "missing.jpg"], "error: missing.jpg: No such file"),
        (&["detect", "--source", "*.jpg"], "error: *.jpg: no images or videos there"),
    ] {
        let ended = folder.run(args);
        assert_eq!(ended.code, Some(1), "{args:?}");
        assert!(ended.err.starts_with(message), "{args:?}: {}", ended.err);
    }
    assert_eq!(folder.run(&["detect"]).code, Some(2));
    assert_eq!(folder.run(&["annotate"]).code, Some(2));
}

/// A run over many pictures, slow enough to be stopped, of which a few are done.
fn slow_run(folder: &Folder, lines: usize) -> (Child, Vec<String>, BufReader<std::process::ChildStdout>) {
    for number in 0..200 {
        let path = folder.join(&format!("in/{number:03}.png"));
        match number {
            0 => drop(folder.street("in/000.png")),
            _ => drop(fs::copy(folder.join("in/000.png"), path).unwrap()),
        }
    }
    let args = ["detect", "--source", "in", "--save-txt", "--save-csv", "--save-json", "--save-crop"];
    let mut command = folder.command(&args);
    command.env("STAND_IN_DELAY_MS", "20").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let printed = (0..lines)
        .map(|_| {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            line
        })
        .collect();
    (child, printed, output)
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill {name} {}", child.id())]).status().unwrap();
    assert!(status.success());
}

#[cfg(unix)]
#[test]
fn what_was_done_is_saved_when_the_user_stops_the_program() {
    for name in ["-INT", "-TERM"] {
        let folder = Folder::new();
        let (mut child, mut printed, output) = slow_run(&folder, 3);
        signal(&child, name);
        printed.extend(output.lines().map(Result::unwrap));
        assert_eq!(child.wait().unwrap().code(), Some(130), "{name}");
        let done = printed.iter().filter(|line| line.starts_with("image ")).count();
        assert!((3..200).contains(&done), "{done}");
        assert!(printed.iter().any(|line| line == "Results saved to runs/detect/exp"), "{printed:?}");
        let saved = folder.files("runs/detect/exp");
        let count =
            |end: &str, below: &str| saved.iter().filter(|file| file.starts_with(below) && file.ends_with(end)).count();
        assert_eq!((count(".png", ""), count(".txt", "labels/"), count(".jpg", "crops/")), (done, done, 3 * done));
        assert_eq!(folder.read("runs/detect/exp/predictions.csv").lines().count(), 1 + 3 * done);
        let results: Value = serde_json::from_str(&folder.read("runs/detect/exp/predictions.json")).unwrap();
        assert_eq!(results.as_array().unwrap().len(), 3 * done);
        assert_eq!(saved.len(), 5 * done + 2, "nothing half-done is left: {saved:?}");
    }
}

#[cfg(unix)]
#[test]
fn files_are_whole_even_when_the_program_is_killed() {
    let folder = Folder::new();
    let (mut child, _, _output) = slow_run(&folder, 4);
    signal(&child, "-KILL");
    assert_eq!(child.wait().unwrap().code(), None);
    let saved = folder.files("runs/detect/exp");
    let seen = saved.iter().filter(|file| !file.split('/').next_back().unwrap().starts_with('.'));
    let pictures: Vec<_> = seen.filter(|file| !file.ends_with(".txt")).collect();
    assert!(pictures.len() >= 3, "{saved:?}");
    for file in pictures {
        image::open(folder.join("runs/detect/exp").join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_with_the_file() {
    let folder = Folder::new();
    folder.street("in/a.png");
    // A picture that does not compress.
    let mut state = 1u32;
    let noise = image::RgbImage::from_fn(300, 300, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        image::Rgb([(state >> 24) as u8, (state >> 16) as u8, (state >> 8) as u8])
    });
    noise.save(folder.join("in/b.png")).unwrap();
    fs::create_dir(folder.join("small")).unwrap();
    let program = env!("CARGO_BIN_EXE_peristyle-stand-in");
    for command in ["detect --output small/run --save-csv", "annotate --save-dir small"] {
        let script = format!(
            "mount -t tmpfs -o size=32k none small || exit 77; {program} {command} --source in; code=$?; \
             find small -type f >&2; exit $code"
        );
        let mut unshare = Command::new("unshare");
        let output = unshare.current_dir(folder.path()).args(["--mount", "sh", "-c", &script]).output();
        let ended: Ended = match output {
            Ok(output) if output.status.code() != Some(77) => output.into(),
            refused => {
                eprintln!("SKIPPED: no small disk can be mounted here: {refused:?}");
                return;
            }
        };
        if ended.err.contains("unshare failed") {
            eprintln!("SKIPPED: no small disk can be mounted here: {}", ended.err);
            return;
        }
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        let (error, left) = ended.err.split_once('\n').unwrap();
        assert!(error.starts_with("error: cannot write small/"), "{error}");
        assert!(error.contains("No space left on device"), "{error}");
        assert_eq!(left.lines().count(), 1, "the first copy is left, nothing half-done: {left}");
        assert!(ended.out.contains("image 1/2 "), "{}", ended.out);
    }
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended: Ended = folder.command(&["detect", "--source", "in", "--json"]).stdout(full).output().unwrap().into();
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.err, "error: cannot write the output: No space left on device (os error 28)\n");
}

#[cfg(unix)]
#[test]
fn folders_that_cannot_be_written_are_named() {
    let folder = Folder::new();
    folder.street("s.png");
    fs::write(folder.join("taken"), "a file").unwrap();
    for args in [
        &["detect", "--source", "s.png", "--output", "taken"][..],
        &["detect", "--source", "s.png", "--project", "taken"],
        &["annotate", "--source", "s.png", "--save-dir", "taken"],
    ] {
        let ended = folder.run(args);
        assert_eq!((ended.code, ended.err.lines().count()), (Some(1), 1), "{args:?}: {}", ended.err);
        assert!(ended.err.starts_with("error: cannot ") && ended.err.contains("taken"), "{}", ended.err);
    }
}

/// In a pipe nobody watches: no bar, no control codes.
#[test]
fn long_runs_are_quiet_in_a_pipe() {
    let folder = Folder::new();
    folder.street("in/a.png");
    for name in ["in/b.png", "in/c.png", "in/d.png"] {
        fs::copy(folder.join("in/a.png"), folder.join(name)).unwrap();
    }
    let mut command = folder.command(&["detect", "--source", "in", "--nosave"]);
    let ended: Ended = command.env("STAND_IN_DELAY_MS", "500").output().unwrap().into();
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(!ended.out.contains('\u{1b}') && !ended.out.contains('\r'), "{}", ended.out);
}

/// With a terminal as its error output, the program shows a bar and removes it.
#[cfg(target_os = "linux")]
#[test]
fn long_runs_show_a_bar_on_a_terminal() {
    let folder = Folder::new();
    folder.street("in/a.png");
    for number in 0..6 {
        fs::copy(folder.join("in/a.png"), folder.join(&format!("in/{number}.png"))).unwrap();
    }
    let program = env!("CARGO_BIN_EXE_peristyle-stand-in");
    let line = format!("{program} detect --source in --json > out.jsonl");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "typescript"]).current_dir(folder.path());
    script.env("STAND_IN_DELAY_MS", "400").env("TERM", "xterm").stdin(Stdio::null());
    let Ok(output) = script.output() else {
        eprintln!("SKIPPED: no `script` to make a terminal with");
        return;
    };
    assert!(output.status.success());
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("/7 ["), "a bar: {shown:?}");
    assert_eq!(folder.read("out.jsonl").lines().count(), 7);
}
