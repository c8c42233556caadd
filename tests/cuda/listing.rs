//! What a network launches, looked at without running it.

use super::*;
use convnet::engine::cuda::Listing;

/// NVRTC takes the kernels of the networks for GPUs of four generations, and the launches of all go together. Each compilation
/// takes two seconds: with `CONVNET_THOROUGH` in the environment all are made for all, else every third network is
/// compiled for one generation in turn.
#[test]
fn all_kernels_compile_for_all_generations() {
    const GENERATIONS: [(i32, i32); 4] = [(7, 5), (8, 0), (9, 0), (10, 0)];
    let thorough = std::env::var_os("CONVNET_THOROUGH").is_some();
    let loss = CategoricalCrossentropy::default().into();
    let mut skipped = None;
    let mut compile =
        |name: &str, plan: &convnet::plan::Plan, optimizer: Optimizer, precision, capability: (i32, i32)| {
            // Older GPUs have no tensor cores for lower precisions.
            let precision = if capability.0 < 8 { Precision::F32 } else { precision };
            match Listing::new(plan, &optimizer, &loss, 32, precision).compile(capability) {
                Ok(bytes) => assert!(bytes > 0),
                Err(error) if error.to_string().contains("NVRTC, the compiler of kernels, is not there") => {
                    skipped = Some(error)
                }
                Err(error) => panic!("{name} for {capability:?}: {error}"),
            }
        };
    let mut numbers = 0..;
    macro_rules! check {
        ($net:ty, $name:literal) => {
            let (plan, number) = (<$net>::PLAN, numbers.next().unwrap());
            Listing::new(&plan, &Adam::default().into(), &loss, 32, Precision::Tf32).check().unwrap();
            for (turn, capability) in GENERATIONS.into_iter().enumerate() {
                if thorough || number % 12 == 3 * turn {
                    compile($name, &plan, Adam::default().into(), Precision::Tf32, capability);
                }
            }
        };
    }
    for_each_layer_net!(check);
    for_each_net!(check);
    for capability in GENERATIONS {
        for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
            compile("Digits", &Digits::PLAN, RmsProp::default().into(), precision, capability);
        }
        compile("Busy", &Busy::PLAN, Sgd::default().into(), Precision::F32, capability);
    }
    if let Some(error) = skipped {
        eprintln!("skipped: {error}");
    }
}

/// What a step of the book's first convnet launches: as few kernels as its layers allow.
#[test]
fn a_step_is_a_short_list() {
    let (optimizer, loss) = (RmsProp::default().into(), CategoricalCrossentropy::default().into());
    let listing = Listing::new(&Digits::PLAN, &optimizer, &loss, 64, Precision::Tf32);
    listing.check().unwrap();
    let step = listing.training_step();
    let names: Vec<&str> = step.iter().filter_map(|line| line.split(' ').next()).collect();
    let count = |name: &str| names.iter().filter(|found| **found == name).count();
    assert_eq!((names[0], names[names.len() - 1]), ("gather", "update"));
    // Five layers with weights, of which the first has no gradient of its input.
    let products = ["convolve_forward", "convolve_backward_input", "convolve_backward_weights"];
    assert_eq!(products.map(count), [5, 4, 5], "{step:#?}");
    assert_eq!(
        ["max_pooling2d_forward", "max_pooling2d_backward", "loss", "tally", "update"].map(count),
        [2, 2, 1, 1, 1]
    );
    assert!(names.len() <= 26, "{step:#?}");
    // Values, gradients and parts of them, in places that they share.
    assert!(listing.work() < 48 << 20, "{} bytes", listing.work());
}

/// Activations behind normalisations and sums are part of them, and all moving statistics follow in one launch.
#[test]
fn a_normalised_step_passes_over_its_maps_once() {
    convnet! {
        type Joined = [
            Input(12, 12, 3),
            Conv2D(8, 3, padding = "same", use_bias = false),
            BatchNormalization(),
            Activation("relu"),
            Add([Conv2D(8, 3, padding = "same"), BatchNormalization()], [], [Conv2D(8, 1)]),
            Activation("relu"),
            Flatten(),
            Dense(3, activation = "softmax"),
        ];
    }
    let (optimizer, loss) = (RmsProp::default().into(), CategoricalCrossentropy::default().into());
    let listing = Listing::new(&Joined::PLAN, &optimizer, &loss, 16, Precision::Tf32);
    listing.check().unwrap();
    let step = listing.training_step();
    let count = |name: &str| step.iter().filter(|line| line.split(' ').next() == Some(name)).count();
    // The sum of three tensors is made of two.
    assert_eq!(["normalization_normalize", "add_forward", "activation_forward"].map(count), [2, 2, 0], "{step:#?}");
    assert_eq!((count("update"), count("normalization_follow")), (1, 1), "{step:#?}");
}
