//! The rows of the table: layers with their shapes.

use convnet::engine::cpu::kernel::Kernel;
use convnet::engine::cpu::kernels::batch_normalization::BatchStatistics;
use convnet::engine::cpu::kernels::{Arithmetic, choose, select};
use convnet::engine::cpu::simd::Level;
use convnet::layers::{
    Activation, Op, average_pooling2d, batch_normalization, conv2d, dense, depthwise_conv2d, global_average_pooling2d,
    max_pooling2d,
};
use convnet::shape::{Axis, Padding, Shape};

/// What is measured.
pub enum Work {
    /// A layer's kernel.
    Layer {
        /// The layer.
        op: Op,
        /// Which of its kernels.
        of: Of,
    },
    /// The passes of a training step's batch normalisation.
    Statistics(BatchStatistics),
}

/// Whose kernel is measured.
#[derive(Clone, Copy, PartialEq)]
pub enum Of {
    /// That of models.
    Models,
    /// That of `exact` models.
    Exact,
    /// The one for all settings.
    General,
}

/// A row of the table.
pub struct Row {
    /// What the words of the command line are looked for in.
    pub name: String,
    /// What is measured,
    pub work: Work,
    /// on what shapes,
    pub input: Shape,
    /// see above,
    pub output: Shape,
    /// for how many images a call,
    pub images: usize,
    /// and whether as a model's first layer, whose input's gradient nobody asks for.
    pub first: bool,
}

/// A window along an axis, within zeros.
fn axis(window: usize, stride: usize, dilation: usize) -> Axis {
    Axis { window, stride, dilation, padding: Padding::Same }
}

/// Multiplications and additions of a row's forward pass.
pub fn flops(op: &Op, row: &Row) -> usize {
    let taps = |axes: [Axis; 2]| axes[0].window * axes[1].window;
    let products = match op {
        Op::Conv2D(spec) => taps([spec.vertical, spec.horizontal]) * row.input.channels() / spec.groups,
        Op::DepthwiseConv2D(spec) => taps([spec.vertical, spec.horizontal]),
        Op::Dense(_) => row.input.len(),
        _ => 0,
    };
    2 * row.images * row.output.len() * products
}

/// How many weights a row's layer has.
pub fn weights(op: &Op, row: &Row) -> usize {
    match op {
        Op::Conv2D(_) | Op::Dense(_) => {
            let positions = row.images * row.output.len() / row.output.channels();
            flops(op, row) / (2 * positions) + row.output.channels()
        }
        Op::DepthwiseConv2D(spec) => (spec.vertical.window * spec.horizontal.window + 1) * row.output.channels(),
        Op::BatchNormalization(_) => 4 * row.input.channels(),
        _ => 0,
    }
}

/// The kernel of a row.
pub fn kernel(op: &Op, row: &Row, of: Of, level: Level) -> Box<dyn Kernel> {
    let kernel = if of == Of::General {
        select(op, row.input, row.output, op.activation(), level)
    } else {
        let arithmetic = Arithmetic { exact: of == Of::Exact, level, ..Arithmetic::default() };
        choose(&[(*op, row.input, row.output)], row.first, arithmetic).map(|(kernel, _)| kernel)
    };
    kernel.expect("every row has a kernel")
}

/// The table while it grows.
struct Table {
    rows: Vec<Row>,
}

impl Table {
    fn add(&mut self, name: String, op: Op, of: Of, input: Shape, output: Shape) {
        let images = if input.is_map() && input.height() >= 112 { 1 } else { 8 };
        let first = name.contains("first layer");
        self.rows.push(Row { name, work: Work::Layer { op, of }, input, output, images, first });
    }

    /// A layer whose window slides over a map of `size` × `size` × `channels`; the name is `what` with the shapes.
    fn slide(&mut self, what: &str, op: Op, axes: [Axis; 2], [size, channels, filters]: [usize; 3], of: Of) {
        let [height, width] = axes.map(|axis| axis.output(size).expect("a window that fits"));
        let (input, output) = (Shape::map(size, size, channels), Shape::map(height, width, filters));
        self.add(format!("{what}, {size}x{size}x{channels} to {filters}"), op, of, input, output);
    }

    fn conv(&mut self, what: &str, axes: [Axis; 2], groups: usize, sizes: [usize; 3]) {
        let [vertical, horizontal] = axes;
        let (filters, activation) = (sizes[2], Activation::Relu);
        let op = Op::Conv2D(conv2d::Spec { filters, vertical, horizontal, groups, activation, use_bias: true });
        let of = match what {
            _ if what.contains("exact") => Of::Exact,
            _ if what.contains("general") => Of::General,
            _ => Of::Models,
        };
        self.slide(what, op, axes, sizes, of);
    }

