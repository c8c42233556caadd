//! What the phases hand on: the layers of a listing once their arguments are read.
//!
//! A size is known to the macro (a literal), or it is an expression or a const generic that only the compiler can
//! evaluate. Branches and repetitions hold layers in turn. Beside each setting that can be wrong stand the tokens that gave it, for the arrow of an error.

use proc_macro2::{Span, TokenStream};
use std::rc::Rc;
use syn::Path;

mod known;
mod size;

pub use known::{Known, KnownNetworks};
pub use size::{InputShape, Real, Size, compact};

/// `padding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// `"valid"`
    Valid,
    /// `"same"`
    Same,
}

/// `activation`: its name in the listing.
#[derive(Clone)]
pub struct Activation {
    /// One of [`ACTIVATIONS`].
    pub name: &'static str,
    /// What gave it, if anything did.
    pub tokens: TokenStream,
}

/// The activations, in the order of the documentation.
pub const ACTIVATIONS: [&str; 5] = ["linear", "relu", "sigmoid", "tanh", "softmax"];

/// What follows the product in a layer with a kernel.
#[derive(Clone)]
pub struct Finish {
    /// `use_bias`
    pub use_bias: bool,
    /// `activation`
    pub activation: Activation,
}

/// A window that slides over a map.
#[derive(Clone)]
pub struct Window {
    /// `kernel_size` or `pool_size`: height, width.
    pub size: [Size; 2],
    /// `strides`
    pub strides: [Size; 2],
    /// `dilation_rate`
    pub dilation: [Size; 2],
    /// `padding`
    pub padding: Padding,
    /// What gave the size.
    pub tokens: TokenStream,
}

/// How branches become one tensor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Merging {
    /// `Add`: element by element.
    Add,
    /// `Concatenate`: along the channels.
    Concatenate,
}

/// What a layer does.
#[derive(Clone)]
pub enum Op {
    /// A convolution.
    Conv2D { filters: Size, groups: Size, window: Window, finish: Finish },
    /// A convolution of each channel by itself.
    DepthwiseConv2D { multiplier: Size, window: Window, finish: Finish },
    /// A depthwise convolution and one of 1×1.
    SeparableConv2D { filters: Size, multiplier: Size, window: Window, finish: Finish },
    /// Max pooling.
    MaxPooling2D { window: Window },
    /// Average pooling.
    AveragePooling2D { window: Window },
    /// The mean of each channel.
    GlobalAveragePooling2D { keepdims: bool },
    /// The largest value of each channel.
    GlobalMaxPooling2D { keepdims: bool },
    /// Zeros around a map: on top, at the bottom, left, right.
    ZeroPadding2D { sides: [Size; 4] },
    /// A map enlarged: rows and columns for each.
    UpSampling2D { factors: [Size; 2], bilinear: bool },
    /// A map as a vector.
    Flatten,
    /// The same values in another shape; `inferred` is the place of a -1, which the dry run complains about.
    Reshape { target: InputShape, inferred: Option<usize>, tokens: TokenStream },
    /// A fully connected layer.
    Dense { units: Size, finish: Finish },
    /// An activation as a layer of its own.
    Activation(Activation),
    /// `Softmax()`
    Softmax,
    /// A rectifier.
    ReLU { max_value: Real, negative_slope: Real, threshold: Real },
    /// A leaky rectifier.
    LeakyReLU { negative_slope: Real },
    /// A factor and an offset.
    Rescaling { scale: Real, offset: Real },
    /// Dropout.
    Dropout { rate: Real },
    /// Batch normalisation.
    BatchNormalization { momentum: Real, epsilon: Real, center: bool, scale: bool },
    /// Branches and what merges them.
    Merge { merging: Merging, branches: Vec<Vec<Layer>> },
    /// Layers several times.
    Repeat { times: Size, layers: Vec<Layer> },
    /// An earlier network or block, with its layers if it stands in the same `convnet!`.
    Network { path: Path, known: Option<Rc<Known>> },
    /// Complained about. Whether the shape behind it is the one above it.
    Faulty { keeps_shape: bool },
}

