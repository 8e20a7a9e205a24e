//! What the sources that a user names stand for.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::expand_glob;

/// Extensions of the images that are taken from directories and patterns.
const IMAGE_EXTENSIONS: &[&str] = &["bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp"];

/// Extensions of the videos that are taken from directories and patterns.
const VIDEO_EXTENSIONS: &[&str] = &[
    "3gp", "asf", "avi", "flv", "h264", "m2ts", "m4v", "mjpeg", "mjpg", "mkv", "mov", "mp4", "mpeg", "mpg", "mts",
    "ts", "webm", "wmv",
];

/// The pictures, videos and streams that sources stand for.
#[derive(Debug, Default)]
pub struct Sources {
    /// Image files, in the order of the sources; those of a directory or pattern sorted.
    pub images: Vec<PathBuf>,
    /// Videos, in the same order.
    pub videos: Vec<VideoSource>,
    /// Webcams and streams.
    pub live: Vec<LiveSource>,
    /// Files in directories and patterns that are neither images nor videos.
    pub skipped: Vec<PathBuf>,
    /// Sources that stand for nothing, and why.
    pub problems: Vec<String>,
}

/// Frames with an end; every one of them counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoSource {
    /// A file.
    File(PathBuf),
    /// Whatever is written into a named pipe.
    Pipe(PathBuf),
    /// Whatever is written into the program's input.
    Stdin,
    /// A file on a server.
    Address(String),
}

/// Frames without an end; only the newest counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveSource {
    /// The device file of a webcam.
    Webcam(PathBuf),
    /// The address of a stream.
    Address(String),
}

impl VideoSource {
    /// What it is called in results: a path, an address, or `stdin`.
    pub fn name(&self) -> PathBuf {
        match self {
            Self::File(path) | Self::Pipe(path) => path.clone(),
            Self::Stdin => "stdin".into(),
            Self::Address(address) => address.into(),
        }
    }
}

impl LiveSource {
    /// What it is called in results: a device file or an address.
    pub fn name(&self) -> PathBuf {
        match self {
            Self::Webcam(path) => path.clone(),
            Self::Address(address) => address.into(),
        }
    }
}

