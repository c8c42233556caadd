//! Training with dfdx's own optimizers and losses, and the weights' ways in and out.
#![cfg(feature = "dfdx")]

mod naive;
mod nets;

use convnet_core::dfdx::prelude::*;
use convnet_core::dfdx::{Slot, dfdx};
use convnet_core::layers::activation::{Alone, Linear, Relu, Softmax};
use convnet_core::layers::batch_normalization::BatchNormalization;
use convnet_core::layers::composition::Add;
use convnet_core::layers::conv2d::Conv2D;
use convnet_core::layers::dense::Dense;
use convnet_core::layers::dropout::Dropout;
use convnet_core::layers::flatten::Flatten;
use convnet_core::layers::global_average_pooling2d::GlobalAveragePooling2D;
use convnet_core::layers::settings::{HeNormal, Ones};
use convnet_core::layers::{Initialized, Merge, Repeat};
use convnet_core::shape::size::{Map, Num};
use convnet_core::shape::walk::Same;
use convnet_core::{Network, Result, Sequential};
use dfdx::optim::{Adam, AdamConfig, Momentum, Sgd, SgdConfig};
use dfdx::shapes::ConstShape;
use naive::numbers;
use nets::*;
use std::path::PathBuf;
use typenum::{U1, U2, U3, U4, U8, U12, U64};

/// 32 noisy images of a bright bar, one column to each class.
fn bars() -> (Vec<f32>, Vec<usize>) {
    let classes: Vec<usize> = (0..32).map(|image| image % 10).collect();
    let mut pixels = numbers(5, classes.len() * 28 * 28);
    for (image, &class) in pixels.chunks_exact_mut(28 * 28).zip(&classes) {
        for row in image.chunks_exact_mut(28) {
            row[2 + 2 * class] += 3.0;
        }
    }
    (pixels, classes)
}

/// The losses of `steps` steps on one batch.
fn train(
    model: &mut BuiltOf<Digits>,
    mut optimizer: impl Optimizer<BuiltOf<Digits>, Cpu, f32>,
    steps: usize,
) -> Result<Vec<f32>> {
    let dev = Cpu::default();
    let (pixels, classes) = bars();
    let images = dev.inputs::<Digits, _>(Const::<32>, pixels)?;
    let targets = dev.one_hot::<Digits, _>(Const::<32>, &classes)?;
    let mut gradients = model.alloc_grads();
    let mut losses = Vec::new();
    for _ in 0..steps {
        let logits = model.logits(images.clone().traced(gradients));
        let loss = cross_entropy_with_logits_loss(logits, targets.clone());
        losses.push(loss.array());
        gradients = loss.backward();
        optimizer.update(model, &gradients).expect("every weight has a gradient");
        model.zero_grads(&mut gradients);
    }
    Ok(losses)
}

#[test]
fn sgd_lowers_the_loss() -> Result<()> {
    let mut model = Cpu::default().build_module::<Digits, f32>();
    let optimizer = Sgd::new(&model, SgdConfig { lr: 0.05, ..Default::default() });
    let losses = train(&mut model, optimizer, 20)?;
    assert!(losses[19] < 0.5 * losses[0], "{losses:?}");
    Ok(())
}

#[test]
fn adam_learns_the_batch() -> Result<()> {
    let mut model = Cpu::default().build_module::<Digits, f32>();
    let optimizer = Adam::new(&model, AdamConfig::default());
    let losses = train(&mut model, optimizer, 25)?;
    assert!(losses[24] < 0.1 * losses[0], "{losses:?}");

    let (pixels, classes) = bars();
    let rows = model.forward(Cpu::default().inputs::<Digits, _>(32, pixels)?).as_vec();
    for (row, class) in rows.chunks_exact(10).zip(classes) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "probabilities: {row:?}");
        assert!(row[class] > 0.5, "class {class}: {row:?}");
    }
    Ok(())
}

