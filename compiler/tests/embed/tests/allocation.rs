//! Running a compiled model allocates nothing.

use peristyle_embed_test::shapes;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: forwards to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: forwarded.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: forwarded.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn run_allocates_nothing() {
    let images = 3;
    let input = vec![0.5; images * shapes::Model::INPUT_SHAPE.iter().product::<usize>()];
    let mut output = vec![0.0; images * shapes::Model::OUTPUT_SHAPE.iter().product::<usize>()];
    for threads in [1, 2] {
        let mut model = shapes::Model::new(threads).expect("threads start");
        // A thread may still be starting: what it allocates then is not the run's.
        model.run(&input, &mut output).expect("lengths fit");
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        model.run(&input, &mut output).expect("lengths fit");
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before, "{threads} threads");
    }
}
