//! Boxes and labels on pictures.