    fn depthwise(&mut self, what: &str, axis: Axis, size: usize, channels: usize) {
        let (vertical, horizontal, activation) = (axis, axis, Activation::Relu);
        let spec = depthwise_conv2d::Spec { depth_multiplier: 1, vertical, horizontal, activation, use_bias: true };
        self.slide(what, Op::DepthwiseConv2D(spec), [axis; 2], [size, channels, channels], Of::Models);
    }
}

/// All rows.
pub fn all(level: Level) -> Vec<Row> {
    let mut table = Table { rows: Vec::new() };
    convolutions(&mut table);
    depthwise(&mut table);
    dense_layers(&mut table);
    passes(&mut table, level);
    table.rows
}

fn convolutions(table: &mut Table) {
    for sizes in [
        [112, 32, 64],
        [56, 64, 64],
        [56, 64, 256],
        [56, 256, 64],
        [28, 512, 128],
        [28, 128, 512],
        [14, 1024, 256],
        [14, 256, 1024],
        [7, 512, 2048],
        [7, 2048, 512],
        [8, 64, 64],
    ] {
        table.conv("conv 1x1", [axis(1, 1, 1); 2], 1, sizes);
    }
    table.conv("conv 1x1 strides 2", [axis(1, 2, 1); 2], 1, [56, 256, 512]);
    table.conv("conv 5x5", [axis(5, 1, 1); 2], 1, [28, 32, 64]);
    table.conv("conv 5x5", [axis(5, 1, 1); 2], 1, [14, 96, 128]);
    table.conv("conv 7x7 strides 2", [axis(7, 2, 1); 2], 1, [224, 3, 64]);
    table.conv("conv 3x3 strides 2", [axis(3, 2, 1); 2], 1, [224, 3, 32]);
    table.conv("conv 3x3 strides 2", [axis(3, 2, 1); 2], 1, [56, 64, 128]);
    table.conv("conv 3x3 strides 2", [axis(3, 2, 1); 2], 1, [14, 256, 512]);
    table.conv("conv 3x3 strides 2", [axis(3, 2, 1); 2], 1, [28, 20, 40]);
    table.conv("conv 2x2 strides 2", [axis(2, 2, 1); 2], 1, [28, 64, 128]);
    table.conv("conv 3x3 dilation 2", [axis(3, 1, 2); 2], 1, [28, 64, 64]);
    table.conv("conv 3x3 dilation 2", [axis(3, 1, 2); 2], 1, [14, 256, 256]);
    table.conv("conv 1x7", [axis(1, 1, 1), axis(7, 1, 1)], 1, [17, 128, 128]);
    table.conv("conv 7x1", [axis(7, 1, 1), axis(1, 1, 1)], 1, [17, 128, 128]);
    for (groups, sizes) in [
        (2, [28, 64, 64]),
        (2, [14, 20, 20]),
        (8, [28, 64, 64]),
        (8, [14, 256, 256]),
        (32, [56, 128, 128]),
        (32, [28, 256, 256]),
        (32, [14, 512, 512]),
        (32, [7, 1024, 1024]),
    ] {
        table.conv(&format!("conv 3x3 groups {groups}"), [axis(3, 1, 1); 2], groups, sizes);
    }
    table.conv("conv 3x3 strides 2 groups 32", [axis(3, 2, 1); 2], 32, [28, 256, 256]);
    for (channels, filters) in [(1, 32), (3, 32), (1, 15), (1, 12), (1, 8), (1, 5), (1, 1)] {
        table.conv("conv 3x3 first layer", [axis(3, 1, 1); 2], 1, [28, channels, filters]);
    }
    table.conv("conv 5x5 first layer", [axis(5, 1, 1); 2], 1, [28, 1, 6]);
    table.conv("conv 7x7 strides 2 first layer", [axis(7, 2, 1); 2], 1, [224, 3, 64]);
    for (channels, filters) in [(1, 32), (2, 32), (3, 32), (4, 32), (8, 32), (12, 32), (15, 24)] {
        table.conv("conv 3x3 few channels", [axis(3, 1, 1); 2], 1, [28, channels, filters]);
    }
    for (channels, filters) in [(1, 1), (1, 8), (32, 1), (32, 2), (32, 3), (32, 4), (32, 8), (32, 12), (12, 12)] {
        table.conv("conv 3x3 few filters", [axis(3, 1, 1); 2], 1, [28, channels, filters]);
    }
    table.conv("conv 3x3 few channels", [axis(3, 1, 1); 2], 1, [224, 3, 64]);
    table.conv("conv 5x5 few channels", [axis(5, 1, 1); 2], 1, [28, 1, 6]);
    table.conv("conv 5x5 few channels", [axis(5, 1, 1); 2], 1, [28, 6, 16]);
    table.conv("conv 1x1 few channels", [axis(1, 1, 1); 2], 1, [28, 3, 32]);
    table.conv("conv 1x1 few filters", [axis(1, 1, 1); 2], 1, [28, 64, 1]);
    table.conv("conv 1x1 few filters", [axis(1, 1, 1); 2], 1, [28, 64, 10]);
    for sizes in [[7, 512, 512], [8, 64, 64], [8, 256, 256], [14, 256, 256], [28, 128, 128], [56, 64, 64]] {
        table.conv("conv 3x3 general", [axis(3, 1, 1); 2], 1, sizes);
    }
    table.conv("conv 3x3 exact", [axis(3, 1, 1); 2], 1, [28, 64, 64]);
    table.conv("conv 3x3 exact", [axis(3, 1, 1); 2], 1, [14, 256, 256]);
}

