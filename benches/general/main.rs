//! The general kernels over all that listings can express: windows, strides, dilation, groups, few channels, dense
//! layers, poolings, normalisation, activations; forward and backward, against a core's peak.
//!
//! ```text
//! cargo bench --bench general -- depthwise 1x1
//! ```
//!
//! Words select the rows whose names contain one of them; the whole table takes about a minute and a half. One thread, 8
//! images a call (1 for maps of 112 and more), random values, the level that `CONVNET_SIMD` allows. Each figure is the
//! least of many calls. Backward has the gradients of weights and of input together, twice the arithmetic of forward; of
//! a first layer that of the weights alone.
//!
//! GFLOP/s counts the multiplications and additions of the layer's definition, taps on the border's zeros included. GB/s
//! counts what a call must touch at least once: forward input, weights and output; backward input, output, the gradient
//! of the output (read), that of the input and of the weights (written), and the weights. What kernels copy for
//! themselves is not counted.
//!
//! Found with AVX-512 on two cores shared with other builds (peak about 240 GFLOP/s): percent of the peak and GB/s,
//! forward and backward. Only rows of up to 2 ms, which fit between two switches to another process: longer ones vary
//! twofold from run to run there and are not given.
//!
//! ```text
//!                                          forward      backward
//! conv 1x1, 8x8x64 to 64                  100 %  15     84 %  13
//! conv 1x1, 112x112x32 to 64               75 %  17     53 %  12
//! conv 1x1, 28x28x3 to 32                  25 %  45     11 %  19
//! conv 1x1, 28x28x64 to 1 / to 10       4, 35 %  20  5, 38 %  26
//! conv 3x3, 28x28x1 to 32                  60 %  31     21 %  11
//! conv 3x3, 28x28x3 to 32                  75 %  14     39 %   7
//! conv 3x3, 28x28x32 to 1 / to 8       16, 55 %   9 27, 80 %  15
//! conv 3x3, 8x8x64 to 64                   95 %   2     86 %   2
//! conv 3x3 strides 2, 224x224x3 to 32      63 %  14     26 %   6
//! conv 3x3 groups 8, 28x28x64 to 64        39 %   5     28 %   4
//! conv 3x3 groups 8, 14x14x256 to 256      84 %   3     68 %   2
//! conv 3x3 groups 32, 7x7x1024 to 1024     72 %   3     35 %   2
//! depthwise 3x3, 14x14x64 to 64            62 %  61     36 %  39
//! depthwise 3x3, 14x14x512 to 512          29 %  29     23 %  23
//! depthwise 3x3 strides 2, 112x112x64      12 %  29      8 %  22
//! depthwise 5x5, 28x28x128 to 128          60 %  21     24 %   9
//! dense, 8 / 64 of 784 to 512          70, 82 %  40 37, 59 %  23
//! dense, 8 / 64 of 64 to 10            25, 38 %  29 19, 36 %  23
//! ```
//!
//! Kernels made since, on a Zen 4 core (peak 118 GFLOP/s, a second level of 1 MiB), with what the same machine gave before
//! them:
//!
//! ```text
//!                                          forward             backward
//! conv 3x3 groups 32, 56x56x128 to 128     80 %, before 28     64 %, before 23
//! conv 3x3 groups 8, 28x28x64 to 64        92 %, before 68     89 %, before 50
//! conv 3x3 groups 32, 28x28x256 to 256     86 %, before 49     68 %, before 44
//! conv 3x3 strides 2 groups 32, 28x28x256  72 %, before 30     40 %, before 23
//! conv 5x5 first layer, 28x28x1 to 6       62 %, before 26     50 %, before 43
//! conv 3x3 first layer, 28x28x1 to 15      54 %                36 %, before 19
//! conv 3x3 first layer, 28x28x1 to 8       51 %, before 28     38 %, before 28
//! conv 3x3 first layer, 28x28x1 to 5       46 %, before 30     35 %, before 20
//! conv 3x3 few filters, 28x28x1 to 8       53 %, before 29     33 %, before 14
//! conv 3x3 few filters, 28x28x32 to 1      47 %, before 34     48 %
//! conv 3x3 few filters, 28x28x32 to 4      86 %, before 67     80 %
//! conv 3x3 few channels, 28x28x3 to 32     85 %                76 %, before 60
//! conv 5x5 few channels, 28x28x1 to 6      62 %, before 32     42 %, before 20
//! conv 1x1 few filters, 28x28x64 to 1      30 %, before 6      24 %, before 19
//! conv 1x1 few channels, 28x28x3 to 32     41 %                31 %, before 18
//! depthwise 3x3, 56x56x128 to 128          56 %, before 18     27 %, before 18
//! depthwise 3x3, 28x28x256 to 256          75 %, before 60     33 %
//! depthwise 3x3, 14x14x512 to 512          60 %, before 48     40 %, before 31
//! depthwise 3x3, 7x7x1024 to 1024          45 %, before 35     43 %, before 24
//! depthwise 3x3 strides 2, 112x112x64      54 %, before 50     38 %, before 27
//! depthwise 3x3 strides 2, 56x56x128       42 %, before 35     14 %
//! depthwise 3x3 strides 2, 28x28x256       47 %, before 41     28 %, before 21
//! depthwise 3x3 strides 2, 14x14x512       32 %, before 21     24 %, before 19
//! depthwise 3x3 strides 2, 56x56x24        34 %                30 %, before 21
//! ```
//!
//! What bounds those below 35 %: 1x1 to or from few channels move 20 to 30 GB/s, what the third level gave a core of the
//! first machine, as do depthwise layers there, and twice that where the maps fit the second; on the Zen 4 core, whose
//! maps of 56x56x128 lie beyond the third level, 11 to 20. Depthwise with strides of 2 has 9 multiply-adds for five
//! positions: 40 to 70 GB/s forward, 30 to 50 backward. With 512 or 1024 channels it is not the bytes but where they lie:
//! 7x7x1008 takes half the time of 7x7x1024 forward, whose positions share few places of the first level.
//!
//! Of the backward pass of 3x3 strides 2 on 3 channels 46 % of the samples are in the product's tiles, 16 % in turning to
//! planes and back, 14 % in copies; a first layer needs no gradient of its input. One filter or 10 units fill a part of a
//! vector, 28x28x1 to 1 takes less than a microsecond an image. 1x1 to one filter moves 70 and 58 GB/s on the Zen 4 core,
//! where the pass of relu gets 97; 1x1 of 3 channels 27 on its way back (31 %).

