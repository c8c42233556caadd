//! Whole jobs on real MNIST: the training step of the book's convnet (batch 64), and prediction.
//!
//! ```text
//! CONVNET_DATA=… cargo bench --bench step
//! ```

#[path = "../tests/support/digits.rs"]
mod digits;

use convnet::prelude::*;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use digits::Digits;

fn jobs(criterion: &mut Criterion) {
    let mnist = datasets::find_mnist(None).expect("digits");
    let quiet = |batch_size| Fit { batch_size, verbose: Verbose::Silent, ..Fit::default() };

    // Kernels that skip zeros are only fairly measured on a net that has learned something.
    let mut model = Model::<Digits>::compile(RmsProp::default(), CategoricalCrossentropy::default());
    model.fit(&mnist.train.take(12_800).expect("images"), quiet(64)).expect("training");

    let steps = 100;
    let set = mnist.train.take(64 * steps).expect("images");
    let mut group = criterion.benchmark_group("mnist_train");
    group.sample_size(20).throughput(Throughput::Elements(steps as u64));
    group.bench_function("100 steps of 64", |bencher| bencher.iter(|| model.fit(&set, quiet(64)).expect("training")));
    group.finish();

    let images: Vec<f32> = (0..1000).flat_map(|i| mnist.test.image(i).expect("an image")).collect();
    let mut group = criterion.benchmark_group("mnist_infer");
    for count in [1, 64, 1000] {
        let images = &images[..count * 784];
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(count.to_string(), |bencher| bencher.iter(|| model.predict(images).expect("prediction")));
    }
    group.finish();
}

criterion_group!(benches, jobs);
criterion_main!(benches);
