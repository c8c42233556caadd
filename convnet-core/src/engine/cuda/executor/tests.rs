//! Sets that do not fit on the device, and products that are measured.

use super::{Executor, Outcome, Settings};
use crate::data::Samples;
use crate::engine::Precision;
use crate::engine::cuda::Cuda;
use crate::engine::cuda::backend::Role;
use crate::engine::cuda::program::{Kind, Set, graph, questions};
use crate::layers::activation::{Linear, Relu};
use crate::layers::{dense::Dense, flatten::Flatten};
use crate::shape::Shape;
use crate::shape::size::Map;
use crate::train::{CategoricalCrossentropy, Sgd};
use crate::{Definition, Network};
use typenum::{U1, U3, U4, U6};

struct Small;

impl Definition for Small {
    const NAME: &'static str = "Small";
    type Input = Map<4, 6, 1>;
    type Sizes = (U4, U6, U1);
    type Layers = ((Flatten, Dense<U6, Relu, true>), Dense<U3, Linear, true>);
}

/// An epoch in batches of 4 and an evaluation of all but the first two images, with this much memory for a set.
fn run(host: &Cuda, samples: &Samples, set_bytes: Option<usize>) -> (Vec<f32>, Outcome, Outcome) {
    let plan = Small::PLAN;
    let loss = CategoricalCrossentropy { from_logits: true, ..CategoricalCrossentropy::default() }.into();
    let settings =
        Settings { precision: Precision::F32, measured: true, optimizer: Sgd::default().into(), loss, seed: 1 };
    let mut executor = Executor::new(&plan, settings, host).unwrap();
    executor.set_bytes = set_bytes;
    let weights: Vec<f32> = (0..plan.params).map(|i| ((i * 37 % 19) as f32 - 9.0) / 30.0).collect();
    let (mut current, mut previous) = (weights.clone(), vec![0.0; plan.params]);
    let order: Vec<u32> = (0..samples.len() as u32).rev().collect();
    let training = executor.begin(samples, samples.len(), 4, None, (&weights, &previous, &[])).unwrap();
    assert_eq!(training.set.whole, set_bytes.is_none());
    let epoch = executor.epoch(&training, samples, &order, 0).unwrap();
    executor.end(super::Weights { current: &mut current, previous: &mut previous, slots: &mut [] }).unwrap();
    let evaluation = executor.evaluate(samples, 2..samples.len(), &current).unwrap();
    (current, epoch, evaluation)
}

/// Whether an epoch that cuts products as measured computes the same, and which products were measured.
#[test]
fn products_are_cut_as_measured() {
    let labels: Vec<u8> = (0..23).map(|i| (i % 3) as u8).collect();
    let bytes: Vec<u8> = (0..23 * 24).map(|i| (i * 7 % 256) as u8).collect();
    let samples = Samples::new(Shape::map(4, 6, 1), bytes, &labels[..]).unwrap();
    let [host, measuring] = match [Cuda::host(false), Cuda::host_like(false, 132)] {
        [Ok(host), Ok(measuring)] => [host, measuring],
        [Err(error), _] | [_, Err(error)] => return eprintln!("skipped: {error}"),
    };
    let (plan, graph) = (Small::PLAN, graph(&Small::PLAN));
    let set = Set { role: Role::Training, bytes: true, images: 23, order: 23 };
    let names = |images, exact: bool| {
        let loss = CategoricalCrossentropy { from_logits: true, ..CategoricalCrossentropy::default() }.into();
        let (precision, measured) = (Precision::F32, !exact);
        let settings = Settings { precision, measured, optimizer: Sgd::default().into(), loss, seed: 1 };
        let mut executor = Executor::new(&plan, settings, &measuring).unwrap();
        executor.prepare(&[Kind::Train { set, images }]).unwrap();
        let properties = executor.backend.properties();
        let asked = questions(&plan, &graph, Kind::Train { set, images }, precision, properties);
        asked.iter().map(|question| executor.choices.has(&question.name)).collect::<Vec<_>>()
    };
    // Two layers forward, one back to its input, and both weights.
    assert_eq!(names(23, false), [true; 5]);
    assert_eq!(names(23, true), [false; 5]);
    let [found, expected] = [&measuring, &host].map(|machine| run(machine, &samples, None));
    let largest = expected.0.iter().fold(0.0, |largest: f32, weight| largest.max(weight.abs()));
    for (found, expected) in found.0.iter().zip(&expected.0) {
        assert!((found - expected).abs() < 1e-6 * largest, "{found} instead of {expected}");
    }
    assert!((found.1.loss - expected.1.loss).abs() < 1e-6 * expected.1.loss, "{:?}, {:?}", found.1, expected.1);
}

#[test]
fn a_set_that_does_not_fit_goes_through_in_windows() {
    let host = match Cuda::host(false) {
        Ok(host) => host,
        Err(error) => return eprintln!("skipped: {error}"),
    };
    let labels: Vec<u8> = (0..23).map(|i| (i % 3) as u8).collect();
    let bytes: Vec<u8> = (0..23 * 24).map(|i| (i * 7 % 256) as u8).collect();
    let floats: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let shape = Shape::map(4, 6, 1);
    let sets = [Samples::new(shape, bytes, &labels[..]), Samples::new(shape, floats, &labels[..])];
    let mut found = Vec::new();
    for samples in sets.map(Result::unwrap) {
        // Room for nine images as bytes or two as floats: windows of eight or of one batch of four.
        for set_bytes in [None, Some(9 * 28)] {
            found.push(run(&host, &samples, set_bytes));
        }
    }
    assert_eq!(found[0].1.steps, 6);
    // Gathered or not, byte or float: the same images in the same batches.
    assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
}
