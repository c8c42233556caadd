//! The grammar of a listing: its layers, brackets, commas, its input.

use convnet::prelude::*;

convnet! {
    type UnknownLayers = [Input(28, 28, 1), Conv2d(32, 3), MaxPool2D(2), Flaten(), Lineer(10), Wavelet(3), Linear(10)];
    type FromElsewhere = [
        Input(28, 28, 1),
        BatchNorm2d(32),
        Relu(),
        AdaptiveAvgPool2d(1),
        Dense(4),
        Sum([ReLU()], []),
        Concat([ReLU()], []),
        Dense(10),
    ];
    type NotYet = [Input(28, 28, 1), LayerNormalization(), RandomFlip("horizontal"), Flatten(), Dense(10)];
    type NotYetShape = [Input(28, 28, 1), Conv2DTranspose(8, 3), Flatten(), Dense(10)];
    type NearlyNotYet = [Input(28, 28, 1), Conv2DTransposed(8, 3), Flatten(), Dense(10)];
    type UnknownAlone = [Input(28, 28, 1), Wavelet(), Flatten(), Dense(10)];
    type NoParentheses = [Input(28, 28, 1), Conv2D, BatchNormalization, Flatten, Dense(10)];
    type WrongParentheses = [Input(28, 28, 1), Conv2D[32, 3], Flatten {}, Dense(10)];
    type NoCommas = [
        Input(28, 28, 1)
        Conv2D(32, 3),
        Flatten()
        Dense(10)
    ];
    type Commas = [Input(28, 28, 1),, Flatten(), Dense(10);];
    type NoLayer = [Input(28, 28, 1), 32, "Flatten", Flatten(), Dense(10)];
    type Chained = [Input(28, 28, 1), Conv2D(32, 3), Flatten() -> Dense(10)];
    type Empty = [];
    type InputAlone = [Input(28, 28, 1)];
    type NoInput = [Conv2D(32, 3), Flatten(), Dense(10)];
    type NoVectorInput = [Dense(10)];
    type NoInputForBranches = [Add([Conv2D(4, 3)], []), Flatten(), Dense(10)];
    type InputLate = [Conv2D(32, 3), Input(28, 28, 1), Flatten(), Dense(10)];
    type InputTwice = [Input(28, 28, 1), Input(28, 28, 1), Flatten(), Dense(10)];
    type InputAndInputShape = [Input(28, 28, 1), Conv2D(32, 3, input_shape = (28, 28, 1)), Flatten(), Dense(10)];
    type InputShapeLate = [Conv2D(32, 3, input_shape = (28, 28, 1)), Flatten(), Dense(10, input_shape = (5408,))];
    type LowerCase = [Input(28, 28, 1), flatten, model, Dense(10)];
    type WithPath = [Input(28, 28, 1), layers::Flatten(), Dense(10)];
}

convnet! {
    type Round = (Input(28, 28, 1), Flatten(), Dense(10));
    type Curly = { Input(28, 28, 1), Flatten(), Dense(10) };
    type NoSemicolon = [Input(28, 28, 1), Flatten(), Dense(10)]
    type NoListing;
    type NoBrackets = Flatten;
    struct Struct = [Input(28, 28, 1), Flatten(), Dense(10)];
    NoKeyword = [Input(28, 28, 1), Flatten(), Dense(10)];
    type Lifetime<'a> = [Input(28, 28, 1), Flatten(), Dense(10)];
    type TypeParameter<T> = [Input(28, 28, 1), Flatten(), Dense(10)];
    type OtherConst<const N: u32> = [Input(28, 28, 1), Flatten(), Dense(10)];
    type Where<const N: usize> where T: Copy = [Input(28, 28, 1), Flatten(), Dense(N)];
    pub type = [Input(28, 28, 1), Flatten(), Dense(10)];
    type match = [Input(28, 28, 1), Flatten(), Dense(10)];
    type NoSemicolonAtTheEnd = [Input(28, 28, 1), Flatten(), Dense(10)]
}

convnet! {}

fn main() {
    type Nothing = convnet![];
    type Lone = convnet![conv];
    type Comma = convnet![, Dense(10)];
    let _ = std::marker::PhantomData::<(Nothing, Lone, Comma)>;
    println!("{} {} {}", UnknownLayers::PARAMS, NoParentheses::PARAMS, Round::PARAMS);
}
