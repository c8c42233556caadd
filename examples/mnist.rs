//! Section 5.1 of the book: a small convnet learns to read digits.
//!
//! ```text
//! cargo run --release --example mnist
//! ```

mod options;

use clap::Parser;
use convnet::prelude::*;

convnet! {
    /// Listings 5.1 and 5.2.
    pub type Digits = [
        Input(28, 28, 1),
        Conv2D(32, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Conv2D(64, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Conv2D(64, (3, 3), activation = "relu"),
        Flatten(),
        Dense(64, activation = "relu"),
        Dense(10, activation = "softmax"),
    ];
}

fn main() -> convnet::Result<()> {
    let options = options::Options::parse();
    let mnist = options.mnist()?;
    println!("{}", Digits::summary());

    let model = Model::<Digits>::compile(RmsProp::default(), CategoricalCrossentropy::default());
    let mut model = options.apply(model);
    let history = model.fit(&mnist.train, options.fit(64))?;
    let score = model.evaluate(&mnist.test)?;

    if let Some(file) = options.out_file("digits.safetensors")? {
        model.save(&file)?;
        println!("weights: {}", file.display());
    }
    if let Some(file) = options.out_file("mnist.svg")? {
        history.plot(&file)?;
        println!("curves: {}", file.display());
    }
    println!("test accuracy {:.4} loss {:.4}", score.accuracy, score.loss);
    Ok(())
}