/// A sigmoid's logits and dfdx's binary loss; a network on a network.
#[test]
fn binary_networks_train() -> Result<()> {
    let dev = Cpu::default();
    let mut model = dev.build_module::<OnBase, f32>();
    let images = dev.inputs::<OnBase, _>(8, numbers(3, 8 * 9 * 9 * 2))?;
    let targets = dev.outputs::<OnBase, _>(8, vec![1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0])?;
    let mut optimizer = Adam::new(&model, AdamConfig { lr: 0.01, ..Default::default() });
    let mut losses = Vec::new();
    for _ in 0..30 {
        let logits = model.logits(images.clone().traced(model.alloc_grads()));
        let loss = binary_cross_entropy_with_logits_loss(logits, targets.clone());
        losses.push(loss.array());
        optimizer.update(&mut model, &loss.backward()).expect("every weight has a gradient");
    }
    assert!(losses[29] < 0.2 * losses[0], "{losses:?}");
    Ok(())
}

#[test]
fn parameters_are_those_of_the_plan() {
    let dev = Cpu::default();
    assert_eq!(dev.build_module::<Digits, f32>().num_trainable_params(), Digits::PARAMS);
    assert_eq!(dev.build_module::<OnBase, f32>().num_trainable_params(), OnBase::PARAMS);
    assert_eq!(dev.build_module::<Odd, f32>().num_trainable_params(), Odd::PARAMS);
    assert_eq!(dev.build_module::<Classifier<3>, f32>().num_trainable_params(), Classifier::<3>::PARAMS);
    assert!(dev.build_module::<Nothing, f32>().to_flat().is_empty());
}

/// Every bit pattern comes through, NaNs, infinities and both zeros among them.
#[test]
fn flat_weights_come_back_bit_for_bit() -> Result<()> {
    let mut model = Cpu::default().build_module::<OnBase, f32>();
    let mut weights = numbers(9, OnBase::PARAMS);
    let special = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-45, f32::MAX];
    weights[70..70 + special.len()].copy_from_slice(&special);
    model.from_flat(&weights)?;
    let bits = |weights: &[f32]| weights.iter().map(|weight| weight.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&model.to_flat()), bits(&weights));
    Ok(())
}

#[test]
fn flat_weights_lie_where_the_plan_says() -> Result<()> {
    let mut model = Cpu::default().build_module::<OnBase, f32>();
    let weights = numbers(10, OnBase::PARAMS);
    model.from_flat(&weights)?;
    let expected: Vec<&[f32]> = OnBase::PLAN.weights().map(|(_, weight)| &weights[weight.range()]).collect();
    let ((conv, _), (_, dense)) = &model.layers;
    let found = [flat(&conv.weights.0), flat(&conv.weights.1), flat(&dense.weights.0), flat(&dense.weights.1)];
    assert_eq!(found.as_slice(), expected);
    Ok(())
}

fn flat<R, S: ConstShape>(slot: &Slot<R, S>) -> Vec<f32> {
    slot.tensor().map(Tensor::as_vec).unwrap_or_default()
}

#[test]
fn a_wrong_number_of_weights_is_an_error_and_changes_nothing() {
    let mut model = Cpu::default().build_module::<OnBase, f32>();
    let before = model.to_flat();
    let error = model.from_flat(&[0.0; 7]).expect_err("141 weights are needed");
    assert_eq!(error.to_string(), "weights of the network `OnBase`: expected 141, found 7");
    assert_eq!(model.to_flat(), before);
}

/// Kernels within Glorot's limit and spread over it, biases zero, as Keras starts.
#[test]
fn weights_start_as_the_plan_says() {
    use convnet_core::plan::Initializer;
    let flat = Cpu::default().build_module::<Digits, f32>().to_flat();
    for (layer, weight) in Digits::PLAN.weights() {
        let values = &flat[weight.range()];
        match weight.initializer {
            Initializer::Zeros => assert!(values.iter().all(|&value| value == 0.0), "{}", layer.name),
            Initializer::Ones => panic!("{}: this network has no such weight", layer.name),
            Initializer::VarianceScaling { scale, fan, .. } => {
                let limit = (3.0 * scale / fan).sqrt() as f32;
                let largest = values.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
                let mean = values.iter().sum::<f32>() / values.len() as f32;
                let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / values.len() as f32;
                assert!(largest <= limit && largest > 0.95 * limit, "{}: {largest} of {limit}", layer.name);
                assert!(mean.abs() < 0.1 * limit, "{}: mean {mean}", layer.name);
                assert!((3.0 * variance / limit.powi(2) - 1.0).abs() < 0.15, "{}: variance {variance}", layer.name);
            }
        }
    }
}

