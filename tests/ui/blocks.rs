//! Blocks where a network is needed.

use convnet::prelude::*;

convnet! {
    type Block = [Input(None, None, 4), Conv2D(4, 3, padding = "same")];
    type Features = [Input(None), Dense(4)];
    type Named<const CHANNELS: usize> = [Input(None, None, CHANNELS), ReLU()];
}

mod elsewhere {
    convnet::convnet! {
        pub type Block = [Input(None, None, 4), Conv2D(4, 3, padding = "same")];
    }
}

// The first layer brings no input along.
convnet! {
    type First = [elsewhere::Block, Flatten(), Dense(10)];
}

fn main() {
    let model = Model::<Block>::compile(Sgd::default(), MeanSquaredError::default());
    println!("{} {}", Features::PARAMS, Named::<3>::summary());
}
