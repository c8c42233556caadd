//! Convolutions and dense layers: matrix products whose factors are gathered on the way (`kernels/product.cuh`).
//!
//! A dense layer is a convolution of a 1×1 map. A product with few outputs is cut along its sums, too, so that more
//! multiprocessors have work; a second launch adds the parts in a fixed order.

use super::{Builder, Draft, Place, Setting, int, number};
use crate::engine::Precision;
use crate::engine::cuda::backend::{Argument, Properties};
use crate::engine::cuda::choices::Sizes;
use crate::engine::cuda::source::{Constant, Constants, Element};
use crate::engine::cuda::tiles::Tiles;
use crate::engine::graph::Operation;
use crate::layers::{Activation, Op};
use crate::shape::{Axis, Padding, Shape};

/// What a convolution or a dense layer is to the kernels.
#[derive(Debug)]
pub(super) struct Product {
    input: Shape,
    output: Shape,
    vertical: Axis,
    horizontal: Axis,
    groups: usize,
    use_bias: bool,
}

/// Which of the three products of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pass {
    Forward,
    Input,
    Weights,
}

impl Product {
    /// The product that an operation is, if it is one.
    pub fn of(operation: &Operation) -> Option<Product> {
        match operation.op {
            Op::Conv2D(spec) => Some(Product {
                input: operation.input,
                output: operation.output,
                vertical: spec.vertical,
                horizontal: spec.horizontal,
                groups: spec.groups,
                use_bias: spec.use_bias,
            }),
            Op::Dense(spec) => {
                let axis = Axis { window: 1, stride: 1, dilation: 1, padding: Padding::Valid };
                Some(Product {
                    input: Shape::map(1, 1, operation.input.len()),
                    output: Shape::map(1, 1, spec.units),
                    vertical: axis,
                    horizontal: axis,
                    groups: 1,
                    use_bias: spec.use_bias,
                })
            }
            _ => None,
        }
    }

    /// Rows and columns of the product's result and the length of its sums, for a group and so many images.
    fn sizes(&self, pass: Pass, images: usize) -> [usize; 3] {
        let taps = self.vertical.window * self.horizontal.window;
        let (inputs, outputs) = (self.input.channels() / self.groups, self.output.channels() / self.groups);
        let pixels = |map: &Shape| images * map.height() * map.width();
        match pass {
            Pass::Forward => [pixels(&self.output), outputs, taps * inputs],
            Pass::Input => [pixels(&self.input), inputs, taps * outputs],
            // The bias' row is made beside the product.
            Pass::Weights => [taps * inputs, outputs, pixels(&self.output)],
        }
    }

    /// What the product of so many images is called in a table of [`Choices`](crate::engine::cuda::choices::Choices).
    pub fn name(&self, pass: Pass, images: usize, precision: Precision) -> String {
        format!("{pass:?} {images} {precision:?} {self:?}")
    }

    /// By what its tiles are chosen.
    pub fn choice(&self, pass: Pass, images: usize, precision: Precision, properties: Properties) -> Sizes {
        let Properties { multiprocessors, .. } = properties;
        Sizes { product: self.sizes(pass, images), groups: self.groups, precision, multiprocessors }
    }

    /// Floats of the gradient of the weights.
    fn weights(&self) -> usize {
        let [rows, columns, _] = self.sizes(Pass::Weights, 1);
        (rows + usize::from(self.use_bias)) * columns * self.groups
    }

    fn constants(&self) -> Constants {
        let mut constants = sliding(&self.vertical, &self.horizontal, self.input, self.output);
        constants.extend([
            ("FILTERS", int(self.output.channels())),
            ("GROUPS", int(self.groups)),
            ("USE_BIAS", Constant::Bool(self.use_bias)),
        ]);
        constants
    }
}

/// The constants of a window that slides over a map.
pub(super) fn sliding(vertical: &Axis, horizontal: &Axis, input: Shape, output: Shape) -> Constants {
    vec![
        ("HEIGHT", int(input.height())),
        ("WIDTH", int(input.width())),
        ("CHANNELS", int(input.channels())),
        ("OUT_HEIGHT", int(output.height())),
        ("OUT_WIDTH", int(output.width())),
        ("WINDOW_H", int(vertical.window)),
        ("WINDOW_W", int(horizontal.window)),
        ("STRIDE_H", int(vertical.stride)),
        ("STRIDE_W", int(horizontal.stride)),
        ("DILATION_H", int(vertical.dilation)),
        ("DILATION_W", int(horizontal.dilation)),
        ("PAD_TOP", int(vertical.pad_before(input.height()))),
        ("PAD_LEFT", int(horizontal.pad_before(input.width()))),
    ]
}

