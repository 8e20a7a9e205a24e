//! Aligned, zeroed memory that lives as long as the engine.

use super::StartError;
use alloc::alloc::{Layout, alloc, alloc_zeroed, dealloc};

/// Alignment of every allocation: a cache line.
pub const ALIGN: usize = 64;

/// Alignment, and least size, of what may live in huge pages.
const HUGE: usize = 2 << 20;

/// A zeroed allocation aligned to a cache line.
///
/// From two megabytes on it asks for huge pages: kernels read a piece of every channel in turn, and with small pages
/// every piece would be on a page of its own.
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
    pub fn new(bytes: usize) -> Result<Arena, StartError> {
        let exhausted = || StartError::Memory { bytes };
        let huge = cfg!(target_os = "linux") && bytes >= HUGE;
        let layout = Layout::from_size_align(bytes.max(ALIGN), if huge { HUGE } else { ALIGN });
        let layout = layout.map_err(|_| exhausted())?;
        // SAFETY: the size is not zero; all of it is zeroed before anybody else sees it.
        let start = unsafe {
            if huge {
                let start = alloc(layout);
                if !start.is_null() {
                    ask_for_huge_pages(start, layout.size());
                    start.write_bytes(0, layout.size());
                }
                start
            } else {
                alloc_zeroed(layout)
            }
        };
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

/// Tells the kernel that huge pages suit this memory. It may not have any, and then nothing changes.
#[cfg(target_os = "linux")]
fn ask_for_huge_pages(start: *mut u8, bytes: usize) {
    // SAFETY: advice about huge pages changes no contents; the range is an allocation of ours.
    unsafe { libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_: *mut u8, _: usize) {}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`.
        unsafe { dealloc(self.start, self.layout) }
    }
}
