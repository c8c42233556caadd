//! The kernels of the book's convnet, one layer at a time, forward and backward: where a training step's time goes.
//!
//! ```text
//! CONVNET_DATA=… cargo bench --bench layers -- conv2d_1
//! ```
//!
//! A call works on 8 images, a lane's share of a batch of 64, on one thread, at the best level that the machine has and
//! `CONVNET_SIMD` allows. Kernels that skip zeros are only fairly measured on real numbers: weights and activations are
//! those of a network after 200 steps, on images that it has not seen, and the gradients come from the loss, back
//! through all layers behind. A convolution runs as in the executor (`fused`: with relu, and pooling where one follows)
//! and by the general kernel (`general`: with relu, without pooling).
//!
//! For convolutions and dense layers Gelem/s is GFLOP/s: the multiplications and additions of the layer's definition,
//! whatever the kernel saves, bias and activation not counted; the first line printed is the most that a core does. Backward has two products of that size, gradient of
//! weights and of input; the first layer only the former. For pooling and loss an element is a value of the input.

mod call;
#[path = "../tests/support/digits.rs"]
mod digits;
mod peak;

use call::Call;
use convnet::engine::cpu::kernel::Kernel;
use convnet::engine::cpu::kernels::{Arithmetic, choose, select};
use convnet::engine::cpu::simd::Level;
use convnet::layers::{Activation, Op};
use convnet::prelude::*;
use convnet::shape::Shape;
use criterion::{BenchmarkId, Criterion, Throughput};
use digits::Digits;
use std::hint::black_box;
use std::ops::Range;
use std::time::Duration;

/// Images in a batch, and in a call of a kernel.
const BATCH: usize = 64;
const GROUP: usize = 8;

/// The network after some training, and what a batch does in it.
struct Trained {
    model: Model<Digits>,
    /// Input of each layer for the batch; then the network's output.
    values: Vec<Vec<f32>>,
    labels: Vec<u32>,
}

impl Trained {
    fn new() -> convnet::Result<Trained> {
        let mnist = datasets::find_mnist(None)?;
        let mut model = Model::<Digits>::compile(RmsProp::default(), CategoricalCrossentropy::default());
        let quiet = Fit { batch_size: BATCH, verbose: Verbose::Silent, ..Fit::default() };
        model.fit(&mnist.train.take(200 * BATCH)?, quiet)?;

        let images: Vec<f32> = (0..BATCH).filter_map(|i| mnist.test.image(i)).flatten().collect();
        let outputs = model.layer_outputs(&images)?.into_iter().map(|output| output.values);
        let values = std::iter::once(images.clone()).chain(outputs).collect();
        let labels = mnist.test.labels()[..BATCH].to_vec();
        Ok(Trained { model, values, labels })
    }

    /// The batch's logits, and the gradient of its mean loss with respect to the input of each layer (but the first),
    /// then to the logits.
    fn gradients(&self) -> (Vec<f32>, Vec<Vec<f32>>) {
        let count = layers().len();
        let (mut logits, mut gradients) = (Vec::new(), vec![Vec::new(); count + 1]);
        for at in (1..count).rev() {
            let Some(kernel) = general(at) else {
                gradients[at] = gradients[at + 1].clone();
                continue;
            };
            let mut call = call(self, kernel, at..at + 1, BATCH);
            call.forward();
            if at + 1 == count {
                logits = call.output.to_vec();
                gradients[count] = logits.clone();
                losses(&logits, &self.labels, Some(&mut gradients[count]));
            }
            call.backward(&gradients[at + 1]);
            gradients[at] = call.d_input.map_or_else(Vec::new, |d_input| d_input.to_vec());
        }
        (logits, gradients)
    }
}

/// The layers as the executor takes them: the last activation belongs to the loss.
fn layers() -> Vec<(Op, Shape, Shape)> {
    let mut layers: Vec<_> = Digits::PLAN.layers.iter().map(|layer| (layer.op, layer.input, layer.output)).collect();
    if let Some((op, _, _)) = layers.last_mut() {
        *op = op.with_activation(Activation::Linear);
    }
    layers
}

/// The general kernel of a layer; `None` for `Flatten`.
fn general(at: usize) -> Option<Box<dyn Kernel>> {
    let (op, input, output) = layers()[at];
    select(&op, input, output, op.activation(), Level::detect())
}