impl Op {
    /// The layer's name in a listing, and what Keras names such a layer before the count.
    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Op::Conv2D { .. } => ("Conv2D", "conv2d"),
            Op::DepthwiseConv2D { .. } => ("DepthwiseConv2D", "depthwise_conv2d"),
            Op::SeparableConv2D { .. } => ("SeparableConv2D", "separable_conv2d"),
            Op::MaxPooling2D { .. } => ("MaxPooling2D", "max_pooling2d"),
            Op::AveragePooling2D { .. } => ("AveragePooling2D", "average_pooling2d"),
            Op::GlobalAveragePooling2D { .. } => ("GlobalAveragePooling2D", "global_average_pooling2d"),
            Op::GlobalMaxPooling2D { .. } => ("GlobalMaxPooling2D", "global_max_pooling2d"),
            Op::ZeroPadding2D { .. } => ("ZeroPadding2D", "zero_padding2d"),
            Op::UpSampling2D { .. } => ("UpSampling2D", "up_sampling2d"),
            Op::Flatten => ("Flatten", "flatten"),
            Op::Reshape { .. } => ("Reshape", "reshape"),
            Op::Dense { .. } => ("Dense", "dense"),
            Op::Activation(_) => ("Activation", "activation"),
            Op::Softmax => ("Softmax", "softmax"),
            Op::ReLU { .. } => ("ReLU", "re_lu"),
            Op::LeakyReLU { .. } => ("LeakyReLU", "leaky_re_lu"),
            Op::Rescaling { .. } => ("Rescaling", "rescaling"),
            Op::Dropout { .. } => ("Dropout", "dropout"),
            Op::BatchNormalization { .. } => ("BatchNormalization", "batch_normalization"),
            Op::Merge { merging: Merging::Add, .. } => ("Add", "add"),
            Op::Merge { merging: Merging::Concatenate, .. } => ("Concatenate", "concatenate"),
            Op::Repeat { .. } => ("Repeat", "repeat"),
            Op::Network { .. } => ("network", "layer"),
            Op::Faulty { .. } => ("?", "layer"),
        }
    }

    /// The layer's name in a listing.
    pub fn kind(&self) -> &'static str {
        self.names().0
    }

    /// What Keras names such a layer, before the count.
    pub fn stem(&self) -> &'static str {
        self.names().1
    }

    /// The activation, where the layer has one.
    pub fn activation(&self) -> Option<&Activation> {
        match self {
            Op::Conv2D { finish, .. } | Op::DepthwiseConv2D { finish, .. } => Some(&finish.activation),
            Op::SeparableConv2D { finish, .. } | Op::Dense { finish, .. } => Some(&finish.activation),
            Op::Activation(activation) => Some(activation),
            _ => None,
        }
    }

    /// The activation, to change it.
    pub fn activation_mut(&mut self) -> Option<&mut Activation> {
        match self {
            Op::Conv2D { finish, .. } | Op::DepthwiseConv2D { finish, .. } => Some(&mut finish.activation),
            Op::SeparableConv2D { finish, .. } | Op::Dense { finish, .. } => Some(&mut finish.activation),
            Op::Activation(activation) => Some(activation),
            _ => None,
        }
    }

    /// The window, where the layer has one.
    pub fn window(&self) -> Option<&Window> {
        match self {
            Op::Conv2D { window, .. } | Op::DepthwiseConv2D { window, .. } | Op::SeparableConv2D { window, .. } => {
                Some(window)
            }
            Op::MaxPooling2D { window } | Op::AveragePooling2D { window } => Some(window),
            _ => None,
        }
    }

    /// Every size among the settings, but for those of layers within, to read and to change.
    pub fn sizes(&mut self) -> Vec<&mut Size> {
        match self {
            Op::Conv2D { filters, groups, window, .. } => window.sizes().into_iter().chain([filters, groups]).collect(),
            Op::DepthwiseConv2D { multiplier, window, .. } => window.sizes().into_iter().chain([multiplier]).collect(),
            Op::SeparableConv2D { filters, multiplier, window, .. } => {
                window.sizes().into_iter().chain([filters, multiplier]).collect()
            }
            Op::MaxPooling2D { window } | Op::AveragePooling2D { window } => window.sizes(),
            Op::ZeroPadding2D { sides } => sides.iter_mut().collect(),
            Op::UpSampling2D { factors, .. } => factors.iter_mut().collect(),
            Op::Reshape { target, .. } => target.sizes_mut().iter_mut().collect(),
            Op::Dense { units, .. } => vec![units],
            Op::Repeat { times, .. } => vec![times],
            _ => Vec::new(),
        }
    }

    /// Every real number among the settings.
    pub fn reals(&self) -> Vec<&Real> {
        match self {
            Op::ReLU { max_value, negative_slope, threshold } => vec![max_value, negative_slope, threshold],
            Op::LeakyReLU { negative_slope } => vec![negative_slope],
            Op::Rescaling { scale, offset } => vec![scale, offset],
            Op::Dropout { rate } => vec![rate],
            Op::BatchNormalization { momentum, epsilon, .. } => vec![momentum, epsilon],
            _ => Vec::new(),
        }
    }

    /// The lists of layers within.
    pub fn parts(&self) -> Vec<&[Layer]> {
        match self {
            Op::Merge { branches, .. } => branches.iter().map(Vec::as_slice).collect(),
            Op::Repeat { layers, .. } => vec![layers],
            Op::Network { known: Some(known), .. } => vec![&known.layers],
            _ => Vec::new(),
        }
    }

    /// Whether something is left that only the compiler can know.
    pub fn is_open(&self) -> bool {
        match self {
            Op::Network { known: None, .. } | Op::Faulty { .. } => return true,
            Op::Merge { .. } | Op::Network { .. } => {}
            Op::Repeat { times, .. } if times.is_open() => return true,
            Op::Repeat { .. } => {}
            own => {
                let open = own.clone().sizes().iter().any(|size| size.is_open());
                if open || own.reals().iter().any(|real| matches!(real, Real::Constant(_))) {
                    return true;
                }
            }
        }
        self.parts().into_iter().flatten().any(|layer| layer.op.is_open())
    }

    /// Whether all layers within are known to the macro.
    pub fn is_known(&self) -> bool {
        !matches!(self, Op::Network { known: None, .. } | Op::Faulty { .. })
            && self.parts().into_iter().flatten().all(|layer| layer.op.is_known())
    }
}

