//! Aligned, zeroed memory that lives as long as the engine.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

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
    /// Allocates `bytes` zeroed bytes; aborts like every Rust collection when memory is exhausted.
    pub fn new(bytes: usize) -> Arena {
        let layout = Layout::from_size_align(bytes.max(ALIGN), ALIGN).expect("arena sizes fit the address space");
        // SAFETY: the size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        Arena { start, layout }
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
