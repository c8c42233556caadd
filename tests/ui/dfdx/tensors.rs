//! dfdx tensors of another shape than the network's.

use convnet::dfdx::dfdx::shapes::{Rank1, Rank4};
use convnet::dfdx::dfdx::tensor::ZerosTensor;
use convnet::dfdx::prelude::*;
use convnet::prelude::convnet;

convnet! {
    type Digits = [Input(28, 28, 1), Conv2D(4, 3), Flatten(), Dense(10, activation = "softmax")];
    type Block = [Input(None, None, 4), Conv2D(4, 3)];
}

struct NoNetwork;

fn main() {
    let dev = Cpu::default();
    let module = dev.build_module::<Digits, f32>();

    // Channels first, as dfdx's own modules have them; no channels; no batch.
    module.forward(dev.zeros::<Rank4<64, 1, 28, 28>>());
    module.forward(dev.zeros_like(&(64usize, Px::<typenum::U28>::new(), Px::<typenum::U28>::new())));
    module.forward(dev.zeros::<Rank1<784>>());
    // Another size.
    module.forward(dev.zeros_like(&(
        64usize,
        Px::<typenum::U32>::new(),
        Px::<typenum::U32>::new(),
        Px::<typenum::U1>::new(),
    )));
    // A batch of 64 where one of 32 was promised.
    let images: InputOf<Digits, Const<32>> = dev.inputs::<Digits, _>(Const::<64>, vec![0.0; 64 * 784]).unwrap();

    // A block has no size of its own.
    let images = dev.inputs::<Block, _>(64, vec![0.0; 64]).unwrap();
    let module = dev.build_module::<Block, f32>();
    let module = dev.build_module::<NoNetwork, f32>();
}
