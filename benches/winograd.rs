//! 3×3 convolutions with stride 1 of all sizes, as the executor would run them: how far above or below the machine's
//! dense peak.
//!
//! ```text
//! cargo bench --bench winograd -- 56x56 "64 to 128"
//! ```
//!
//! Arguments choose the lines that contain all of them. A line is a convolution with relu and `padding = "same"` on one
//! thread, at the best level that the machine has and `CONVNET_SIMD` allows, on calls of as many images as it says. Its
//! figures: the dense operations a second (the multiplications and additions of the definition, whatever the kernel
//! saves), forward and for both gradients together, as shares of the most that a core does in registers
//! (`benches/peak`); best of several calls. All lines take about a minute.
//!
//! Shares of the peak, forward / dX + dW, on a Xeon with AVX-512 (230 GFLOP/s; 121 with AVX2) that others used, too:
//!
//! | channels to filters | 8×8 | 12×12 | 18×18 | 28×28 | 56×56 | 112×112 | 224×224 | 18×18 with AVX2 |
//! |---|---|---|---|---|---|---|---|---|
//! | 16 to 16 | 1.2 / 1.2 | 1.2 / 1.2 | 1.1 / 1.0 | 1.3 / 1.3 | 1.3 / 1.3 | 1.3 / 1.2 | 1.2 / 1.1 | 1.3 / 1.3 |
//! | 64 to 64 | 2.4 / 2.1 | 2.5 / 2.0 | 2.1 / 1.8 | 2.4 / 2.0 | 2.3 / 2.0 | 2.3 / 1.9 | 1.6 / 1.4 | 1.9 / 1.8 |
//! | 128 to 128 | 2.4 / 1.9 | 2.4 / 1.7 | 2.2 / 1.6 | 2.5 / 2.1 | 2.4 / 2.0 | 2.1 / 1.8 | 1.6 / 1.1 | |
//! | 512 to 512 | 1.3 / 1.1 | 1.7 / 1.4 | 1.5 / 1.4 | 1.8 / 1.7 | 1.8 / 1.6 | 1.6 / 1.7 | | 1.6 / 1.6 |
//! | with AMX: 64 to 64 | 3.0 / 2.2 | 2.5 / 2.0 | 2.5 / 1.7 | 2.9 / 2.2 | 2.7 / 2.1 | 2.9 / 2.0 | 2.7 / 1.9 | |
//! | 128 to 128 | 3.4 / 2.3 | 3.0 / 2.1 | 2.9 / 2.0 | 3.2 / 2.5 | 3.0 / 2.4 | 3.1 / 2.3 | 2.5 / 2.0 | |
//! | 256 to 256 | 3.7 / 2.4 | 4.0 / 2.6 | 4.2 / 2.2 | 4.7 / 2.7 | 4.6 / 2.6 | 4.3 / 2.4 | 3.8 / 2.4 | |
//! | 512 to 512 | 4.4 / 2.1 | 4.4 / 2.1 | 3.8 / 1.8 | 3.7 / 2.3 | 4.0 / 2.3 | 3.7 / 2.4 | | |
//! | without: 20 to 50 | 1.3 / 1.2 | 1.3 / 1.2 | 1.2 / 1.0 | 1.3 / 1.2 | 1.4 / 1.2 | 1.2 / 1.1 | 1.2 / 1.1 | 1.5 / 1.3 |
//! | 100 to 36 | 1.6 / 1.4 | 1.7 / 1.4 | 1.4 / 1.2 | 1.6 / 1.4 | 1.6 / 1.3 | 1.5 / 1.1 | 1.3 / 0.9 | |
//! | 3 to 64 (general path) | | 0.7 / 0.2 | | | 0.7 / 0.2 | | | |
//!
//! 512 channels wait for memory: the transformed weights (26 to 38 MB) come once a call, and a call of 8 images at 8×8
//! has 32 tiles for them. So do maps of 224×224, 10 MB and more, that leave the cache between the kernel's steps.

mod call;
mod least;
mod peak;
mod precision;

use call::Call;
use convnet::engine::cpu::aligned::Floats;
use convnet::engine::cpu::kernels::{Arithmetic, choose};
use convnet::layers::{Activation, Op, conv2d};
use convnet::shape::{Axis, Padding, Shape};
use least::least;
use std::time::Duration;

/// Rows and columns.
const SIDES: [usize; 7] = [8, 12, 18, 28, 56, 112, 224];

/// Channels and filters.
const WIDTHS: [(usize, usize); 14] = [
    (16, 16),
    (32, 32),
    (64, 64),
    (128, 128),
    (256, 256),
    (512, 512),
    (16, 64),
    (64, 16),
    (128, 256),
    (512, 256),
    (3, 64),
    (20, 50),
    (100, 36),
    (70, 130),
];

/// Time that a line may take, and calls that it takes at least.
const TIME: Duration = Duration::from_millis(250);
const CALLS: usize = 3;
/// Floats of a map, above which it is not measured: it would take gigabytes.
const MOST: usize = 16 << 20;

/// Numbers between −1 and 1, about half of them zero where `relu`.
fn numbers(len: usize, relu: bool) -> Floats {
    let (mut numbers, mut state) = (Floats::zeros(len), 1u64);
    for number in &mut *numbers {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        *number = if relu { value.max(0.0) } else { value };
    }
    numbers
}

/// A convolution and the gradient of its output; `None` if there is no kernel.
fn convolution(
    side: usize,
    [channels, filters]: [usize; 2],
    images: usize,
    arithmetic: Arithmetic,
) -> Option<(Call, Floats)> {
    let axis = Axis { window: 3, stride: 1, dilation: 1, padding: Padding::Same };
    let activation = Activation::Relu;
    let spec = conv2d::Spec { filters, vertical: axis, horizontal: axis, groups: 1, activation, use_bias: true };
    let (from, to) = (Shape::map(side, side, channels), Shape::map(side, side, filters));
    let (kernel, _) = choose(&[(Op::Conv2D(spec), from, to)], false, arithmetic)?;
    let weights = numbers(9 * channels * filters + filters, false);
    let output = images * to.len();
    let call = Call::new(kernel, images, &weights, &numbers(images * from.len(), true), output);
    Some((call, numbers(output, false)))
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let arithmetic = Arithmetic { precision: precision::read(), ..Arithmetic::default() };
    let level = arithmetic.level;
    let peak = peak::gflops(level);
    println!("{level:?}, {:?}: {peak:.0} GFLOP/s", arithmetic.precision);
    println!("{:<28} {:>10} {:>6} {:>10} {:>6}", "", "forward", "peak", "dX + dW", "peak");
    for side in SIDES {
        for (channels, filters) in WIDTHS {
            let len = side * side * channels.max(filters);
            // As many images as a group of the executor has, or fewer where a few are enough to keep a core busy.
            let images = (16 * 18 * 18 / (side * side)).clamp(1, 8);
            let line = format!("{side}x{side} {channels} to {filters}, {images} images");
            if len * images > MOST || !wanted.iter().all(|wanted| line.contains(wanted)) {
                continue;
            }
            let Some((mut call, d_output)) = convolution(side, [channels, filters], images, arithmetic) else {
                continue;
            };
            let work = (images * side * side * 9 * channels * filters) as f64 * 2e-9;
            let forward = work / least(CALLS, TIME, || call.forward());
            let backward = 2.0 * work / least(CALLS, TIME, || call.backward(&d_output));
            println!("{line:<28} {forward:>10.0} {:>6.2} {backward:>10.0} {:>6.2}", forward / peak, backward / peak);
        }
    }
}
