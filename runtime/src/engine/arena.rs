//! Aligned, zeroed memory that lives as long as the engine.

use super::StartError;
use alloc::alloc::{Layout, alloc_zeroed, dealloc};

/// Alignment of every allocation: a cache line.
pub const ALIGN: usize = 64;

/// Alignment, and least size, of what may live in huge pages.
const HUGE: usize = 2 << 20;

/// A zeroed allocation aligned to a cache line.
///
/// From two megabytes on it asks for huge pages: kernels read a piece of every channel in turn, and with small pages
/// every piece would be on a page of its own. Linux gives it such memory page by page, when it is written first: what only
/// larger batches use costs nothing until there is one.
#[derive(Debug)]
pub struct Arena {
    start: *mut u8,
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    Allocated(Layout),
    /// First byte and length of a mapping.
    #[cfg(target_os = "linux")]
    Mapped(*mut libc::c_void, usize),
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
        #[cfg(target_os = "linux")]
        if bytes >= HUGE {
            return map(bytes).ok_or_else(exhausted);
        }
        let align = if bytes >= HUGE { HUGE } else { ALIGN };
        let layout = Layout::from_size_align(bytes.max(ALIGN), align).map_err(|_| exhausted())?;
        // SAFETY: the size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            return Err(exhausted());
        }
        Ok(Arena { start, memory: Memory::Allocated(layout) })
    }

    /// The first byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start
    }
}

/// Memory of its own from the kernel, at a huge page, with the advice that huge pages suit it. There may not be any, and
/// then nothing changes.
#[cfg(target_os = "linux")]
fn map(bytes: usize) -> Option<Arena> {
    let length = bytes.checked_next_multiple_of(HUGE)?.checked_add(HUGE)?;
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: the kernel chooses where, so that nothing else is mapped there; advice about huge pages changes no contents.
    unsafe {
        let mapping = libc::mmap(core::ptr::null_mut(), length, access, kind, -1, 0);
        if mapping == libc::MAP_FAILED {
            return None;
        }
        let start = mapping.cast::<u8>();
        let start = start.add(start.align_offset(HUGE));
        libc::madvise(start.cast(), length - HUGE, libc::MADV_HUGEPAGE);
        Some(Arena { start, memory: Memory::Mapped(mapping, length) })
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        match self.memory {
            // SAFETY: allocated with this layout in `new`.
            Memory::Allocated(layout) => unsafe { dealloc(self.start, layout) },
            // SAFETY: mapped in `map`, and nobody else has it. It cannot fail for a whole mapping.
            #[cfg(target_os = "linux")]
            Memory::Mapped(mapping, length) => unsafe {
                libc::munmap(mapping, length);
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arenas_are_aligned_and_zero() {
        for bytes in [0, 1, 100, HUGE - 1, HUGE, HUGE + 1, 5 * HUGE + 77] {
            let align = if bytes >= HUGE { HUGE } else { ALIGN };
            for _ in 0..2 {
                let arena = Arena::new(bytes).unwrap();
                assert!(arena.as_ptr().cast_const().addr().is_multiple_of(align), "{bytes}");
                // SAFETY: the arena has so many bytes, and nobody else has it.
                let all = unsafe { core::slice::from_raw_parts_mut(arena.as_ptr(), bytes) };
                assert!(all.iter().all(|&byte| byte == 0), "{bytes}");
                all.fill(7);
            }
        }
        assert!(matches!(Arena::new(usize::MAX / 2), Err(StartError::Memory { .. })));
        assert!(matches!(Arena::new(usize::MAX), Err(StartError::Memory { .. })));
    }
}
