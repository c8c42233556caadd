//! A small residual network (He et al. 2015) on MNIST: a block defined once, repeated at two sizes, merged with its
//! shortcut. Its moving statistics follow within a few steps (`momentum = 0.9`): with 0.99, the default of Keras and of
//! this crate, they lag behind weights that move as fast as these, and so does the accuracy that is measured with them.
//!
//! ```text
//! cargo run --release --example residual
//! ```

mod options;

use clap::Parser;
use convnet::prelude::*;

convnet! {
    /// Two convolutions and a shortcut around them, for maps of any size with `F` channels.
    pub type Residual<const F: usize> = [
        Input(None, None, F),
        Add([
            Conv2D(F, (3, 3), padding = "same", use_bias = false),
            BatchNormalization(momentum = 0.9),
            ReLU(),
            Conv2D(F, (3, 3), padding = "same", use_bias = false),
            BatchNormalization(momentum = 0.9),
        ], []),
        ReLU(),
    ];

    /// Six blocks' worth of convolutions, no dense layer but the last.
    pub type ResidualDigits = [
        Input(28, 28, 1),
        Conv2D(16, (3, 3), strides = 2, padding = "same", use_bias = false),
        BatchNormalization(momentum = 0.9),
        ReLU(),
        Repeat(2, [Residual<16>]),
        Conv2D(32, (3, 3), strides = 2, padding = "same", use_bias = false),
        BatchNormalization(momentum = 0.9),
        ReLU(),
        Repeat(2, [Residual<32>]),
        GlobalAveragePooling2D(),
        Dropout(0.3),
        Dense(10, activation = "softmax"),
    ];
}

fn main() -> convnet::Result<()> {
    let options = options::Options::parse();
    let mnist = options.mnist()?;
    println!("{}", ResidualDigits::summary());

    let model = Model::<ResidualDigits>::compile(Adam::default(), CategoricalCrossentropy::default());
    let mut model = options.apply(model);
    model.fit(&mnist.train, options.fit(64))?;
    let score = model.evaluate(&mnist.test)?;

    if let Some(file) = options.out_file("residual.safetensors")? {
        model.save(&file)?;
        println!("weights: {}", file.display());
    }
    if let Some(file) = options.out_file("residual.onnx")? {
        model.export_onnx(&file)?;
        println!("for ONNX Runtime: {}", file.display());
    }
    println!("test accuracy {:.4} loss {:.4}", score.accuracy, score.loss);
    Ok(())
}
