//! Every variant at every level against plain loops; and what the family promises besides.

mod reference;

use super::block::Block;
use super::same::Same;
use super::thin::Thin;
use super::wide::Wide;
use super::*;
use crate::engine::Precision;
use crate::engine::cpu::kernel::{Backward, Forward};
use crate::engine::cpu::kernels::tests::parts;
use crate::engine::cpu::simd::Level;
use crate::layers::{conv2d, max_pooling2d};
use reference::{Expected, Random, assert_close, assert_within};

/// A kernel with its block, and data for it.
struct Case {
    name: String,
    kernel: Box<dyn Kernel>,
    block: Block,
    border: bool,
    activation: Activation,
    images: usize,
    input: Vec<f32>,
    weights: Vec<f32>,
    d_output: Vec<f32>,
}

/// What a kernel computed.
#[derive(Clone, PartialEq, Debug)]
struct Found {
    output: Vec<f32>,
    d_input: Option<Vec<f32>>,
    d_weights: Vec<f32>,
}

impl Case {
    fn new(
        name: &str,
        kernel: Box<dyn Kernel>,
        block: Block,
        border: bool,
        images: usize,
        random: &mut Random,
    ) -> Self {
        let edge = if border { 2 } else { 0 };
        let image = (block.height - edge) * (block.width - edge) * block.channels;
        let scale = (6.0 / (9 * (block.channels + block.filters)) as f32).sqrt();
        Case {
            name: format!("{name} {block:?} border {border} images {images}"),
            kernel,
            block,
            border,
            activation: Activation::Relu,
            images,
            input: random.positives(images * image),
            weights: random.values(block.weights_len(), scale),
            d_output: random.values(images * block.output_len(), 1.0),
        }
    }

    fn expected(&self) -> Expected {
        reference::run(&self.block, self.border, self.activation, &self.input, &self.weights, &self.d_output)
    }

    /// Runs both passes with all memory that the kernel must not rely on full of NaN.
    fn run(&self, accumulate: Option<&[f32]>) -> Found {
        let Case { kernel, images, input, weights, .. } = self;
        let mut derived = vec![f32::NAN; kernel.derived()];
        kernel.prepare(weights, &mut derived);
        let mut scratch = vec![f32::NAN; kernel.scratch(*images)];
        let mut output = vec![f32::NAN; images * self.block.output_len()];
        let mut kept = vec![u8::MAX; images * kernel.kept()];
        for training in [false, true] {
            output.fill(f32::NAN);
            scratch.fill(f32::NAN);
            let none = &mut [][..];
            kernel.forward(Forward {
                images: *images,
                training,
                noise: None,
                weights,
                derived: &derived,
                input,
                output: &mut output,
                kept: if training { &mut kept } else { none },
                scratch: &mut scratch,
            });
        }
        scratch.fill(f32::NAN);
        let mut d_input = (!self.name.starts_with("thin")).then(|| vec![f32::NAN; input.len()]);
        let mut d_weights = accumulate.map_or_else(|| vec![f32::NAN; weights.len()], <[f32]>::to_vec);
        kernel.backward(Backward {
            noise: None,
            images: *images,
            weights,
            derived: &derived,
            input,
            output: &output,
            kept: &kept,
            d_output: &mut self.d_output.clone(),
            d_input: d_input.as_deref_mut(),
            d_weights: &mut d_weights,
            accumulate: accumulate.is_some(),
            scratch: &mut scratch,
        });
        let [first, image] = [input, &output].map(|all| &all[..all.len() / images]);
        parts::check(&self.name, &**kernel, [weights, &derived, first], image);
        Found { output, d_input, d_weights }
    }

    /// Runs and compares, with the gradient overwritten and added to.
    fn check(mut self) {
        let expected = self.expected();
        for &at in &expected.unsure {
            self.d_output[at] = 0.0;
        }
        let found = self.run(None);
        if self.name.contains("Bf16") {
            // Another kernel's backward pass, which takes the outputs as they are: many lie on the other side of a kink.
            return assert_within(1e-2, &format!("output of {}", self.name), &found.output, &expected.output);
        }
        assert_close(&format!("output of {}", self.name), &found.output, &expected.output);
        assert_close(&format!("weights' gradient of {}", self.name), &found.d_weights, &expected.d_weights);
        if let Some(d_input) = &found.d_input {
            assert_close(&format!("input's gradient of {}", self.name), d_input, &expected.d_input);
        }
        let start = Random(7).values(self.weights.len(), 1.0);
        let sums: Vec<f64> = expected.d_weights.iter().zip(&start).map(|(a, b)| a + f64::from(*b)).collect();
        let added = self.run(Some(&start)).d_weights;
        assert_close(&format!("accumulated gradient of {}", self.name), &added, &sums);
        if self.kernel.adds_sums() {
            let sums: Vec<f32> = found.d_weights.iter().zip(&start).map(|(a, b)| a + b).collect();
            assert!(added == sums, "{} goes on with the sum that it finds", self.name);
        }
    }
}

