//! The densely connected net of chapter 2 beside the convnet of section 5.1, on the same data: how many of its errors
//! the convnet does not make ("we decreased the error rate by 68 % (relative)", as the book has it).
//!
//! ```text
//! cargo run --release --example dense_baseline
//! ```

mod options;

use clap::Parser;
use convnet::prelude::*;

convnet! {
    /// Listing 2.2.
    type DenseNet = [
        Input(28, 28, 1),
        Flatten(),
        Dense(512, activation = "relu"),
        Dense(10, activation = "softmax"),
    ];

    /// Listings 5.1 and 5.2.
    type Convnet = [
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

type Digits = convnet::shape::size::Map<28, 28, 1>;

fn main() -> convnet::Result<()> {
    let options = options::Options::parse();
    let mnist = options.mnist()?;

    println!("\nChapter 2, {} parameters:", DenseNet::PARAMS);
    let dense = accuracy::<DenseNet>(&options, &mnist, 128, "dense_net.svg")?;
    println!("\nSection 5.1, {} parameters:", Convnet::PARAMS);
    let convnet = accuracy::<Convnet>(&options, &mnist, 64, "convnet.svg")?;

    println!("\ndense net {dense:.4}, convnet {convnet:.4}");
    println!("relative drop in error {:.0} %", 100.0 * (1.0 - (1.0 - convnet) / (1.0 - dense)));
    Ok(())
}

/// Trains a network of type `N`, plots the training into `file`, and gives the accuracy on the test set.
fn accuracy<N: Network<Input = Digits>>(
    options: &options::Options,
    mnist: &datasets::Mnist,
    batch_size: usize,
    file: &str,
) -> convnet::Result<f32> {
    let model = Model::<N>::compile(RmsProp::default(), CategoricalCrossentropy::default());
    let mut model = options.apply(model);
    let history = model.fit(&mnist.train, options.fit(batch_size))?;
    if let Some(file) = options.out_file(file)? {
        history.plot(&file)?;
        println!("curves: {}", file.display());
    }
    Ok(model.evaluate(&mnist.test)?.accuracy)
}