#[test]
fn reset_draws_new_weights() {
    let mut model = Cpu::default().build_module::<Base, f32>();
    let before = model.to_flat();
    model.reset_params();
    let after = model.to_flat();
    assert!(before.iter().zip(&after).take(72).all(|(before, after)| before != after), "a kernel of 72 values");
    assert_eq!(after[72..], [0.0; 4]);
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()))
}

#[test]
fn safetensors_come_back_and_have_the_names_of_the_plan() {
    let dev = Cpu::default();
    let (saved, mut loaded) = (dev.build_module::<Digits, f32>(), dev.build_module::<Digits, f32>());
    assert_ne!(saved.to_flat(), loaded.to_flat(), "another draw");
    let path = file("digits.safetensors");
    saved.save_safetensors(&path).expect("a file can be written");
    loaded.load_safetensors(&path).expect("and read");
    let bytes = std::fs::read(&path).expect("and read again");
    std::fs::remove_file(&path).expect("and removed");
    assert_eq!(saved.to_flat(), loaded.to_flat());

    assert_names_are_in::<Digits>(&bytes);
}

#[test]
fn weights_of_another_network_are_refused() {
    let dev = Cpu::default();
    let path = file("base.safetensors");
    dev.build_module::<Base, f32>().save_safetensors(&path).expect("a file can be written");
    let refused = dev.build_module::<Digits, f32>().load_safetensors(&path);
    std::fs::remove_file(&path).expect("and removed");
    assert!(refused.is_err());
}

type On<const H: usize, const W: usize, const C: usize, Tree> =
    Sequential<Map<H, W, C>, (Num<H>, Num<W>, Num<C>), Tree>;
type Normal = BatchNormalization<{ 0.9f64.to_bits() }, { 0.001f64.to_bits() }, true, true>;

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// A small residual network: a stem, three residual blocks (one that halves the map), a mean.
type Convolved<F, S> = (Conv2D<F, Square<U3, S, Same>, Linear, false>, Normal);
type Rectified = Alone<Relu>;
type Shortcut<F> = (Conv2D<F, Square<U1, U2>, Linear, false>, Normal);
type Residual = (Merge<Add, ((Convolved<U8, U1>, (Rectified, Convolved<U8, U1>)), ())>, Rectified);
type Halving = (Merge<Add, ((Convolved<U12, U2>, (Rectified, Convolved<U12, U1>)), Shortcut<U12>)>, Rectified);
type ResNet = On<
    12,
    12,
    1,
    (
        ((Convolved<U8, U1>, Rectified), Repeat<U2, Residual>),
        (Halving, (GlobalAveragePooling2D<false>, (Dropout<{ 0.1f64.to_bits() }>, Dense<U4, Softmax, true>))),
    ),
>;

/// 16 noisy images with one bright quarter, which is their class.
fn quarters() -> (Vec<f32>, Vec<usize>) {
    let classes: Vec<usize> = (0..16).map(|image| image % 4).collect();
    let mut pixels = numbers(31, classes.len() * 144);
    for (image, &class) in pixels.chunks_exact_mut(144).zip(&classes) {
        for (i, pixel) in image.iter_mut().enumerate() {
            let (row, column) = (i / 12, i % 12);
            *pixel +=
                if (row / 6, column / 6) == (class / 2, class % 2) { 1.0 + (i % (2 + class)) as f32 } else { 0.0 };
        }
    }
    (pixels, classes)
}

