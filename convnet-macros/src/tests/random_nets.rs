//! Random networks, each as a listing and as the tree that core builds a plan from.

use convnet_core::layers::up_sampling2d::Interpolation;
use convnet_core::layers::{
    Activation, LayerSpec, Node, Op, batch_normalization, conv2d, dense, depthwise_conv2d, dropout,
    global_average_pooling2d, leaky_relu, max_pooling2d, relu, rescaling, separable_conv2d, up_sampling2d,
    zero_padding2d,
};
use convnet_core::plan::{Table, build, count};
use convnet_core::shape::{Axis, Padding, Pattern, Shape};

/// A network.
pub struct Net {
    pub input: Shape,
    pub tree: &'static Node,
    pub listing: String,
    /// The listing of `Block`, if it is among the layers.
    pub block: Option<String>,
}

/// A line of a listing and what it means.
type Line = (String, Node);

/// Knuth's generator: the same networks in every run.
pub struct Random(pub u64);

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// Lines one after the other.
fn sequence(lines: Vec<Line>) -> (String, Node) {
    let text: Vec<String> = lines.iter().map(|(text, _)| text.clone()).collect();
    let tree = lines.into_iter().fold(Node::Empty, |above, (_, node)| Node::Pair(leak(above), leak(node)));
    (text.join(", "), tree)
}

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn seldom(&mut self) -> bool {
        self.below(150) == 0
    }

    /// A small size, now and then zero.
    fn size(&mut self) -> usize {
        if self.seldom() { 0 } else { self.pick(&[1, 2, 2, 3, 4, 6]) }
    }

    /// A number from 0 on, now and then below.
    fn number(&mut self) -> f64 {
        if self.seldom() { -0.5 } else { self.pick(&[0.0, 0.1, 0.25, 0.5, 0.99]) }
    }

    fn activation(&mut self) -> Activation {
        use Activation::*;
        if self.below(40) == 0 { Softmax } else { self.pick(&[Linear, Relu, Sigmoid, Tanh]) }
    }

    fn axis(&mut self, padding: Padding, dilated: bool) -> Axis {
        let dilation = if dilated { self.pick(&[1, 1, 1, 2]) } else { 1 };
        let stride = if self.seldom() { 0 } else { self.pick(&[1, 1, 2, 3]) };
        Axis { window: self.size(), stride, dilation, padding }
    }

    /// A network of a few layers, mostly such as fit.
    pub fn net(&mut self) -> Net {
        let input = match self.below(5) {
            0 => Shape::vector(self.pick(&[1, 12, 48, 64])),
            _ => {
                let [height, width] = [0; 2].map(|_| if self.seldom() { 0 } else { self.pick(&[28, 21, 12, 9, 7, 4]) });
                Shape::map(height, width, self.pick(&[1, 2, 3, 4]))
            }
        };
        let sizes: Vec<String> = input.sizes().iter().map(usize::to_string).collect();
        let mut listing = format!("Input({})", sizes.join(", "));
        let (mut tree, mut block): (&'static Node, Option<(String, Node)>) = (&Node::Empty, None);
        let mut here = input;
        for _ in 0..1 + self.below(6) {
            let line = match self.below(10) {
                0..3 => self.composed(here, 2),
                3 => {
                    let (_, node) = block.get_or_insert_with(|| self.block(here));
                    ("Block".to_string(), *node)
                }
                4 => self.reshape(here),
                _ => self.layer(here),
            };
            let (text, node) = self.settled(line);
            listing += &format!(", {text}");
            tree = leak(Node::Pair(tree, leak(node)));
            if count(tree) <= 96 {
                let table: Table<96> = build(input, tree);
                here = if table.fault.is_none() { table.output } else { here };
            }
        }
        Net { input, tree, listing, block: block.map(|(text, _)| text) }
    }

    /// A block that takes this shape, and others.
    fn block(&mut self, here: Shape) -> (String, Node) {
        let mut sizes: Vec<Option<usize>> = here.sizes().iter().map(|size| Some(*size)).collect();
        let places = if here.is_map() { [0, 1, 2] } else { [0, 0, 0] };
        for place in places {
            if self.below(3) > 0 {
                sizes[place] = None;
            }
        }
        // Without an open size it is a network, which is a layer just so.
        let pattern = match sizes[..] {
            [height, width, channels] => Pattern::map(height, width, channels),
            _ => Pattern::vector(sizes[0]),
        };
        let text: Vec<String> =
            sizes.iter().map(|size| size.map_or("None".to_string(), |size| size.to_string())).collect();
        let lines = (0..1 + self.below(2)).map(|_| self.mild(here, 1)).collect();
        let (layers, node) = sequence(lines);
        let listing = format!("Input({}), {layers}", text.join(", "));
        (listing, Node::Network { name: "Block", input: pattern, layers: leak(node) })
    }

    /// Branches or a repetition.
    fn composed(&mut self, here: Shape, depth: usize) -> Line {
        if self.below(3) == 0 {
            let times = if self.seldom() { 0 } else { 1 + self.below(3) };
            let lines = (0..1 + self.below(2)).map(|_| self.mild(here, depth - 1)).collect();
            let (text, node) = sequence(lines);
            return (format!("Repeat({times}, [{text}])"), Node::Repeat { times, layers: leak(node) });
        }
        let op = self.pick(&[Op::Add, Op::Concatenate]);
        let branches: Vec<Line> = (0..2 + self.below(2))
            .map(|_| {
                let lines = (0..self.below(3)).map(|_| self.mild(here, depth - 1)).collect();
                sequence(lines)
            })
            .collect();
        let name = self.name();
        let merge = LayerSpec { name, ..LayerSpec::of(op) };
        let texts: Vec<String> = branches.iter().map(|(text, _)| format!("[{text}]")).collect();
        let nodes: Vec<&'static Node> = branches.into_iter().map(|(_, node)| leak(node)).collect();
        let name = name.map_or(String::new(), |name| format!(", name = {name:?}"));
        (format!("{}({}{name})", op.kind(), texts.join(", ")), Node::Branches { merge, paths: leak(nodes) })
    }

    /// A line that mostly leaves the shape as it is.
    fn mild(&mut self, here: Shape, depth: usize) -> Line {
        if depth > 0 && self.below(5) == 0 {
            return self.composed(here, depth);
        }
        if self.below(25) == 0 {
            return self.layer(here);
        }
        let channels = if self.below(12) == 0 { self.size() } else { here.channels() };
        let line = match self.below(3) {
            0 if here.is_map() => {
                let axis = Axis { window: self.pick(&[1, 3]), stride: 1, dilation: 1, padding: Padding::Same };
                self.convolution(channels, axis, axis, 1)
            }
            0 => {
                let use_bias = self.below(2) == 0;
                self.written(Op::Dense(dense::Spec { units: channels, activation: Activation::Relu, use_bias }))
            }
            _ => {
                let op = self.pointwise();
                self.written(op)
            }
        };
        self.settled(line)
    }

    /// A layer, or the same frozen.
    fn settled(&mut self, (text, node): Line) -> Line {
        if self.below(8) > 0 {
            return (text, node);
        }
        let text = match text.strip_suffix(')') {
            Some(call) => format!("{call}{}trainable = false)", if call.ends_with('(') { "" } else { ", " }),
            None => format!("{text}(trainable = false)"),
        };
        (text, Node::Frozen(leak(node)))
    }

    fn name(&mut self) -> Option<&'static str> {
        if self.below(12) > 0 { None } else { Some(self.pick(&["a", "b", "c", "conv2d_1", "add_1", "é"])) }
    }

    /// A reshaping, mostly to as many values.
    fn reshape(&mut self, here: Shape) -> Line {
        let len = here.len();
        let shape = match self.below(9) {
            0 => Shape::vector(len + 1),
            1 => Shape::map(1, 2, 3),
            2..4 => Shape::vector(len),
            4..6 => Shape::map(1, 1, len),
            _ if here.is_map() => Shape::map(here.width(), here.height(), here.channels()),
            _ => Shape::map(1, len, 1),
        };
        self.written(Op::Reshape(shape))
    }

    /// Any layer, mostly one for maps or vectors as they stand here.
    fn layer(&mut self, here: Shape) -> Line {
        let padding = self.pick(&[Padding::Valid, Padding::Same]);
        let (vertical, horizontal) = (self.axis(padding, true), self.axis(padding, true));
        let for_maps = here.is_map() != (self.below(25) == 0);
        if self.below(4) == 0 {
            let op = self.pointwise();
            return self.written(op);
        }
        if !for_maps {
            let dense = dense::Spec { units: self.size(), activation: self.activation(), use_bias: self.below(2) == 0 };
            return self.written(Op::Dense(dense));
        }
        let (activation, use_bias) = (self.activation(), self.below(2) == 0);
        let depth_multiplier = self.size();
        let op = match self.below(10) {
            0..3 => {
                let groups = self.pick(&[1, 1, 2, 3]);
                let filters = self.size();
                return self.convolution(filters, vertical, horizontal, groups);
            }
            3 => Op::DepthwiseConv2D(depthwise_conv2d::Spec {
                depth_multiplier,
                vertical,
                horizontal,
                activation,
                use_bias,
            }),
            4 => Op::SeparableConv2D(separable_conv2d::Spec {
                filters: self.size(),
                depth_multiplier,
                vertical,
                horizontal,
                activation,
                use_bias,
            }),
            5 | 6 => {
                let spec =
                    max_pooling2d::Spec { vertical: self.axis(padding, false), horizontal: self.axis(padding, false) };
                if self.below(2) == 0 { Op::MaxPooling2D(spec) } else { Op::AveragePooling2D(spec) }
            }
            7 => {
                let spec = global_average_pooling2d::Spec { keepdims: self.below(2) == 0 };
                if self.below(2) == 0 { Op::GlobalAveragePooling2D(spec) } else { Op::GlobalMaxPooling2D(spec) }
            }
            8 => Op::Flatten,
            _ if self.below(2) == 0 => {
                let [top, bottom, left, right] = [0; 4].map(|_| self.below(3));
                Op::ZeroPadding2D(zero_padding2d::Spec { top, bottom, left, right })
            }
            _ => Op::UpSampling2D(up_sampling2d::Spec {
                rows: self.size(),
                columns: self.size(),
                interpolation: self.pick(&[Interpolation::Nearest, Interpolation::Bilinear]),
            }),
        };
        self.written(op)
    }

    fn convolution(&mut self, filters: usize, vertical: Axis, horizontal: Axis, groups: usize) -> Line {
        let (activation, use_bias) = (self.activation(), self.below(2) == 0);
        self.written(Op::Conv2D(conv2d::Spec { filters, vertical, horizontal, groups, activation, use_bias }))
    }

    /// A layer for shapes of all kinds.
    fn pointwise(&mut self) -> Op {
        match self.below(7) {
            0 => Op::Activation(self.activation()),
            1 if self.below(6) == 0 => Op::Softmax,
            1 | 2 => Op::ReLU(relu::Spec {
                max_value: if self.below(2) == 0 { f64::INFINITY } else { self.number() },
                negative_slope: self.number(),
                threshold: self.number(),
            }),
            3 => Op::LeakyReLU(leaky_relu::Spec { negative_slope: self.number() }),
            4 => Op::Rescaling(rescaling::Spec { scale: 1.0 / 255.0, offset: self.number() }),
            5 => {
                let rate = if self.seldom() { 1.0 } else { self.number() };
                Op::Dropout(dropout::Spec { rate })
            }
            _ => Op::BatchNormalization(batch_normalization::Spec {
                momentum: self.number(),
                epsilon: if self.seldom() { 0.0 } else { 1e-3 },
                center: self.below(4) > 0,
                scale: self.below(4) > 0,
            }),
        }
    }

    /// A layer as a listing has it.
    fn written(&mut self, op: Op) -> Line {
        let name = self.name();
        let arguments = arguments(&op);
        let name_text = name.map_or(String::new(), |name| format!("name = {name:?}"));
        let comma = if arguments.is_empty() || name.is_none() { "" } else { ", " };
        let text = format!("{}({arguments}{comma}{name_text})", op.kind());
        (text, Node::Layer(LayerSpec { name, ..LayerSpec::of(op) }))
    }
}

