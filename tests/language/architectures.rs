//! Known architectures have the parameters that Keras counts.

use convnet::prelude::*;

include!("../fixtures/architectures.rs");

fn counts<N: Network>() -> [usize; 4] {
    [N::PARAMS, N::TRAINABLE_PARAMS, N::NON_TRAINABLE_PARAMS, N::PLAN.layers.len()]
}

#[test]
fn architectures_have_the_parameters_of_keras() {
    assert_eq!(counts::<ResNet18>(), RESNET18);
    assert_eq!(counts::<Inception>(), INCEPTION);
    assert_eq!(counts::<ResNet50>(), RESNET50);
}

#[test]
fn small_ones_can_be_written_out() {
    assert_eq!(Trained::OUTPUT, TrainedFrozenNorm::OUTPUT);
    assert_eq!(Trained::PARAMS, TrainedFrozenNorm::PARAMS);
    assert_eq!(Trained::TRAINABLE_PARAMS, TrainedFrozenNorm::TRAINABLE_PARAMS + 16);
    assert_eq!(Regularized::PLAN.layers[0].weights()[0].l2, 0.001);
}