#[path = "../call/mod.rs"]
mod call;
#[path = "../least/mod.rs"]
mod least;
#[path = "../peak/mod.rs"]
mod peak;
mod rows;

use call::Call;
use convnet::engine::cpu::aligned::Floats;
use convnet::engine::cpu::kernel::Kernel;
use convnet::engine::cpu::simd::Level;
use least::least;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rows::{Row, Work};
use std::time::{Duration, Instant};

/// How long each figure is measured, and the fewest calls.
const TIME: Duration = Duration::from_millis(100);
const CALLS: usize = 5;

/// `len` values in (−1, 1).
fn random(len: usize) -> Floats {
    let mut random = StdRng::seed_from_u64(len as u64);
    let mut values = Floats::zeros(len);
    values.iter_mut().for_each(|value| *value = random.random_range(-1.0..1.0));
    values
}

/// How long something takes.
fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

/// A call of a row's kernel.
fn call(kernel: Box<dyn Kernel>, row: &Row, weights: usize) -> Call {
    let mut weights = random(weights);
    // Variances among them must not be negative, and sums not grow.
    weights.iter_mut().for_each(|weight| *weight = 0.1 * weight.abs());
    let [input, output] = [row.input, row.output].map(|shape| row.images * shape.len());
    Call::new(kernel, row.images, &weights, &random(input), output)
}

/// Seconds of a row's passes, with operations and bytes of each.
fn measure(row: &Row, level: Level) -> Vec<(&'static str, f64, [usize; 2])> {
    let [input, output] = [row.input, row.output].map(|shape| 4 * row.images * shape.len());
    match row.work {
        Work::Layer { op, of } => {
            let flops = rows::flops(&op, row);
            let weights = rows::weights(&op, row);
            let mut call = call(rows::kernel(&op, row, of, level), row, weights);
            if row.first {
                call.d_input = None;
            }
            let forward = least(CALLS, TIME, || call.forward());
            let gradient = random(call.output.len());
            let backward = least(CALLS, TIME, || call.backward(&gradient));
            let gradients = if row.first { 1 } else { 2 };
            let bytes = [input + 4 * weights + output, gradients * input + 8 * weights + 2 * output];
            vec![("forward", forward, [flops, bytes[0]]), ("backward", backward, [gradients * flops, bytes[1]])]
        }
        Work::Statistics(passes) => {
            let (x, d_y, mut y) = (random(input / 4), random(input / 4), Floats::zeros(input / 4));
            let rows = x.len() / passes.channels();
            let (weights, mut statistics) = (random(4 * passes.channels()), Floats::zeros(passes.statistics_len()));
            let mut sums = vec![0.0; passes.sums()];
            let add = least(CALLS, TIME, || timed(|| passes.add_sums(&x, &mut sums)));
            sums.fill(0.0);
            passes.add_sums(&x, &mut sums);
            passes.statistics(&sums, rows, &mut statistics);
            let normalize = least(CALLS, TIME, || timed(|| passes.normalize(&x, &statistics, &weights, &mut y)));
            let back = least(CALLS, TIME, || timed(|| passes.add_backward_sums(&x, &d_y, &statistics, &mut sums)));
            let batch = convnet::engine::cpu::kernels::batch_normalization::Batch {
                statistics: &statistics,
                sums: &sums,
                rows,
            };
            let gradient = least(CALLS, TIME, || timed(|| passes.backward(&x, &d_y, batch, &weights, &mut y)));
            vec![
                ("sums", add, [0, input]),
                ("normalize", normalize, [0, 2 * input]),
                ("back sums", back, [0, 2 * input]),
                ("gradient", gradient, [0, 3 * input]),
            ]
        }
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let level = Level::detect();
    let peak = peak::gflops(level);
    println!("{level:?}, peak {peak:.0} GFLOP/s\n");
    println!("{:44} {:9} {:>10} {:>8} {:>5} {:>7}", "layer", "pass", "µs", "GFLOP/s", "%", "GB/s");
    for row in rows::all(level) {
        if !words.is_empty() && !words.iter().any(|word| row.name.contains(word.as_str())) {
            continue;
        }
        for (pass, seconds, [flops, bytes]) in measure(&row, level) {
            let gflops = flops as f64 / seconds / 1e9;
            let speed = if flops > 0 { format!("{gflops:8.1} {:5.0}", 100.0 * gflops / peak) } else { " ".repeat(14) };
            println!("{:44} {pass:9} {:10.1} {speed} {:7.1}", row.name, 1e6 * seconds, bytes as f64 / seconds / 1e9);
        }
    }
}
