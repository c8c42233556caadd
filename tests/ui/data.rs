//! Data sets, models and options of another shape than the network's.

use convnet::prelude::*;

convnet! {
    type Digits = [Input(28, 28, 1), Flatten(), Dense(10, activation = "softmax")];
    type Vectors = [Input(784), Dense(10, activation = "softmax")];
}

struct NoNetwork;

fn images() -> convnet::Result<()> {
    let colours = ImageSet::<32, 32, 3>::new(vec![0u8; 3072], [0])?;
    let digits = ImageSet::<28, 28, 1>::new(vec![0u8; 784], [0])?;
    let mut model = Model::<Digits>::compile(RmsProp::default(), CategoricalCrossentropy::default());
    model.fit(&colours, Fit::default())?;
    model.evaluate(&colours)?;
    model.fit(&digits, Fit { validation: Some(&colours), ..Fit::default() })?;
    model.fit(digits, Fit::default())?;
    model.fit(&vec![0.0f32; 784], Fit::default())?;
    model.predict(&digits)?;
    model.fit(&digits, Fit { epochs: 5, batchsize: 64, ..Fit::default() })?;
    Ok(())
}

fn vectors() -> convnet::Result<()> {
    let digits = ImageSet::<28, 28, 1>::new(vec![0u8; 784], [0])?;
    let mut model = Model::<Vectors>::compile(Sgd::default(), CategoricalCrossentropy::default());
    model.fit(&digits, Fit::default())?;
    Ok(())
}

fn labels() -> convnet::Result<()> {
    ImageSet::<28, 28, 1>::new(vec![0u8; 784], [0.5f32])?;
    ImageSet::<28, 28, 1>::new(vec![0u8; 784], vec!["cat"])?;
    ImageSet::<28, 28, 1>::new(vec![0u64; 784], [1])?;
    VectorSet::<4>::new(vec![[0f32; 4]], [1])?;
    Ok(())
}

fn models() {
    let model = Model::<NoNetwork>::compile(Sgd::default(), MeanSquaredError::default());
    let model = Model::<Digits>::compile("rmsprop", "categorical_crossentropy");
    let model = Model::<Digits>::compile(Sgd::default(), MeanSquaredError::default()).on("cuda");
    println!("{}", NoNetwork::PARAMS);
}

fn main() {}
