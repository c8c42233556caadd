//! The jobs that `benches/peers/bench.py` has for Keras and PyTorch, timed the same way and printed in the same form:
//! `convnet mnist_train median 1.2345 ms least 1.2000 ms`. `benches/peers/compare.py` runs both.
//!
//! ```text
//! CONVNET_DATA=… cargo bench --bench jobs -- mnist_train mnist_infer_1
//! ```

mod networks;
mod others;
mod precision;

use convnet::prelude::*;
use networks::{Cats, Digits, Vgg16};
use others::{LeNet, MobileNet, ResNet};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Instant;

/// What runs where nothing is asked for.
const JOBS: [&str; 9] = [
    "mnist_train",
    "mnist_fit",
    "mnist_infer_1",
    "mnist_infer_1000",
    "cats_train",
    "vgg16_infer",
    "lenet_train",
    "resnet_train",
    "mobilenet_train",
];

/// Rounds that are timed, and how long they take together, in seconds.
const ROUNDS: usize = 7;
const SECONDS: f64 = 4.0;

/// Median and least milliseconds of a call.
fn measure(mut run: impl FnMut()) -> (f64, f64) {
    let mut time = |calls: usize| {
        let start = Instant::now();
        (0..calls).for_each(|_| run());
        start.elapsed().as_secs_f64() / calls as f64
    };
    time(3);
    let calls = ((SECONDS / ROUNDS as f64 / time(1).max(1e-7)) as usize).max(1);
    let mut times: Vec<f64> = (0..ROUNDS).map(|_| 1e3 * time(calls)).collect();
    times.sort_by(f64::total_cmp);
    (times[ROUNDS / 2], times[0])
}

fn main() -> convnet::Result<()> {
    // `cargo bench` adds `--bench` to what the caller asked for.
    let mut jobs: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if jobs.is_empty() {
        jobs = JOBS.map(String::from).to_vec();
    }
    let limits = Limits::read();
    for job in jobs {
        let (name, count) = job.split_once("_infer_").unwrap_or((&job, ""));
        let (median, least) = match (name, count.parse().ok()) {
            ("mnist_train", _) => train_digits(limits)?,
            ("mnist_fit", _) => fit_digits(limits)?,
            ("cats_train", _) => train_cats(limits)?,
            ("lenet_train", _) => train_noise::<LeNet, 28, 1>(limits)?,
            ("resnet_train", _) => train_noise::<ResNet, 32, 3>(limits)?,
            ("mobilenet_train", _) => train_noise::<MobileNet, 96, 3>(limits)?,
            ("vgg16", Some(count)) => infer::<Vgg16>(limits, &noise(count * 150 * 150 * 3))?,
            ("vgg16_infer", _) => infer::<Vgg16>(limits, &noise(8 * 150 * 150 * 3))?,
            ("mnist", Some(count)) => infer::<Digits>(limits, &digits(count)?)?,
            ("lenet", Some(count)) => infer::<LeNet>(limits, &noise(count * 28 * 28))?,
            ("resnet", Some(count)) => infer::<ResNet>(limits, &noise(count * 32 * 32 * 3))?,
            ("mobilenet", Some(count)) => infer::<MobileNet>(limits, &noise(count * 96 * 96 * 3))?,
            _ => {
                println!("convnet {job} does not apply");
                continue;
            }
        };
        println!("convnet {job} median {median:.4} ms least {least:.4} ms");
    }
    Ok(())
}

/// What the environment holds us to.
#[derive(Clone, Copy)]
struct Limits {
    threads: usize,
    precision: Precision,
}

impl Limits {
    /// `THREADS`, else all, and the precision.
    fn read() -> Limits {
        let threads = std::env::var("THREADS").ok().and_then(|threads| threads.parse().ok()).unwrap_or(0);
        Limits { threads, precision: precision::read() }
    }

    fn on<N: Network>(self, model: Model<N>) -> Model<N> {
        model.threads(self.threads).precision(self.precision)
    }
}

