//! Aligned, zeroed memory that lives as long as the engine.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;

/// Alignment of every allocation: a cache line.
pub const ALIGN: usize = 64;

/// A zeroed allocation aligned to a cache line. Pages that are never touched cost no memory.
#[derive(Debug)]
pub struct Arena {
    start: *mut u8,
    layout: Layout,
}

// SAFETY: an arena owns its memory; access through the pointer is the user's responsibility.
unsafe impl Send for Arena {}
// SAFETY: as above; the arena itself offers no access but the pointer.
unsafe impl Sync for Arena {}

impl Arena {
    /// Allocates `bytes` zeroed bytes.
    ///
    /// # Errors
    /// When there is no such memory.
    pub fn new(bytes: usize) -> io::Result<Arena> {
        let exhausted = || {
            io::Error::new(io::ErrorKind::OutOfMemory, format!("no memory for {} MB of working memory", bytes >> 20))
        };
        let layout = Layout::from_size_align(bytes.max(ALIGN), ALIGN).map_err(|_| exhausted())?;
        // SAFETY: the size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            return Err(exhausted());
        }
        Ok(Arena { start, layout })
    }

    /// The first byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`.
        unsafe { dealloc(self.start, self.layout) }
    }
}
