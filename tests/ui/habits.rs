//! What hands that are used to Keras and PyTorch write.

use convnet::prelude::*;

convnet! {
    type Swapped = [Input(28, 28, 1), Conv2D((3, 3), 32), Flatten(), Dense(10)];
    type Spread = [Input(28, 28, 1), Reshape(14, 14, 4), Flatten(), Dense(10)];
    type Called = [Input(28, 28, 1), Conv2D(8, 3)(x), Add()([x, y]), Flatten(), Dense(10)];
    type Inside = [Input(28, 28, 1), Sequential([Conv2D(8, 3)]), Flatten(), Dense(10)];
    type Functions = [Input(28, 28, 1), Conv2D(8, 3, activation = tf.nn.relu), Flatten(), Dense(10, activation = "gelu")];
    type Itself = [Input(4), Itself, Dense(2)];
    type Block<const C: usize> = [Input(None, None, C), ReLU()];
    type Rounded = [Input(4, 4, 1), Block(1), Flatten(), Dense(2)];
    type Absent = [Input(8, 8, 2), LayerNormalization(), Conv2DTranspose(8, 3), Multiply([ReLU()], []), Flatten(), Dense(2)];
    type Part = [Input(4), Dense(4)];
    pub type Whole = [Input(4), Part, Dense(2)];
}

fn main() {
    println!("{} {} {}", Swapped::PARAMS, Called::PARAMS, Whole::PARAMS);
}
