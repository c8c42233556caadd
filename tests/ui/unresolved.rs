//! Names that nobody knows: the compiler's own messages, on the listing's own tokens.

use convnet::prelude::*;

mod elsewhere {
    convnet::convnet! {
        type Private = [Input(8, 8, 3), Flatten()];
    }
}

convnet! {
    type Size = [Input(3, 3, 1), Flatten(), Dense(NOWHERE), Dense(2 * sizes::NOWHERE)];
    type NoNetwork = [elsewhere::Nowhere, Flatten(), Dense(10)];
    type NoBlock = [Input(8, 8, 3), Residual<64>, Flatten(), Dense(10)];
    type NotANetwork = [String, Flatten(), Dense(10)];
    type NotABlock = [Input(8, 8, 3), Add([String], []), Repeat(2, [String]), Flatten(), Dense(10)];
    type NotVisible = [elsewhere::Private, Dense(10)];
}

fn main() {
    type Lone = convnet![Con];
    let _ = std::marker::PhantomData::<Lone>;
}
