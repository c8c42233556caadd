//! Names of layers, in the listing and in files.

use convnet::prelude::*;

convnet! {
    type Doubled = [Input(28, 28, 1), Conv2D(32, 3, name = "conv"), Conv2D(32, 3, name = "conv"), Flatten(), Dense(10)];
    type LikeALaterCounted = [Input(28, 28, 1), Conv2D(32, 3, name = "conv2d_1"), Conv2D(32, 3), Flatten(), Dense(10)];
    type LikeAnEarlierCounted = [Input(28, 28, 1), Conv2D(32, 3), Conv2D(32, 3, name = "conv2d_1"), Flatten(), Dense(10)];
    type OfAnotherKind = [Input(28, 28, 1), ReLU(), BatchNormalization(name = "re_lu_1"), Flatten(), Dense(10)];
    type OfAMerge = [Input(28, 28, 1), Add([ReLU(name = "sum")], [], name = "sum"), Flatten(), Dense(10)];
    type AcrossBranches = [Input(28, 28, 1), Add([ReLU(name = "a")], [ReLU(name = "a")]), Flatten(), Dense(10)];
    type Empty = [Input(28, 28, 1), Flatten(name = ""), Dense(10)];
    type Slash = [Input(28, 28, 1), Flatten(name = "block1/flatten"), Dense(10)];
    type Long = [
        Input(28, 28, 1),
        Flatten(name = "a_name_that_goes_on_and_on_and_on_and_on_and_on_and_on_until_65_b"),
        Dense(10),
    ];
    type NoText = [Input(28, 28, 1), Flatten(name = flat), Dense(10, name = 3)];
}

fn main() {
    println!("{}", Doubled::PARAMS);
}
