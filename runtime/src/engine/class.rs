//! What the class enums of emitted models share.

use alloc::string::String;
use alloc::string::ToString;

/// A number or a name that no class of a model has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownClass {
    /// A number past the last class.
    #[error("there is no class {index}: the model has {classes}, numbered from 0")]
    Index {
        /// The number.
        index: usize,
        /// Classes of the model.
        classes: usize,
    },
    /// A name that no class has; names are compared letter by letter.
    #[error("there is no class `{name}` among the {classes} of the model")]
    Name {
        /// The name.
        name: String,
        /// Classes of the model.
        classes: usize,
    },
}

impl UnknownClass {
    /// The class with a number, from all of them in order.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn by_index<C: Copy>(all: &[C], index: usize) -> Result<C, UnknownClass> {
        all.get(index).copied().ok_or(UnknownClass::Index { index, classes: all.len() })
    }

    /// The first class with a name, from all of them and their names in order.
    ///
    /// # Errors
    /// When there is none.
    pub fn by_name<C: Copy>(all: &[C], names: &[&str], name: &str) -> Result<C, UnknownClass> {
        let found = all.iter().zip(names).find(|(_, other)| **other == name).map(|(class, _)| *class);
        found.ok_or_else(|| UnknownClass::Name { name: name.to_string(), classes: all.len() })
    }
}
