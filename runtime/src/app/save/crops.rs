//! Objects cut out of their picture.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::NotSaved;
use super::encode::encode_part;
use super::labels::whole_pixels;
use crate::app::files;
use crate::detect::ImageRef;

/// How much wider and higher a crop is than its box.
const GAIN: f32 = 1.02;

/// Pixels that are added to width and height.
const MARGIN: f32 = 10.0;

/// The crops of a run: `crops/<class>/<stem>.jpg`, then `<stem>2.jpg`, `<stem>3.jpg`, ...
#[derive(Debug)]
pub(super) struct Crops {
    directory: PathBuf,
    /// Those that this run has written.
    taken: HashSet<PathBuf>,
}

impl Crops {
    /// Crops below `run`.
    pub(super) fn new(run: &Path) -> Self {
        Self { directory: run.join("crops"), taken: HashSet::new() }
    }

    /// Saves the object at `xyxy` with a little of what is around it.
    pub(super) fn save(
        &mut self,
        label: &str,
        stem: &OsStr,
        picture: ImageRef<'_>,
        xyxy: [f32; 4],
    ) -> Result<(), NotSaved> {
        let part = with_room(xyxy, [picture.width(), picture.height()]);
        let bytes = encode_part(picture, part, "jpg".as_ref())?;
        let folder = self.directory.join(directory_name(label));
        files::create_directory(&folder)?;
        let mut numbered = (1u64..).map(|number| {
            let mut name = stem.to_owned();
            name.push(if number > 1 { format!("{number}.jpg") } else { ".jpg".to_owned() });
            folder.join(name)
        });
        let free = numbered.find(|path| self.taken.insert(path.clone()));
        Ok(files::replace(&free.expect("numbers never end"), &bytes)?)
    }
}

/// A box with some room around it, inside a picture of `size`: left, top, right, bottom.
fn with_room(xyxy: [f32; 4], size: [usize; 2]) -> [usize; 4] {
    let corners = whole_pixels(xyxy);
    let [(left, right), (top, bottom)] = [0, 1].map(|axis| {
        let (low, high) = (corners[axis], corners[axis + 2]);
        let (centre, half) = ((low + high) / 2.0, ((high - low) * GAIN + MARGIN) / 2.0);
        // Conversions to `usize` cut off decimals, and turn what is below zero into zero.
        let low = ((centre - half) as usize).min(size[axis] - 1);
        (low, ((centre + half) as usize).clamp(low + 1, size[axis]))
    });
    [left, top, right, bottom]
}

/// A class name as the name of a directory.
fn directory_name(label: &str) -> String {
    let name = label.replace(['/', '\\', '\0'], "_");
    if matches!(name.as_str(), "" | "." | "..") { "_".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_have_room_and_stay_inside() {
        assert_eq!(with_room([100.0, 100.0, 200.0, 300.0], [640, 640]), [94, 93, 206, 307]);
        assert_eq!(with_room([0.0, 0.0, 50.4, 640.0], [640, 640]), [0, 0, 55, 640]);
        assert_eq!(with_room([1.0, 1.0, 1.0, 1.0], [1, 1]), [0, 0, 1, 1]);
        assert_eq!(with_room([640.0, 0.0, 640.0, 0.0], [640, 480]), [635, 0, 640, 5]);
    }

    #[test]
    fn class_names_stay_below_their_directory() {
        for (label, name) in [("traffic light", "traffic light"), ("a/../b", "a_.._b"), ("..", "_"), ("", "_")] {
            assert_eq!(directory_name(label), name);
        }
    }
}