/// Uniform numbers from 0 to 1, always the same.
fn noise(count: usize) -> Vec<f32> {
    let mut random = StdRng::seed_from_u64(0);
    (0..count).map(|_| random.random()).collect()
}

fn digits(count: usize) -> convnet::Result<Vec<f32>> {
    let train = datasets::find_mnist(None)?.train;
    Ok((0..count.min(train.len())).filter_map(|i| train.image(i)).flatten().collect())
}

/// One step on the first 64 images, again and again, as the peers do it. A network that has seen nothing else for
/// thousands of steps has nine tenths of its units active: more work for kernels that skip zeros than any training has.
fn train_digits(limits: Limits) -> convnet::Result<(f64, f64)> {
    let model = limits.on(Model::<Digits>::compile(RmsProp::default(), CategoricalCrossentropy::default()));
    train(model, &[datasets::find_mnist(None)?.train.take(64)?], 64)
}

/// The same steps over the training set, batch after batch.
fn fit_digits(limits: Limits) -> convnet::Result<(f64, f64)> {
    let all = datasets::find_mnist(None)?.train;
    let batch = |labels: &[u32], first: usize| {
        let pixels: Vec<f32> = (first..first + labels.len()).filter_map(|i| all.image(i)).flatten().collect();
        ImageSet::<28, 28, 1>::new(pixels, labels.to_vec())
    };
    let batches = all.labels().chunks_exact(64).enumerate().map(|(i, labels)| batch(labels, 64 * i));
    let batches = batches.collect::<convnet::Result<Vec<_>>>()?;
    let model = limits.on(Model::<Digits>::compile(RmsProp::default(), CategoricalCrossentropy::default()));
    train(model, &batches, 64)
}

fn train_cats(limits: Limits) -> convnet::Result<(f64, f64)> {
    let labels: Vec<u8> = noise(32).into_iter().map(|value| u8::from(value > 0.5)).collect();
    let batch = ImageSet::<150, 150, 3>::new(noise(32 * 150 * 150 * 3), labels)?;
    let optimizer = RmsProp { learning_rate: 1e-4, ..RmsProp::default() };
    train(limits.on(Model::<Cats>::compile(optimizer, BinaryCrossentropy::default())), &[batch], 32)
}

/// Steps on one batch of noise.
fn train_noise<N: Network, const SIZE: usize, const CHANNELS: usize>(limits: Limits) -> convnet::Result<(f64, f64)>
where
    ImageSet<SIZE, SIZE, CHANNELS>: DataFor<N::Input>,
{
    let labels: Vec<u32> = (0..64).map(|image| image * 7 % 10).collect();
    let batch = ImageSet::<SIZE, SIZE, CHANNELS>::new(noise(64 * SIZE * SIZE * CHANNELS), labels)?;
    train(limits.on(Model::<N>::compile(RmsProp::default(), CategoricalCrossentropy::default())), &[batch], 64)
}

/// A step on each of `batches` in turn, again and again.
fn train<N: Network>(
    mut model: Model<N>,
    batches: &[impl DataFor<N::Input>],
    batch_size: usize,
) -> convnet::Result<(f64, f64)> {
    let mut failed = None;
    let mut next = batches.iter().cycle();
    let times = measure(|| {
        let options = Fit { batch_size, verbose: Verbose::Silent, ..Fit::default() };
        if let Some(batch) = next.next() {
            failed = failed.take().or(model.fit(batch, options).err());
        }
    });
    failed.map_or(Ok(times), Err)
}

fn infer<N: Network>(limits: Limits, images: &[f32]) -> convnet::Result<(f64, f64)> {
    // An optimizer and a loss have to be named; neither is used.
    let mut model = limits.on(Model::<N>::compile(Sgd::default(), MeanSquaredError::default()));
    let mut failed = None;
    let times = measure(|| failed = failed.take().or(model.predict(images).err()));
    failed.map_or(Ok(times), Err)
}