impl Window {
    fn sizes(&mut self) -> Vec<&mut Size> {
        self.size.iter_mut().chain(&mut self.strides).chain(&mut self.dilation).collect()
    }
}

/// What any layer can have besides.
#[derive(Clone, Default)]
pub struct Settings {
    /// `trainable = false`
    pub frozen: bool,
    /// Initialisers by the role of their weight, as types of `convnet_core::layers::settings`.
    pub initializers: Vec<(usize, &'static str)>,
    /// Factors of `L2` by the role of their weight.
    pub regularizers: Vec<(usize, Real)>,
}

/// One layer.
#[derive(Clone)]
pub struct Layer {
    /// What it does.
    pub op: Op,
    /// `name = "…"` and its tokens.
    pub name: Option<(String, TokenStream)>,
    /// Where the listing names the layer.
    pub place: Span,
    /// What it has besides.
    pub settings: Settings,
}

impl Layer {
    /// A layer without a name or settings.
    pub fn plain(op: Op, place: Span) -> Layer {
        Layer { op, name: None, place, settings: Settings::default() }
    }
}

/// How many layers there are in the network's plan, as far as the macro can see.
pub fn count(layers: &[Layer]) -> usize {
    let own = |layer: &Layer| {
        let parts = layer.op.parts().into_iter().map(count).fold(0, usize::saturating_add);
        match &layer.op {
            Op::Repeat { times, .. } => parts.saturating_mul(times.known().unwrap_or(1)),
            Op::Network { known: Some(_), .. } => parts,
            _ => parts.saturating_add(1),
        }
    };
    layers.iter().map(own).fold(0, usize::saturating_add)
}

/// The layers of a network, read but not checked.
pub struct Model {
    /// The input, and what gave it; none if the first layer is a network.
    pub input: Option<(InputShape, TokenStream)>,
    /// The layers behind it.
    pub layers: Vec<Layer>,
}
