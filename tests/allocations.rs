//! Once training runs, steps allocate nothing.

use convnet::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on to the system's allocator, with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

convnet! {
    type Net = [
        Input(28, 28, 1),
        Conv2D(32, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Conv2D(16, (5, 3), strides = 2, padding = "same", activation = "tanh"),
        MaxPooling2D((3, 2), strides = 1),
        Flatten(),
        Dense(64, activation = "relu"),
        Dense(10, activation = "softmax"),
    ];
}

/// Allocations of an epoch of `steps` steps.
fn of_an_epoch(model: &mut Model<Net>, steps: usize) -> usize {
    let set = datasets::drawn_digits(32 * steps, 1).unwrap();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    model.fit(&set, Fit { verbose: Verbose::Silent, ..Fit::default() }).unwrap();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn a_longer_epoch_allocates_no_more() {
    for threads in [1, 2] {
        let mut model = Model::<Net>::compile(Adam::default(), CategoricalCrossentropy::default()).threads(threads);
        of_an_epoch(&mut model, 2);
        let (short, long) = (of_an_epoch(&mut model, 4), of_an_epoch(&mut model, 40));
        assert_eq!(short, long, "allocations in 4 and in 40 steps, {threads} threads");
    }
}
