//! Training and prediction on a GPU, in the form of `benches/jobs.rs`; `benches/peers/torch_graph.py` has the same for
//! PyTorch, and `scripts/gpu-check` makes a table of both.
//!
//! ```text
//! CONVNET_DATA=… cargo bench --features cuda --bench cuda -- [JOB …]
//! ```
//!
//! `mnist_step` and `cats_step` are milliseconds a training step, over epochs of a set that lies on the device;
//! `mnist_5_epochs` is the milliseconds of five epochs with evaluation, compilation and transfers included;
//! `vgg16_infer` those of predicting 8 images, there and back.

#[cfg(feature = "cuda")]
mod networks;
#[cfg(feature = "cuda")]
mod precision;

#[cfg(not(feature = "cuda"))]
fn main() {
    println!("skipped: needs --features cuda");
}

#[cfg(feature = "cuda")]
fn main() -> convnet::Result<()> {
    on_device::main()
}

#[cfg(feature = "cuda")]
mod on_device {
    use super::networks::{Cats, Digits, Vgg16};
    use super::precision;
    use convnet::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::time::Instant;

    const JOBS: [&str; 4] = ["mnist_step", "mnist_5_epochs", "cats_step", "vgg16_infer"];

    /// Epochs that are timed behind one that warms up, and predictions.
    const EPOCHS: usize = 9;
    const PREDICTIONS: usize = 200;

    pub fn main() -> convnet::Result<()> {
        let device = Cuda::device(0)?;
        let mut jobs: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
        if jobs.is_empty() {
            jobs = JOBS.map(String::from).to_vec();
        }
        for job in jobs {
            let mut times = match job.as_str() {
                "mnist_step" => mnist_step(&device)?,
                "mnist_5_epochs" => vec![mnist_5_epochs(&device)?],
                "cats_step" => cats_step(&device)?,
                "vgg16_infer" => vgg16_infer(&device)?,
                _ => {
                    println!("convnet {job} does not apply");
                    continue;
                }
            };
            times.sort_by(f64::total_cmp);
            println!("convnet {job} median {:.4} ms least {:.4} ms", times[times.len() / 2], times[0]);
        }
        Ok(())
    }

    /// Milliseconds a step, of each epoch but the first.
    fn steps<N: Network>(mut model: Model<N>, set: &impl DataFor<N::Input>, batch: usize) -> convnet::Result<Vec<f64>> {
        let options = Fit { epochs: 1 + EPOCHS, batch_size: batch, verbose: Verbose::Silent, ..Fit::default() };
        let history = model.fit(set, options)?;
        let steps = set.samples().len().div_ceil(batch) as f64;
        Ok(history.durations()[1..].iter().map(|time| 1e3 * time.as_secs_f64() / steps).collect())
    }

    fn digits(device: &Cuda) -> Model<Digits> {
        let model = Model::compile(RmsProp::default(), CategoricalCrossentropy::default()).seed(1);
        model.on(device.clone()).precision(precision::read())
    }

    fn mnist_step(device: &Cuda) -> convnet::Result<Vec<f64>> {
        steps(digits(device), &datasets::find_mnist(None)?.train, 64)
    }

    fn mnist_5_epochs(device: &Cuda) -> convnet::Result<f64> {
        let mnist = datasets::find_mnist(None)?;
        let start = Instant::now();
        let mut model = digits(device);
        let options = Fit { epochs: 5, batch_size: 64, verbose: Verbose::Silent, ..Fit::default() };
        model.fit(&mnist.train, options)?;
        let score = model.evaluate(&mnist.test)?;
        let time = 1e3 * start.elapsed().as_secs_f64();
        println!("convnet accuracy {:.4} after 5 epochs", score.accuracy);
        Ok(time)
    }

    fn noise(count: usize) -> Vec<f32> {
        let mut random = StdRng::seed_from_u64(0);
        (0..count).map(|_| random.random()).collect()
    }

    fn cats_step(device: &Cuda) -> convnet::Result<Vec<f64>> {
        let labels: Vec<u8> = noise(640).into_iter().map(|value| u8::from(value > 0.5)).collect();
        let set = ImageSet::<150, 150, 3>::new(noise(640 * 150 * 150 * 3), labels)?;
        let optimizer = RmsProp { learning_rate: 1e-4, ..RmsProp::default() };
        let model = Model::<Cats>::compile(optimizer, BinaryCrossentropy::default());
        steps(model.on(device.clone()).precision(precision::read()), &set, 32)
    }

    fn vgg16_infer(device: &Cuda) -> convnet::Result<Vec<f64>> {
        let images = noise(8 * 150 * 150 * 3);
        // An optimizer and a loss have to be named; neither is used.
        let model = Model::<Vgg16>::compile(Sgd::default(), MeanSquaredError::default());
        let mut model = model.on(device.clone()).precision(precision::read());
        let mut times = Vec::with_capacity(PREDICTIONS);
        for _ in 0..PREDICTIONS {
            let start = Instant::now();
            model.predict(&images)?;
            times.push(1e3 * start.elapsed().as_secs_f64());
        }
        // The first one compiles.
        times.remove(0);
        Ok(times)
    }
}