/// The losses of rows of logits, summed; their gradients, if wanted, are those of the batch's mean.
fn losses(logits: &[f32], labels: &[u32], d_logits: Option<&mut [f32]>) -> f64 {
    let loss = Loss::from(CategoricalCrossentropy::default());
    let row = logits.len() / labels.len();
    let mut rows = d_logits.map(|d_logits| d_logits.chunks_mut(row));
    let evaluate = |(z, &label)| {
        let d_z = rows.as_mut().and_then(Iterator::next);
        loss.evaluate(Activation::Softmax, z, label, d_z, 1.0 / BATCH as f32).loss
    };
    logits.chunks(row).zip(labels).map(evaluate).sum()
}

/// A call of `kernel`, which covers the layers `covered`, on the first `images` of the batch.
fn call(trained: &Trained, kernel: Box<dyn Kernel>, covered: Range<usize>, images: usize) -> Call {
    let (before, behind) = (Digits::PLAN.prefix(covered.start), Digits::PLAN.prefix(covered.end));
    let weights = &trained.model.weights()[before.params..behind.params];
    let input = &trained.values[covered.start][..images * before.output.len()];
    let mut call = Call::new(kernel, images, weights, input, images * behind.output.len());
    if covered.start == 0 {
        call.d_input = None;
    }
    call
}

/// Elements of forward and of backward for one image; see the head of this file.
fn work((op, input, output): (Op, Shape, Shape), first: bool) -> (usize, usize) {
    let product = match op {
        Op::Conv2D(spec) => 2 * output.len() * spec.vertical.window * spec.horizontal.window * input.channels(),
        Op::Dense(_) => 2 * output.len() * input.len(),
        _ => return (input.len(), input.len()),
    };
    (product, if first { product } else { 2 * product })
}

fn layer_by_layer(criterion: &mut Criterion, trained: &Trained, gradients: &[Vec<f32>]) {
    let layers = layers();
    for (at, layer) in Digits::PLAN.layers.iter().enumerate() {
        let mut kernels: Vec<_> = general(at).map(|kernel| ("general", kernel, 1)).into_iter().collect();
        if let Op::Conv2D(_) = layer.op {
            let chosen = choose(&layers[at..], at == 0, Arithmetic::default());
            kernels.extend(chosen.map(|(kernel, covered)| ("fused", kernel, covered)));
        }
        let (forward, backward) = work(layers[at], at == 0);
        let mut group = criterion.benchmark_group(format!("{} {} to {}", layer.name, layer.input, layer.output));
        for (name, kernel, covered) in kernels {
            let mut call = call(trained, kernel, at..at + covered, GROUP);
            let d_output = &gradients[at + covered][..call.output.len()];
            group.throughput(Throughput::Elements((GROUP * forward) as u64));
            group.bench_function(BenchmarkId::new("forward", name), |bencher| bencher.iter(|| call.forward()));
            // Once more, because a filter on the command line may have left it out.
            call.forward();
            group.throughput(Throughput::Elements((GROUP * backward) as u64));
            let mut backward = |calls| (0..calls).map(|_| call.backward(d_output)).sum();
            group.bench_function(BenchmarkId::new("backward", name), |bencher| bencher.iter_custom(&mut backward));
        }
        group.finish();
    }
}

/// Softmax with crossentropy over a batch; `backward` gives losses and gradients together.
fn loss(criterion: &mut Criterion, logits: &[f32], labels: &[u32]) {
    let mut d_logits = vec![0.0; logits.len()];
    let mut group = criterion.benchmark_group("softmax with crossentropy");
    group.throughput(Throughput::Elements(logits.len() as u64));
    group.bench_function("forward", |bencher| bencher.iter(|| losses(black_box(logits), labels, None)));
    group.bench_function("backward", |bencher| bencher.iter(|| losses(black_box(logits), labels, Some(&mut d_logits))));
    group.finish();
}

fn main() -> convnet::Result<()> {
    let settings = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(1));
    let mut criterion = settings.warm_up_time(Duration::from_millis(500)).configure_from_args();
    let level = Level::detect();
    println!("{level:?}: at most {:.0} GFLOP/s a core", peak::gflops(level));
    let trained = Trained::new()?;
    let (logits, gradients) = trained.gradients();
    layer_by_layer(&mut criterion, &trained, &gradients);
    loss(&mut criterion, &logits, &trained.labels);
    criterion.final_summary();
    Ok(())
}