fn window([vertical, horizontal]: [Axis; 2]) -> String {
    let padding = if vertical.padding == Padding::Same { "same" } else { "valid" };
    format!("({}, {}), ({}, {}), \"{padding}\"", vertical.window, horizontal.window, vertical.stride, horizontal.stride)
}

/// The arguments of a layer, by position as far as it goes.
fn arguments(op: &Op) -> String {
    let dilation = |[vertical, horizontal]: [Axis; 2]| format!("({}, {})", vertical.dilation, horizontal.dilation);
    match *op {
        Op::Conv2D(conv2d::Spec { filters, vertical, horizontal, groups, activation, use_bias }) => {
            let axes = [vertical, horizontal];
            let (window, dilation, activation) = (window(axes), dilation(axes), activation.name());
            format!("{filters}, {window}, None, {dilation}, {groups}, \"{activation}\", {use_bias}, \"he_normal\"")
        }
        Op::DepthwiseConv2D(depthwise_conv2d::Spec {
            depth_multiplier,
            vertical,
            horizontal,
            activation,
            use_bias,
        }) => {
            let axes = [vertical, horizontal];
            let (window, dilation, activation) = (window(axes), dilation(axes), activation.name());
            format!("{window}, {depth_multiplier}, None, {dilation}, \"{activation}\", {use_bias}")
        }
        Op::SeparableConv2D(separable_conv2d::Spec {
            filters,
            depth_multiplier,
            vertical,
            horizontal,
            activation,
            use_bias,
        }) => {
            let axes = [vertical, horizontal];
            let (window, dilation, activation) = (window(axes), dilation(axes), activation.name());
            format!("{filters}, {window}, None, {dilation}, {depth_multiplier}, \"{activation}\", {use_bias}")
        }
        Op::MaxPooling2D(spec) | Op::AveragePooling2D(spec) => window([spec.vertical, spec.horizontal]),
        Op::GlobalAveragePooling2D(spec) | Op::GlobalMaxPooling2D(spec) => format!("None, {}", spec.keepdims),
        Op::ZeroPadding2D(zero_padding2d::Spec { top, bottom, left, right }) => {
            format!("(({top}, {bottom}), ({left}, {right}))")
        }
        Op::UpSampling2D(up_sampling2d::Spec { rows, columns, interpolation }) => {
            let bilinear = interpolation == Interpolation::Bilinear;
            format!("({rows}, {columns}), None, {:?}", if bilinear { "bilinear" } else { "nearest" })
        }
        Op::Reshape(shape) => {
            let sizes: String = shape.sizes().iter().map(|size| format!("{size},")).collect();
            format!("({sizes})")
        }
        Op::Dense(dense::Spec { units, activation, use_bias }) => {
            format!("{units}, \"{}\", {use_bias}", activation.name())
        }
        Op::Activation(activation) => format!("\"{}\"", activation.name()),
        Op::ReLU(relu::Spec { max_value, negative_slope, threshold }) => {
            let max_value = if max_value.is_finite() { max_value.to_string() } else { "None".to_string() };
            format!("{max_value}, {negative_slope}, {threshold}")
        }
        Op::LeakyReLU(spec) => spec.negative_slope.to_string(),
        Op::Rescaling(spec) => format!("1 / 255, {}", spec.offset),
        Op::Dropout(spec) => spec.rate.to_string(),
        Op::BatchNormalization(batch_normalization::Spec { momentum, epsilon, center, scale }) => {
            format!("-1, {momentum}, {epsilon}, {center}, {scale}")
        }
        Op::Flatten | Op::Softmax | Op::Add | Op::Concatenate => String::new(),
    }
}
