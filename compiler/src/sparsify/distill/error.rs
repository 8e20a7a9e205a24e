//! Why a student cannot be trained.

use crate::sparsify::network;

/// What is wrong with what [`run`](super::run) was given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing to look at.
    #[error(
        "there is no photograph to train on; pass a folder of at least a few dozen photographs like those the detector will see"
    )]
    NoPictures,
    /// A picture whose bytes do not fit its extents.
    #[error("picture {index} of {width}x{height} has {bytes} bytes, not three per pixel")]
    Torn {
        /// Its place among the pictures.
        index: usize,
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Bytes.
        bytes: usize,
    },
    /// Teacher and student are not the same network.
    #[error("teacher and student differ ({node}); both must come from the same model")]
    Different {
        /// Where.
        node: String,
    },
    /// The size does not fit.
    #[error("cannot train at this size")]
    Network {
        /// Why.
        #[from]
        source: network::Error,
    },
}
