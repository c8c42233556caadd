//! Blocks: where they can stand, and what they take.

use convnet::prelude::*;

convnet! {
    type Block = [Input(None, None, 8), Add([Conv2D(8, 3, padding = "same")], [])];
    type Halves<const F: usize> = [Input(None, None, F), Conv2D(2, 3), MaxPooling2D(2)];

    type First = [Block, Flatten(), Dense(10)];
    type Takes = [Input(28, 28, 1), Block, Flatten(), Dense(10)];
    type Fits = [Input(4, 4, 2), Halves<2>, Halves<2>, Flatten(), Dense(10)];
    type Rounds = [Input(14, 14, 2), Repeat(3, [Halves<2>]), Flatten(), Dense(10)];
    type Frozen = [Input(28, 28, 8), Block(trainable = False), Block(name = "block"), Block(3), Block(), Flatten()];
    type Faulty = [Input(None, None, 8), Dense(10)];
    type Branches = [Input(None, 4, 8), Add([Conv2D(4, 1)], [])];
}

mod elsewhere {
    convnet::convnet! {
        pub type Halves<const F: usize> = [Input(None, None, F), Conv2D(2, 3), MaxPooling2D(2)];
    }
}

// What only the compiler sees.
convnet! {
    type OpenTakes = [Input(28, 28, 1), elsewhere::Halves<2>, Flatten(), Dense(10)];
    type OpenFits = [Input(8, 8, 2), elsewhere::Halves<2>, elsewhere::Halves<2>(trainable = false), Flatten()];
    type OpenRounds = [Input(14, 14, 2), Repeat(3, [elsewhere::Halves<2>]), Flatten(), Dense(10)];
    type OpenFirst = [elsewhere::Halves<2>, Flatten(), Dense(10)];
}

fn main() {
    let _: Option<Model<Block>> = None;
    println!("{}", First::PARAMS);
}