/// A product that is about to be launched.
struct Cut {
    constants: Constants,
    tiles: Tiles,
    grid: [usize; 3],
    splits: usize,
}

impl Builder<'_> {
    /// How a product is cut into tiles. For the weights' gradient the parts are always added elsewhere.
    fn cut(&self, product: &Product, pass: Pass) -> Cut {
        let Setting { images, precision, properties, choices, .. } = self.setting;
        let sizes = product.choice(pass, images, precision, properties);
        let (tiles, splits) = choices.way(&product.name(pass, images, precision), &sizes);
        let [m, n, _] = sizes.product;
        let mut constants = product.constants();
        constants.extend([
            ("PRECISION", super::precision(precision)),
            ("TILE_M", int(tiles.m)),
            ("TILE_N", int(tiles.n)),
            ("TILE_K", int(tiles.k)),
            ("THREADS", int(tiles.threads as usize)),
            ("SPLIT", Constant::Bool(splits > 1)),
        ]);
        let across = n.div_ceil(tiles.n);
        constants.push(("ACROSS", int(across)));
        let grid = [m.div_ceil(tiles.m) * across, 1, product.groups * splits];
        Cut { constants, tiles, grid, splits }
    }

    /// Launches a product: into `target`, or, in several parts, into a buffer of as many `floats` each, which comes back.
    fn product(
        &mut self,
        template: &'static str,
        cut: &Cut,
        factors: Vec<Argument<Place>>,
        target: Argument<Place>,
        floats: usize,
    ) -> Option<Place> {
        let partials = (cut.splits > 1).then(|| self.buffer(Element::F32, cut.splits * floats));
        let mut arguments = factors;
        arguments.push(partials.map_or(target, Argument::Write));
        arguments.push(self.images());
        let (constants, Tiles { threads, .. }, grid) = (cut.constants.clone(), cut.tiles, cut.grid);
        let resident = cut.tiles.resident();
        self.launch(Draft { template, constants, threads, resident, grid, arguments });
        partials
    }

    /// The output of a convolution or a dense layer, with bias and activation `ending`.
    pub(super) fn product_forward(&mut self, operation: &Operation, product: &Product, ending: Activation) {
        let (input, output) = (self.value(operation.inputs[0]), self.value(operation.result));
        let mut cut = self.cut(product, Pass::Forward);
        cut.constants.push(("ACTIVATION", number(ending)));
        let floats = self.setting.images * operation.output.len();
        let (weights, target) = (self.weights(operation), Argument::Write(output));
        let partials = self.product("convolve_forward", &cut, vec![Argument::Read(input), weights], target, floats);
        if let Some(partials) = partials {
            let splits = Argument::Int(cut.splits as i32);
            let arguments = vec![Argument::Read(partials), weights, target, self.images(), splits];
            self.each("finish_forward", cut.constants, floats, arguments);
        }
    }

    /// Adds what a convolution or a dense layer has to say to the gradient of its input.
    pub(super) fn product_backward_input(&mut self, operation: &Operation, product: &Product) {
        let Some(d_output) = self.gradients[operation.result] else { return };
        let tensor = operation.inputs[0];
        let Some(target) = self.target(tensor) else { return };
        let input = Argument::Read(self.value(tensor));
        let mut cut = self.cut(product, Pass::Input);
        cut.constants.extend(target.constants());
        let floats = self.setting.images * operation.input.len();
        let factors = vec![Argument::Read(d_output), self.weights(operation), input];
        let partials = self.product("convolve_backward_input", &cut, factors, target.place, floats);
        if let Some(partials) = partials {
            let splits = Argument::Int(cut.splits as i32);
            let arguments = vec![Argument::Read(partials), input, target.place, self.images(), splits];
            self.each("finish_backward_input", cut.constants, floats, arguments);
        }
    }

    /// The gradient of the weights of a convolution or a dense layer, in parts.
    pub(super) fn product_backward_weights(&mut self, operation: &Operation, product: &Product) -> Option<Parts> {
        let d_output = self.gradients[operation.result]?;
        let input = self.value(operation.inputs[0]);
        let cut = self.cut(product, Pass::Weights);
        let parts = Parts { place: self.buffer(Element::F32, cut.splits * product.weights()), splits: cut.splits };
        let arguments =
            vec![Argument::Read(input), Argument::Read(d_output), Argument::Write(parts.place), self.images()];
        let Cut { constants, tiles, grid, .. } = cut;
        let template = "convolve_backward_weights";
        let resident = tiles.resident();
        self.launch(Draft { template, constants, threads: tiles.threads, resident, grid, arguments });
        Some(parts)
    }
}

/// A gradient of an operation's weights in parts, each as long as the weights, that are still to be added.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    pub place: Place,
    pub splits: usize,
}