#[test]
fn a_residual_network_learns() -> Result<()> {
    let dev = Cpu::seed_from_u64(5);
    let mut model = dev.build_module::<ResNet, f32>();
    assert_eq!(model.num_trainable_params(), ResNet::TRAINABLE_PARAMS);
    let mut optimizer =
        Sgd::new(&model, SgdConfig { lr: 0.1, momentum: Some(Momentum::Nesterov(0.9)), ..Default::default() });
    let (pixels, classes) = quarters();
    let images = dev.inputs::<ResNet, _>(16, pixels)?;
    let targets = dev.one_hot::<ResNet, _>(16, &classes)?;
    let mut gradients = model.alloc_grads();
    let mut losses = Vec::new();
    for _ in 0..30 {
        let logits = model.logits_mut(images.clone().traced(gradients));
        let loss = cross_entropy_with_logits_loss(logits, targets.clone());
        losses.push(loss.array());
        gradients = loss.backward();
        optimizer.update(&mut model, &gradients).expect("every weight has a gradient");
        model.zero_grads(&mut gradients);
    }
    assert!(losses[29] < 0.2 * losses[0], "{losses:?}");

    // Saved under the plan's names, moving statistics and all, and the same in another model.
    let path = file("residual.safetensors");
    model.save_safetensors(&path).expect("a file can be written");
    let mut loaded = dev.build_module::<ResNet, f32>();
    loaded.load_safetensors(&path).expect("and read");
    let bytes = std::fs::read(&path).expect("and read again");
    std::fs::remove_file(&path).expect("and removed");
    assert_eq!(loaded.to_flat(), model.to_flat());
    assert_eq!(loaded.forward(images.clone()).as_vec(), model.forward(images).as_vec());
    assert_names_are_in::<ResNet>(&bytes);
    Ok(())
}

/// Every weight of the plan, with its shape, stands in the header of a safetensors file, and nothing else.
fn assert_names_are_in<N: Network>(file: &[u8]) {
    let len = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let header = String::from_utf8_lossy(&file[8..8 + len]);
    for (layer, weight) in N::PLAN.weights() {
        let sizes: Vec<String> = weight.sizes().iter().map(usize::to_string).collect();
        let entry = format!(r#""{}/{}":{{"dtype":"F32","shape":[{}]"#, layer.name, weight.name, sizes.join(","));
        assert!(header.contains(&entry), "{entry} in {header}");
    }
    assert_eq!(header.matches("F32").count(), N::PLAN.weights().count());
}

/// The modules of the layers, taken by themselves, have a name for each weight, too.
#[test]
fn layers_have_names_of_their_own() {
    let path = file("layers.safetensors");
    let dev = Cpu::default();
    let (saved, mut loaded) = (dev.build_module::<ResNet, f32>(), dev.build_module::<ResNet, f32>());
    saved.layers.save_safetensors(&path).expect("a file can be written");
    loaded.layers.load_safetensors(&path).expect("and read");
    std::fs::remove_file(&path).expect("and removed");
    assert_eq!(loaded.to_flat(), saved.to_flat());
}

#[test]
fn initialisers_are_honoured() {
    use convnet_core::plan::{Distribution, Initializer};
    type Wide = Conv2D<U64, Square<U3, U1>, Linear, true>;
    type Net = On<5, 5, 6, (Initialized<Initialized<Wide, 0, HeNormal>, 1, Ones>, (Normal, Flatten))>;
    let mut model = Cpu::seed_from_u64(1).build_module::<Net, f32>();
    let first = model.to_flat();
    model.reset_params();
    let again = model.to_flat();
    for (layer, weight) in Net::PLAN.weights() {
        let values = &first[weight.range()];
        let what = format!("{}/{}", layer.name, weight.name);
        match weight.initializer {
            Initializer::Zeros => assert!(values.iter().all(|&value| value == 0.0), "{what}"),
            Initializer::Ones => assert!(values.iter().all(|&value| value == 1.0), "{what}"),
            Initializer::VarianceScaling { scale, fan, distribution } => {
                let variance = scale / fan;
                assert_eq!(distribution, Distribution::TruncatedNormal, "{what}");
                assert_eq!(variance, 2.0 / 54.0, "{what}");
                assert_ne!(values, &again[weight.range()], "{what}");
                let found = wide(values).iter().map(|value| value * value).sum::<f64>() / values.len() as f64;
                assert!((found / variance - 1.0).abs() < 0.1, "{what}: {found} of {variance}");
                let most = values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
                let cut = 2.0 * variance.sqrt() / 0.879_625_661_034_239_8;
                assert!((0.95 * cut..=cut).contains(&f64::from(most)), "{what}: {most} of {cut}");
            }
        }
    }
}
