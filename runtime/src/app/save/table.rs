//! `predictions.csv`, as YOLOv5 writes it.

use std::path::Path;

use super::worst_first;
use crate::app::failure::Failure;
use crate::app::files::Unfinished;
use crate::detect::Detections;

/// A row per object: name of the image, class, score.
pub(super) struct Table {
    file: Unfinished,
}

impl Table {
    /// Starts the file of a run.
    pub(super) fn create(run: &Path) -> Result<Self, Failure> {
        let mut table = Self { file: Unfinished::create(&run.join("predictions.csv"))? };
        table.row(["Image Name", "Prediction", "Confidence"])?;
        Ok(table)
    }

    /// Adds the objects of a picture, worst score first.
    pub(super) fn add(
        &mut self,
        image: &str,
        found: &Detections,
        label: impl Fn(usize) -> String,
    ) -> Result<(), Failure> {
        for (_, score, class_id) in worst_first(found) {
            self.row([image, &label(class_id), &format!("{score:.2}")])?;
        }
        Ok(())
    }

    fn row(&mut self, cells: [&str; 3]) -> Result<(), Failure> {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        writer.write_record(cells).expect("writing to memory succeeds");
        self.file.append(&writer.into_inner().expect("writing to memory succeeds"))
    }

    pub(super) fn finish(self) -> Result<(), Failure> {
        self.file.finish()
    }
}