/// Every kernel that covers the block, at every level.
fn kernels(block: Block) -> Vec<(String, Box<dyn Kernel>)> {
    let mut kernels: Vec<(String, Box<dyn Kernel>)> = Vec::new();
    for level in Level::available() {
        if Thin::covers(&block) {
            kernels.push((format!("thin {level:?}"), Box::new(Thin { block, level })));
        }
        if Wide::covers(&block) {
            kernels.push((format!("wide {level:?}"), Box::new(Wide { block, level })));
        }
        if level == Level::Amx {
            kernels.extend(tiled(block, 0, Activation::Relu));
        }
        // With a few channels, a patch of zeros gives outputs of exactly zero: see `winograd::cost`.
        if block.channels > 4 {
            kernels.extend(transformed(block, 0, Activation::Relu, level));
        }
    }
    kernels
}

/// The tile unit, if there is one, with factors in two parts and in one.
#[cfg(target_arch = "x86_64")]
fn tiled(block: Block, border: usize, activation: Activation) -> impl Iterator<Item = (String, Box<dyn Kernel>)> {
    use super::amx::Tiled;
    let level = Level::Amx;
    [Precision::Tf32, Precision::Bf16].into_iter().filter_map(move |precision| {
        let parts = Arithmetic { exact: false, precision, level }.tiles().filter(|_| Tiled::covers(&block))?;
        let behind = Transformed::with_tile(block, border, activation, 2, level).only_backward();
        let kernel = Tiled::new(parts, block, border, activation, Box::new(behind));
        Some((format!("amx {precision:?} {activation:?}"), Box::new(kernel) as Box<dyn Kernel>))
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn tiled(_: Block, _: usize, _: Activation) -> impl Iterator<Item = (String, Box<dyn Kernel>)> {
    std::iter::empty()
}

/// Winograd with all tiles that go with the block.
fn transformed(
    block: Block,
    border: usize,
    activation: Activation,
    level: Level,
) -> impl Iterator<Item = (String, Box<dyn Kernel>)> {
    let tiles: &[_] = if block.pooled { &[2, 4] } else { &[2, 3, 4] };
    tiles.iter().map(move |&m| {
        let kernel = Transformed::with_tile(block, border, activation, m, level);
        let kernel: Box<dyn Kernel> = Box::new(kernel);
        (format!("winograd {m} {activation:?} {level:?}"), kernel)
    })
}

/// Blocks of all kinds: odd, even, not square; all multiples of 16 that take different paths; with and without bias.
fn blocks() -> Vec<(Block, usize)> {
    let maps = [(4, 4), (5, 5), (7, 4), (9, 12), (13, 13), (6, 20), (11, 8)];
    let widths = [
        (1, 16),
        (1, 32),
        (2, 32),
        (3, 64),
        (4, 16),
        (16, 16),
        (32, 16),
        (48, 32),
        (64, 48),
        (16, 80),
        (20, 37),
        (7, 5),
    ];
    let mut blocks = Vec::new();
    for (i, (height, width)) in maps.into_iter().enumerate() {
        for (j, (channels, filters)) in widths.into_iter().enumerate() {
            // A third of the combinations: each map and each pair of widths comes with several of the others.
            if (i + j) % 3 == 0 {
                for pooled in [false, true] {
                    let block = Block { height, width, channels, filters, bias: (i + j) % 2 == 0, pooled };
                    blocks.push((block, 1 + (i + 2 * j) % 5));
                }
            }
        }
    }
    blocks
}

#[test]
fn every_variant_at_every_level_computes_the_block() {
    let mut random = Random(1);
    for (block, images) in blocks() {
        for (name, kernel) in kernels(block) {
            Case::new(&name, kernel, block, false, images, &mut random).check();
        }
    }
}

#[test]
fn large_maps_go_in_bands() {
    // Several bands, the last one smaller; rows of windows too long for one tile; several images in a tile, and one left.
    let mut random = Random(8);
    for (height, width, channels, filters, images) in [
        (39, 36, 32, 64, 2),
        (6, 140, 16, 48, 1),
        (17, 70, 64, 16, 1),
        (8, 9, 32, 16, 9),
        (61, 62, 3, 64, 2),
        (61, 63, 4, 48, 2),
        (29, 70, 1, 48, 3),
    ] {
        for pooled in [true, false] {
            let block = Block { height, width, channels, filters, bias: true, pooled };
            for (name, kernel) in kernels(block).into_iter().filter(|(name, _)| !name.contains("Some")) {
                Case::new(&name, kernel, block, false, images, &mut random).check();
            }
        }
    }
}

#[test]
fn same_padding_adds_a_border() {
    let mut random = Random(2);
    for (channels, filters) in [(3, 32), (16, 32)] {
        for pooled in [false, true] {
            let block = Block { height: 9, width: 12, channels, filters, bias: true, pooled };
            for (name, inner) in kernels(block) {
                let kernel = Box::new(Same { block, inner });
                Case::new(&name, kernel, block, true, 3, &mut random).check();
            }
        }
    }
}

#[test]
fn borders_and_activations_are_known() {
    let mut random = Random(6);
    let maps = [(3, 3), (4, 6), (7, 9), (10, 11), (14, 8)];
    let widths = [(16, 32), (32, 16), (24, 40), (3, 33), (70, 17)];
    for (i, (height, width)) in maps.into_iter().enumerate() {
        for (j, (channels, filters)) in widths.into_iter().enumerate() {
            let (border, pooled) = (i % 2 != j % 2, (i + j) % 3 == 0);
            let edge = if border { 2 } else { 0 };
            let block =
                Block { height: height + edge, width: width + edge, channels, filters, bias: j % 2 == 0, pooled };
            if block.output_len() == 0 {
                continue;
            }
            let activation = match (i + j) % 3 {
                0 => Activation::Relu,
                1 => Activation::Linear,
                _ => Activation::Tanh,
            };
            for level in Level::available() {
                let border_len = usize::from(border);
                let kernels = transformed(block, border_len, activation, level);
                for (name, kernel) in kernels.chain(tiled(block, border_len, activation)) {
                    let mut case = Case::new(&name, kernel, block, border, 1 + (2 * i + j) % 4, &mut random);
                    case.activation = activation;
                    case.check();
                }
            }
        }
    }
}

#[test]
fn what_takes_several_chunks_is_computed() {
    // Weights within and beyond the second cache, inputs that stream and that do not: see `winograd::blocking`.
    let mut random = Random(8);
    for (channels, filters, side, images) in
        [(32, 48, 30, 2), (32, 48, 32, 2), (128, 144, 30, 1), (288, 272, 14, 3), (272, 20, 24, 2)]
    {
        let block = Block { height: side, width: side + 3, channels, filters, bias: true, pooled: false };
        let level = Level::detect();
        let kernels = transformed(block, 1, Activation::Linear, level);
        for (name, kernel) in kernels.chain(tiled(block, 1, Activation::Linear)) {
            let mut case = Case::new(&name, kernel, block, true, images, &mut random);
            case.activation = Activation::Linear;
            case.check();
        }
    }
}

#[test]
fn an_image_does_not_depend_on_its_neighbours() {
    let mut random = Random(3);
    // 9×8, 8×8 and 10×10 outputs: tiles of all sizes.
    for (height, width, channels, filters, pooled) in [
        (11, 10, 1, 32, true),
        (11, 10, 3, 32, false),
        (11, 10, 32, 32, true),
        (11, 10, 32, 32, false),
        (11, 10, 20, 256, false),
        (13, 12, 32, 48, true),
        (12, 12, 16, 32, false),
        (13, 12, 64, 128, true),
        (9, 10, 128, 64, false),
    ] {
        let block = Block { height, width, channels, filters, bias: true, pooled };
        for (name, kernel) in kernels(block) {
            let mut case = Case::new(&name, kernel, block, false, 5, &mut random);
            let all = case.run(None);
            let (input, output) = (block.input_len(), block.output_len());
            case.images = 1;
            case.input = case.input[3 * input..4 * input].to_vec();
            case.d_output = case.d_output[3 * output..4 * output].to_vec();
            let alone = case.run(None);
            assert_eq!(alone.output, all.output[3 * output..4 * output], "{}", case.name);
            if let (Some(alone), Some(all)) = (alone.d_input, all.d_input) {
                assert_eq!(alone, all[3 * input..4 * input], "{}", case.name);
            }
        }
    }
}

#[test]
fn the_first_of_equal_maxima_takes_the_gradient() {
    // Flat stripes and dyadic weights: windows full of exact ties. Only Winograd may break them otherwise.
    let mut random = Random(4);
    for channels in [1, 16] {
        let block = Block { height: 10, width: 12, channels, filters: 32, bias: true, pooled: true };
        for (name, kernel) in kernels(block).into_iter().filter(|(name, _)| !name.starts_with("winograd")) {
            let mut case = Case::new(&name, kernel, block, false, 2, &mut random);
            for (i, x) in case.input.iter_mut().enumerate() {
                *x = if i / (4 * 12 * channels) % 2 == 0 { 0.5 } else { 0.0 };
            }
            for weight in &mut case.weights {
                *weight = (*weight * 40.0).round() / 8.0;
            }
            case.check();
        }
    }
}

#[test]
fn a_diverged_network_shows() {
    // NaN weights give NaN outputs, and no kernel does anything undefined on the way back.
    let mut random = Random(5);
    for (channels, pooled) in [(1, true), (1, false), (16, true), (16, false), (64, true), (64, false)] {
        let block = Block { height: 8, width: 8, channels, filters: channels.max(16), bias: true, pooled };
        for (name, kernel) in kernels(block) {
            let mut case = Case::new(&name, kernel, block, false, 2, &mut random);
            case.weights.fill(f32::NAN);
            assert!(case.run(None).output.iter().all(|y| y.is_nan()), "{}", case.name);
        }
    }
}

fn convolution(filters: usize, padding: Padding) -> Op {
    let axis = Axis { window: 3, stride: 1, dilation: 1, padding };
    let activation = Activation::Relu;
    Op::Conv2D(conv2d::Spec { filters, vertical: axis, horizontal: axis, groups: 1, activation, use_bias: true })
}

fn pooling(window: usize) -> Op {
    let axis = Axis { window, stride: window, dilation: 1, padding: Padding::Valid };
    Op::MaxPooling2D(max_pooling2d::Spec { vertical: axis, horizontal: axis })
}

#[test]
fn exact_takes_no_winograd() {
    let (input, output) = (Shape::map(12, 12, 32), Shape::map(10, 10, 48));
    let block = Block { height: 12, width: 12, channels: 32, filters: 48, bias: true, pooled: false };
    let level = Level::detect();
    let chosen = |activation: Activation, exact: bool| {
        let op = convolution(48, Padding::Valid).with_activation(activation);
        Some(select(&[(op, input, output)], false, Arithmetic { exact, level, ..Arithmetic::default() })?.0)
    };
    let run = |kernel: Box<dyn Kernel>| Case::new("", kernel, block, false, 2, &mut Random(9)).run(None);
    let direct = run(Box::new(Wide { block, level }));
    assert_eq!(chosen(Activation::Relu, true).map(run), Some(direct.clone()));
    assert_ne!(chosen(Activation::Relu, false).map(run), Some(direct));
    assert!(chosen(Activation::Linear, true).is_none() && chosen(Activation::Linear, false).is_some());
}

#[test]
fn select_takes_what_it_covers_and_nothing_else() {
    let covered = |input: Shape, ops: &[Op], first: bool| {
        let mut shape = input;
        let mut layers = Vec::new();
        for op in ops {
            let output = match op {
                Op::Conv2D(spec) => Shape::map(
                    spec.vertical.output(shape.height()).unwrap(),
                    spec.horizontal.output(shape.width()).unwrap(),
                    spec.filters,
                ),
                Op::MaxPooling2D(spec) => Shape::map(
                    spec.vertical.output(shape.height()).unwrap(),
                    spec.horizontal.output(shape.width()).unwrap(),
                    shape.channels(),
                ),
                _ => shape,
            };
            layers.push((*op, shape, output));
            shape = output;
        }
        let arithmetic = Arithmetic { level: Level::Portable, ..Arithmetic::default() };
        select(&layers, first, arithmetic).map(|(kernel, layers)| (layers, kernel.kept()))
    };
    let (valid, same) = (Padding::Valid, Padding::Same);
    let digits = Shape::map(28, 28, 1);
    assert_eq!(covered(digits, &[convolution(32, valid), pooling(2)], true), Some((2, 13 * 13 * 32)));
    assert_eq!(covered(digits, &[convolution(32, valid), pooling(2)], false), None);
    assert_eq!(covered(digits, &[convolution(20, valid), pooling(2)], true), None);
    assert_eq!(covered(digits, &[convolution(32, valid), pooling(3)], true), Some((1, 0)));
    assert_eq!(covered(digits, &[pooling(2)], true), None);
    let map = Shape::map(5, 5, 64);
    assert_eq!(covered(map, &[convolution(64, valid), Op::Flatten], false), Some((1, 0)));
    assert_eq!(covered(map, &[convolution(64, same), pooling(2)], false), Some((2, 2 * 2 * 64)));
    assert_eq!(covered(Shape::map(3, 3, 64), &[convolution(64, valid)], false), Some((1, 0)));
    let mut strided = convolution(64, valid);
    if let Op::Conv2D(spec) = &mut strided {
        spec.vertical.stride = 2;
    }
    assert_eq!(covered(map, &[strided], false), None);
}
