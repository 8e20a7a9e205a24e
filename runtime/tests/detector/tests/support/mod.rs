//! Running the program in folders of its own.
#![allow(dead_code)]

pub mod browser;
pub mod service;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{Rgb, RgbImage};

pub const RED: [u8; 3] = [255, 0, 0];
pub const GREEN: [u8; 3] = [0, 255, 0];
pub const BLUE: [u8; 3] = [0, 0, 255];
pub const YELLOW: [u8; 3] = [255, 255, 0];

/// A rectangle of one colour: left, top, right, bottom.
pub type Patch = ([u8; 3], [u32; 4]);

/// What a run of the program said.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// A folder that the program runs in.
pub struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Saves a grey picture with patches on it, in the format that its name tells.
    pub fn picture(&self, name: &str, [width, height]: [u32; 2], patches: &[Patch]) -> PathBuf {
        let mut picture = RgbImage::from_pixel(width, height, Rgb([90; 3]));
        for (color, [left, top, right, bottom]) in patches {
            for (x, y) in (*top..*bottom).flat_map(|y| (*left..*right).map(move |x| (x, y))) {
                picture.put_pixel(x, y, Rgb(*color));
            }
        }
        let path = self.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        picture.save(&path).expect("writable");
        path
    }

    /// A picture of the size of the network input, so that boxes are exact: a person, a bus and a tie.
    pub fn street(&self, name: &str) -> PathBuf {
        self.picture(
            name,
            [128, 128],
            &[(RED, [10, 20, 40, 100]), (GREEN, [50, 30, 110, 90]), (BLUE, [20, 40, 30, 60])],
        )
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peristyle-stand-in"));
        command.current_dir(self.path()).args(args);
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.command(args).output().expect("the program starts").into()
    }

    /// Runs the program, which must succeed and say nothing on the error output.
    pub fn succeed(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{args:?}");
        ended.out
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Every file below a folder, with `/` between names, sorted. Hidden ones too.
    pub fn files(&self, below: &str) -> Vec<String> {
        let root = self.join(below);
        let (mut files, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.expect("readable").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path.strip_prefix(&root).expect("below").to_str().expect("UTF-8").to_owned());
                }
            }
        }
        files.sort();
        files
    }
}
