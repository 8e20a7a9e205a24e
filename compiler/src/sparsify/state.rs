//! What was done so far, in a file beside the output, so that stopping loses nothing.
//!
//! The file is a list of records, each with its length before it, to which every finished piece of work is appended. A
//! record that was cut short ends the list. The first one holds a key of everything that the results depend on; a file
//! with another key is started afresh.

use super::Error;
use super::dense::Layer;
use super::walk::Parameters;
use prost::Message;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A finished piece of work.
#[derive(Clone, PartialEq, Message)]
struct Record {
    /// Only in the first record.
    #[prost(bytes = "vec", optional, tag = "1")]
    key: Option<Vec<u8>>,
    /// Sparsity of every layer.
    #[prost(double, repeated, tag = "2")]
    sparsities: Vec<f64>,
    /// The stage that made the parameters of a layer.
    #[prost(string, optional, tag = "3")]
    stage: Option<String>,
    /// The node of the layer.
    #[prost(string, optional, tag = "4")]
    layer: Option<String>,
    #[prost(float, repeated, tag = "5")]
    weight: Vec<f32>,
    #[prost(float, repeated, tag = "6")]
    bias: Vec<f32>,
    /// What zeros in the layer cost.
    #[prost(double, repeated, tag = "7")]
    cost: Vec<f64>,
}

/// The file, and what it held when it was opened.
pub struct State {
    path: PathBuf,
    file: File,
    records: Vec<Record>,
}

impl State {
    /// Where the state of an output is kept.
    pub fn path_for(output: &Path) -> PathBuf {
        let mut name = output.file_name().unwrap_or_default().to_os_string();
        name.push(".resume");
        output.with_file_name(name)
    }

    /// Opens the state of an output, or starts one. Results that depend on another `key` are dropped.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(output: &Path, key: &[u8]) -> Result<Self, Error> {
        let path = Self::path_for(output);
        let fail = |source| Error::Write { path: path.clone(), source };
        let bytes = std::fs::read(&path).unwrap_or_default();
        let mut rest = &bytes[..];
        let mut records = Vec::new();
        let mut whole = 0;
        while let Ok(record) = Record::decode_length_delimited(&mut rest) {
            records.push(record);
            whole = bytes.len() - rest.len();
            if rest.is_empty() {
                break;
            }
        }
        let known = records.first().is_some_and(|first| first.key.as_deref() == Some(key));
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(fail)?;
        file.set_len(if known { whole as u64 } else { 0 }).map_err(fail)?;
        let mut state = Self { path: path.clone(), file, records: if known { records } else { Vec::new() } };
        if !known {
            state.append(Record { key: Some(key.to_vec()), ..Record::default() })?;
        }
        Ok(state)
    }

    /// Whether there was anything to go on with.
    pub fn resumes(&self) -> bool {
        self.records.len() > 1
    }

    fn append(&mut self, record: Record) -> Result<(), Error> {
        let written = self.file.write_all(&record.encode_length_delimited_to_vec()).and_then(|()| self.file.flush());
        written.map_err(|source| Error::Write { path: self.path.clone(), source })?;
        self.records.push(record);
        Ok(())
    }

    /// The sparsities of all layers, when they are known.
    pub fn sparsities(&self, layers: usize) -> Option<Vec<f64>> {
        self.records.iter().find(|r| r.sparsities.len() == layers).map(|r| r.sparsities.clone())
    }

    /// Remembers the sparsities of all layers.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put_sparsities(&mut self, sparsities: &[f64]) -> Result<(), Error> {
        self.append(Record { sparsities: sparsities.to_vec(), ..Record::default() })
    }

    /// What zeros in a layer cost, when that is known.
    pub fn cost(&self, layer: &Layer) -> Option<Vec<f64>> {
        let record = self.records.iter().find(|r| r.layer() == layer.name && !r.cost.is_empty())?;
        Some(record.cost.clone())
    }

    /// Remembers what zeros in a layer cost.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put_cost(&mut self, layer: &Layer, cost: &[f64]) -> Result<(), Error> {
        self.append(Record { layer: Some(layer.name.clone()), cost: cost.to_vec(), ..Record::default() })
    }

    /// What training has made of all layers, and the share of its time that took.
    pub fn learnt(&self, stage: &str, layers: &[Layer]) -> Option<(f64, Vec<Parameters>)> {
        let record = self.records.iter().rev().find(|r| r.stage() == stage && r.layer.is_none())?;
        let (mut weight, mut bias) = (&record.weight[..], &record.bias[..]);
        let mut take = |layer: &Layer| {
            let (w, other_weights) = weight.split_at_checked(layer.weight.len())?;
            let (b, other_biases) = bias.split_at_checked(layer.bias.len())?;
            (weight, bias) = (other_weights, other_biases);
            Some(Parameters { weight: w.to_vec(), bias: b.to_vec() })
        };
        let parameters = layers.iter().map(&mut take).collect::<Option<_>>()?;
        Some((*record.cost.first()?, parameters))
    }

    /// Remembers what training has made of all layers in a share of its time.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put_learnt(&mut self, stage: &str, spent: f64, parameters: &[Parameters]) -> Result<(), Error> {
        self.records.retain(|r| r.stage() != stage);
        self.append(Record {
            stage: Some(stage.to_owned()),
            weight: parameters.iter().flat_map(|p| &p.weight).copied().collect(),
            bias: parameters.iter().flat_map(|p| &p.bias).copied().collect(),
            cost: vec![spent],
            ..Record::default()
        })
    }

    /// What a stage made of a layer, when that is known.
    pub fn layer(&self, stage: &str, layer: &Layer) -> Option<Parameters> {
        let is = |r: &&Record| r.stage() == stage && r.layer() == layer.name && r.weight.len() == layer.weights();
        let record = self.records.iter().rev().find(is)?;
        (record.bias.len() == layer.bias.len())
            .then(|| Parameters { weight: record.weight.clone(), bias: record.bias.clone() })
    }

    /// Remembers what a stage made of a layer.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put_layer(&mut self, stage: &str, layer: &Layer, parameters: &Parameters) -> Result<(), Error> {
        self.append(Record {
            stage: Some(stage.to_owned()),
            layer: Some(layer.name.clone()),
            weight: parameters.weight.clone(),
            bias: parameters.bias.clone(),
            ..Record::default()
        })
    }

    /// Removes the file: the work is done. That it stays is in nobody's way.
    pub fn finish(self) {
        drop(self.file);
        let _ = std::fs::remove_file(&self.path);
    }
}
