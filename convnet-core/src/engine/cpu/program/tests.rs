//! How many steps and tensors some networks become.

use super::*;
use crate::layers::Window;
use crate::layers::activation::{Alone, Linear, Relu, Tanh};
use crate::layers::{
    batch_normalization, conv2d::Conv2D, dense::Dense, flatten::Flatten,
    global_average_pooling2d::GlobalAveragePooling2D, max_pooling2d::MaxPooling2D, reshape::Reshape,
};
use crate::shape::size::Map;
use crate::shape::walk::Valid;
use crate::{Definition, Network};
use typenum::{U1, U2, U3, U4, U10, U16, U100, U2048};

type Kernel = Conv2D<U16, Window<U3, U3, U1, U1, U1, U1, Valid>, Relu, true>;
type Halves = MaxPooling2D<Window<U2, U2, U2, U2, U1, U1, Valid>>;

/// 100 → (8, 8, 16) → 256 → 4 → 4 → 3: the convolution and its pooling are one step, as are the dense layer and its
/// activation.
struct Joined;

impl Definition for Joined {
    const NAME: &'static str = "Joined";
    type Input = Map<10, 10, 1>;
    type Sizes = (U10, U10, U1);
    type Layers = (((Kernel, Halves), Flatten), ((Dense<U4, Linear, true>, Alone<Tanh>), Dense<U3, Linear, true>));
}

/// The same values between convolution and pooling, but in another shape.
struct Reshaped;

impl Definition for Reshaped {
    const NAME: &'static str = "Reshaped";
    type Input = Map<10, 10, 1>;
    type Sizes = (U10, U10, U1);
    type Layers = ((Kernel, Reshape<(U16, U4, U16)>), Halves);
}

fn program(plan: &Plan) -> Program {
    Program::new(plan, &Settings { exact: true, ..Settings::default() })
}

#[test]
fn what_lies_inside_of_a_step_takes_no_room() {
    let program = program(&Joined::PLAN);
    assert_eq!(program.steps.len(), 3);
    assert_eq!(program.tensor_floats(), 100 + 256 + 4 + 3);
}

#[test]
fn no_kernel_reaches_over_a_reshape() {
    let program = program(&Reshaped::PLAN);
    assert_eq!(program.steps.len(), 2);
    assert_eq!(program.tensor_floats(), 100 + 1024 + 256);
}

/// Convolution, normalisation, relu and pooling, as ResNets have them.
struct Normalized;

impl Definition for Normalized {
    const NAME: &'static str = "Normalized";
    type Input = Map<10, 10, 1>;
    type Sizes = (U10, U10, U1);
    type Layers = ((Linear16, Norm), ((Alone<Relu>, Halves), Flatten));
}

type Linear16 = Conv2D<U16, Window<U3, U3, U1, U1, U1, U1, Valid>, Linear, false>;
type Norm = batch_normalization::BatchNormalization<{ 0.99_f64.to_bits() }, { 1e-3_f64.to_bits() }, true, true>;

#[test]
fn prediction_folds_what_training_takes_step_by_step() {
    let inexact = Program::new(&Normalized::PLAN, &Settings::default());
    assert_eq!((inexact.steps.len(), inexact.forward.len()), (3, 1));
    let exact = program(&Normalized::PLAN);
    assert_eq!((exact.steps.len(), exact.forward.len()), (3, 3));
}

/// 32 K weights behind 10 K values, and behind 164 K.
struct Small;
struct Large;

impl Definition for Small {
    const NAME: &'static str = "Small";
    type Input = Map<10, 10, 1>;
    type Sizes = (U10, U10, U1);
    type Layers = ((Kernel, GlobalAveragePooling2D<false>), Dense<U2048, Linear, true>);
}

impl Definition for Large {
    const NAME: &'static str = "Large";
    type Input = Map<100, 100, 1>;
    type Sizes = (U100, U100, U1);
    type Layers = ((Kernel, GlobalAveragePooling2D<false>), Dense<U2048, Linear, true>);
}

#[test]
fn a_dense_layer_takes_whole_batches_where_its_weights_are_many_beside_the_tensors() {
    let meets = |plan: &Plan, wide: usize| Program::new(plan, &Settings { wide, ..Settings::default() }).meets();
    let usual = Settings::default().wide;
    assert!(meets(&Small::PLAN, usual) && !meets(&Large::PLAN, usual));
    assert!(meets(&Large::PLAN, usual / 8) && !meets(&Small::PLAN, 2 * usual));
}
