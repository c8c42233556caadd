//! Once training runs, steps allocate nothing.

#[path = "support/digits.rs"]
mod digits;

use convnet::prelude::*;
use convnet::shape::size::Map;
use digits::Digits;
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
    /// The other kernels: `same` blocks of 16 channels, and layers of no special shape.
    type Mixed = [
        Input(28, 28, 1),
        Conv2D(16, (3, 3), padding = "same", activation = "relu"),
        Conv2D(16, (3, 3), padding = "same", activation = "relu"),
        MaxPooling2D((2, 2)),
        Conv2D(12, (5, 3), strides = 2, padding = "same", activation = "tanh"),
        MaxPooling2D((3, 2), strides = 1),
        Conv2D(6, 2, activation = "sigmoid", use_bias = false),
        Flatten(),
        Dense(20, activation = "tanh"),
        Dense(10, activation = "softmax"),
    ];

    /// What is new with branches and normalisation.
    type Residual = [
        Input(28, 28, 1),
        Conv2D(8, (3, 3), strides = 2, use_bias = false, kernel_regularizer = L2(0.001)),
        BatchNormalization(),
        ReLU(),
        Add([SeparableConv2D(8, (3, 3), padding = "same"), BatchNormalization(), Dropout(0.3)], []),
        Concatenate([DepthwiseConv2D((3, 3))], [AveragePooling2D((3, 3), strides = 1)], [Conv2D(4, (3, 3), groups = 2)]),
        LeakyReLU(),
        ZeroPadding2D(1),
        UpSampling2D(2, interpolation = "bilinear"),
        GlobalMaxPooling2D(),
        Dense(10, activation = "softmax"),
    ];

    /// Its first dense layer takes a whole batch at once.
    type Wide = [Input(28, 28, 1), Flatten(), Dense(400, activation = "relu"), Dense(10, activation = "softmax")];
}

/// Allocations of an epoch of `steps` steps.
fn of_an_epoch<N: Network<Input = Map<28, 28, 1>>>(model: &mut Model<N>, steps: usize) -> usize {
    let set = datasets::drawn_digits(32 * steps, 1).unwrap();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    model.fit(&set, Fit { verbose: Verbose::Silent, ..Fit::default() }).unwrap();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

fn check<N: Network<Input = Map<28, 28, 1>>>(name: &str) {
    for (threads, exact) in [(1, false), (1, true), (2, false), (2, true)] {
        let model = Model::<N>::compile(Adam::default(), CategoricalCrossentropy::default());
        let mut model = model.threads(threads).exact(exact);
        of_an_epoch(&mut model, 2);
        // The least of some: the test harness has a thread of its own, which allocates when it likes.
        let mut least = |steps| (0..3).map(|_| of_an_epoch(&mut model, steps)).min();
        let (short, long) = (least(4), least(20));
        assert_eq!(short, long, "allocations in 4 and in 20 steps: {name}, {threads} threads, exact: {exact}");
    }
}

/// One test for all networks: two at once would count each other's.
#[test]
fn a_longer_epoch_allocates_no_more() {
    check::<Digits>("Digits");
    check::<Mixed>("Mixed");
    check::<Residual>("Residual");
    check::<Wide>("Wide");
}
