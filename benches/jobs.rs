//! The jobs that `benches/peers/bench.py` has for Keras and PyTorch, timed the same way and printed in the same form:
//! `convnet mnist_train median 1.2345 ms least 1.2000 ms`. `benches/peers/compare.py` runs both.
//!
//! ```text
//! CONVNET_DATA=… cargo bench --bench jobs -- mnist_train mnist_infer_1
//! ```

use convnet::prelude::*;
use std::time::Instant;

convnet! {
    type Digits = [
        Input(28, 28, 1),
        Conv2D(32, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Conv2D(64, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Conv2D(64, (3, 3), activation = "relu"),
        Flatten(),
        Dense(64, activation = "relu"),
        Dense(10, activation = "softmax"),
    ];
}

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
        jobs = ["mnist_train", "mnist_infer_1", "mnist_infer_1000"].map(String::from).to_vec();
    }
    let threads = std::env::var("THREADS").ok().and_then(|threads| threads.parse().ok()).unwrap_or(0);
    for job in jobs {
        let (median, least) = match job.strip_prefix("mnist_") {
            Some("train") => train(threads)?,
            Some(job) if job.starts_with("infer_") => infer(threads, job["infer_".len()..].parse().unwrap_or(1))?,
            _ => {
                println!("convnet {job} does not apply");
                continue;
            }
        };
        println!("convnet {job} median {median:.4} ms least {least:.4} ms");
    }
    Ok(())
}

fn model(threads: usize) -> Model<Digits> {
    Model::<Digits>::compile(RmsProp::default(), CategoricalCrossentropy::default()).threads(threads)
}

/// One step on the first 64 images, again and again, as the peers do it.
fn train(threads: usize) -> convnet::Result<(f64, f64)> {
    let batch = datasets::find_mnist(None)?.train.take(64)?;
    let mut model = model(threads);
    let mut failed = None;
    let times = measure(|| {
        let options = Fit { batch_size: 64, verbose: Verbose::Silent, ..Fit::default() };
        failed = failed.take().or(model.fit(&batch, options).err());
    });
    failed.map_or(Ok(times), Err)
}

fn infer(threads: usize, count: usize) -> convnet::Result<(f64, f64)> {
    let train = datasets::find_mnist(None)?.train;
    let images: Vec<f32> = (0..count.min(train.len())).filter_map(|i| train.image(i)).flatten().collect();
    let mut model = model(threads);
    let mut failed = None;
    let times = measure(|| failed = failed.take().or(model.predict(&images).err()));
    failed.map_or(Ok(times), Err)
}