fn depthwise(table: &mut Table) {
    for (size, channels) in
        [(112, 32), (112, 64), (56, 128), (28, 256), (14, 512), (7, 1024), (14, 20), (56, 24), (14, 64), (28, 32)]
    {
        table.depthwise("depthwise 3x3", axis(3, 1, 1), size, channels);
    }
    for (size, channels) in [(112, 64), (56, 128), (28, 256), (14, 512), (56, 24)] {
        table.depthwise("depthwise 3x3 strides 2", axis(3, 2, 1), size, channels);
    }
    table.depthwise("depthwise 5x5", axis(5, 1, 1), 28, 128);
}

fn dense_layers(table: &mut Table) {
    for (features, units) in [(784, 512), (6272, 512), (576, 64), (64, 10), (4096, 4096)] {
        for images in [1, 8, 32, 64] {
            let op = Op::Dense(dense::Spec { units, activation: Activation::Relu, use_bias: true });
            let (input, output) = (Shape::vector(features), Shape::vector(units));
            let (name, work) =
                (format!("dense, {images} of {features} to {units}"), Work::Layer { op, of: Of::Models });
            table.rows.push(Row { name, work, input, output, images, first: false });
        }
    }
}

/// What is nothing but memory.
fn passes(table: &mut Table, level: Level) {
    let two = Axis { window: 2, stride: 2, dilation: 1, padding: Padding::Valid };
    let pool = |axis: Axis| max_pooling2d::Spec { vertical: axis, horizontal: axis };
    for (size, channels) in [(28, 32), (56, 64), (14, 512), (28, 20)] {
        let sizes = [size, channels, channels];
        table.slide("max pooling 2x2", Op::MaxPooling2D(pool(two)), [two; 2], sizes, Of::Models);
        let mean = average_pooling2d::Spec { vertical: two, horizontal: two };
        table.slide("average pooling 2x2", Op::AveragePooling2D(mean), [two; 2], sizes, Of::Models);
    }
    let three = axis(3, 2, 1);
    table.slide("max pooling 3x3 strides 2", Op::MaxPooling2D(pool(three)), [three; 2], [112, 64, 64], Of::Models);
    let (map, vector) = (Shape::map(7, 7, 512), Shape::vector(512));
    let whole = global_average_pooling2d::Spec { keepdims: false };
    table.add("global average pooling, 7x7x512".into(), Op::GlobalAveragePooling2D(whole), Of::Models, map, vector);
    table.add("global max pooling, 7x7x512".into(), Op::GlobalMaxPooling2D(whole), Of::Models, map, vector);
    let spec = batch_normalization::Spec { momentum: 0.99, epsilon: 1e-3, center: true, scale: true };
    for map in [Shape::map(28, 28, 64), Shape::map(14, 14, 512), Shape::map(14, 14, 20)] {
        table.add(format!("normalization, moving, {map}"), Op::BatchNormalization(spec), Of::Models, map, map);
        let work = Work::Statistics(BatchStatistics::new(spec, map.channels(), level));
        let name = format!("normalization, {map}");
        table.rows.push(Row { name, work, input: map, output: map, images: 8, first: false });
    }
    let map = Shape::map(28, 28, 64);
    for activation in [Activation::Relu, Activation::Sigmoid, Activation::Tanh] {
        table.add(format!("activation, {activation:?}, {map}"), Op::Activation(activation), Of::Models, map, map);
    }
    for shape in [Shape::vector(10), Shape::vector(1000)] {
        table.add(format!("activation, softmax, {shape}"), Op::Softmax, Of::Models, shape, shape);
    }
}