impl Sources {
    /// Expands files, directories (not those inside them), patterns with `*`, `.txt` lists of images and videos and
    /// `.streams` lists of streams with one on each line, `-` for the program's input, addresses, and the numbers of
    /// webcams.
    ///
    /// In lists, empty lines and those that begin with `#` are passed over, and paths are relative to the list's
    /// folder, or else to the current one.
    pub fn expand<'a>(sources: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut expanded = Self::default();
        for source in sources {
            expanded.add(source);
        }
        expanded
    }

    /// Nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty() && self.videos.is_empty() && self.live.is_empty()
    }

    /// Files among the sources.
    pub fn files(&self) -> Vec<PathBuf> {
        let videos = self.videos.iter().filter_map(|video| match video {
            VideoSource::File(path) => Some(path),
            _ => None,
        });
        self.images.iter().chain(videos).cloned().collect()
    }

    fn add(&mut self, source: &Path) {
        let text = source.to_string_lossy();
        if text == "-" {
            if !self.videos.contains(&VideoSource::Stdin) {
                self.videos.push(VideoSource::Stdin);
            }
        } else if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            self.live.push(LiveSource::Webcam(PathBuf::from(format!("/dev/video{text}"))));
        } else if let Some((scheme, rest)) = text.split_once("://") {
            self.add_address(&text, scheme, rest);
        } else if text.strip_prefix("/dev/video").is_some_and(|n| n.bytes().all(|byte| byte.is_ascii_digit())) {
            self.live.push(LiveSource::Webcam(source.to_owned()));
        } else if source.is_dir() {
            self.add_directory(source);
        } else if !source.exists() && text.contains('*') {
            self.add_glob(source);
        } else if extension(source) == "txt" && source.is_file() {
            self.add_list(source);
        } else if extension(source) == "streams" && source.is_file() {
            self.add_streams(source);
        } else {
            self.add_file(source);
        }
    }

    fn add_address(&mut self, address: &str, scheme: &str, rest: &str) {
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let extension = extension(Path::new(path));
        let has_end = [IMAGE_EXTENSIONS, VIDEO_EXTENSIONS].concat().contains(&extension.as_str());
        match scheme.to_ascii_lowercase().as_str() {
            "file" => self.add_file(Path::new(rest)),
            // Addresses of cameras end in `.mjpg` too.
            "http" | "https" | "ftp" if has_end && !["mjpg", "mjpeg"].contains(&extension.as_str()) => {
                self.videos.push(VideoSource::Address(address.to_owned()));
            }
            _ => self.live.push(LiveSource::Address(address.to_owned())),
        }
    }

    /// A file that the user named, whatever it is called. One that cannot be read is reported when it is its turn.
    fn add_file(&mut self, path: &Path) {
        let extension = extension(path);
        if is_pipe(path) {
            self.videos.push(VideoSource::Pipe(path.to_owned()));
        } else if VIDEO_EXTENSIONS.contains(&extension.as_str())
            || (!IMAGE_EXTENSIONS.contains(&extension.as_str()) && begins_like_video(path))
        {
            self.videos.push(VideoSource::File(path.to_owned()));
        } else {
            self.images.push(path.to_owned());
        }
    }

    fn add_directory(&mut self, directory: &Path) {
        let entries = fs::read_dir(directory)
            .and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>());
        match entries {
            Ok(paths) => self.add_files(paths, directory),
            Err(error) => self.problems.push(format!("{}: {error}", directory.display())),
        }
    }

    fn add_glob(&mut self, pattern: &Path) {
        match pattern.to_str() {
            Some(text) => self.add_files(expand_glob(text), pattern),
            None => self.problems.push(format!("{}: a pattern must be UTF-8", pattern.display())),
        }
    }

    fn add_files(&mut self, mut paths: Vec<PathBuf>, source: &Path) {
        paths.sort();
        let before = self.images.len() + self.videos.len();
        for path in paths.into_iter().filter(|path| !path.is_dir()) {
            let extension = extension(&path);
            if IMAGE_EXTENSIONS.contains(&extension.as_str()) {
                self.images.push(path);
            } else if VIDEO_EXTENSIONS.contains(&extension.as_str()) {
                self.videos.push(VideoSource::File(path));
            } else {
                self.skipped.push(path);
            }
        }
        if self.images.len() + self.videos.len() == before {
            self.problems.push(format!("{}: no images or videos there", source.display()));
        }
    }

    fn add_list(&mut self, list: &Path) {
        let before = self.images.len() + self.videos.len() + self.live.len();
        let beside = list.parent().unwrap_or(Path::new(""));
        for line in self.lines(list) {
            if line.contains("://") {
                self.add(Path::new(&line));
                continue;
            }
            let path = beside.join(&line);
            self.add_file(if path.exists() || !Path::new(&line).exists() { &path } else { Path::new(&line) });
        }
        self.expect_more_than(before, list);
    }

    fn add_streams(&mut self, list: &Path) {
        let before = self.images.len() + self.videos.len() + self.live.len();
        for line in self.lines(list) {
            self.add(Path::new(&line));
        }
        self.expect_more_than(before, list);
    }

    fn expect_more_than(&mut self, before: usize, list: &Path) {
        let after = self.images.len() + self.videos.len() + self.live.len();
        let reported = self.problems.iter().any(|problem| problem.starts_with(&*list.to_string_lossy()));
        if after == before && !reported {
            self.problems.push(format!("{}: the list is empty", list.display()));
        }
    }

    fn lines(&mut self, list: &Path) -> Vec<String> {
        match fs::read_to_string(list) {
            Ok(text) => {
                let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
                lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
            }
            Err(error) => {
                self.problems.push(format!("{}: {error}", list.display()));
                Vec::new()
            }
        }
    }

    /// One line about the files that are neither images nor videos; `None` when there are none.
    pub fn skipped_line(&self) -> Option<String> {
        const NAMED: usize = 5;
        let names: Vec<_> = self.skipped.iter().take(NAMED).map(|path| path.display().to_string()).collect();
        let more = if self.skipped.len() > NAMED { ", ..." } else { "" };
        let what = match self.skipped.len() {
            0 => return None,
            1 => "1 file that is no image or video".to_owned(),
            count => format!("{count} files that are not images or videos"),
        };
        Some(format!("skipped {what}: {}{more}", names.join(", ")))
    }
}

/// Extension in lower case; empty when there is none.
fn extension(path: &Path) -> String {
    path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase()
}

#[cfg(unix)]
fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::metadata(path).is_ok_and(|about| about.file_type().is_fifo())
}

#[cfg(not(unix))]
fn is_pipe(_: &Path) -> bool {
    false
}

/// Whether a file without a telling name begins as MP4, Matroska or AVI do.
fn begins_like_video(path: &Path) -> bool {
    let mut start = [0; 12];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    let is_avi = start.starts_with(b"RIFF") && start.ends_with(b"AVI ");
    read.is_ok() && (&start[4..8] == b"ftyp" || start.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]) || is_avi)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_source_is() {
        let expanded = Sources::expand(
            [
                "0",
                "/dev/video12",
                "-",
                "-",
                "rtsp://camera/1",
                "http://host/a.mp4?key=1",
                "https://host/video.mjpg",
                "http://host:8080/stream",
                "x.MKV",
                "x.jpg",
                "x.unknown",
            ]
            .map(Path::new),
        );
        let camera = |path: &str| LiveSource::Webcam(path.into());
        let stream = |address: &str| LiveSource::Address(address.into());
        assert_eq!(
            expanded.live,
            [
                camera("/dev/video0"),
                camera("/dev/video12"),
                stream("rtsp://camera/1"),
                stream("https://host/video.mjpg"),
                stream("http://host:8080/stream"),
            ]
        );
        let videos = [
            VideoSource::Stdin,
            VideoSource::Address("http://host/a.mp4?key=1".into()),
            VideoSource::File("x.MKV".into()),
        ];
        assert_eq!(expanded.videos, videos);
        assert_eq!(expanded.images, ["x.jpg", "x.unknown"].map(PathBuf::from));
        assert!(expanded.problems.is_empty());
    }
}
