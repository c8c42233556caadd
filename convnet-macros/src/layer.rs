//! What the phases hand on: the layers of a listing once their arguments are read.
//!
//! A size is known to the macro (a literal), or it is an expression or a const generic that only the compiler can
//! evaluate. Beside each setting that can be wrong stand the tokens that gave it, for the arrow of an error.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::{Expr, Ident, Path};

/// A size in a listing.
#[derive(Clone)]
pub enum Size {
    /// A number that the macro knows.
    Known(usize),
    /// An expression of constants.
    Constant(Box<Expr>),
    /// A const generic (or, where the macro cannot tell, any single identifier).
    Generic(Ident),
    /// It was wrong and has been complained about.
    Faulty,
}

impl Size {
    /// The number, if the macro knows it.
    pub fn known(&self) -> Option<usize> {
        match self {
            Size::Known(number) => Some(*number),
            _ => None,
        }
    }

    /// As in the listing.
    pub fn text(&self) -> String {
        match self {
            Size::Known(number) => number.to_string(),
            Size::Constant(expression) => compact(expression.to_token_stream()),
            Size::Generic(name) => name.to_string(),
            Size::Faulty => "?".to_string(),
        }
    }

    /// Whether it can only be known behind the macro.
    pub fn is_open(&self) -> bool {
        matches!(self, Size::Constant(_) | Size::Generic(_))
    }
}

/// Tokens as text, without the blanks around `::` that the compiler puts there.
pub fn compact(tokens: TokenStream) -> String {
    tokens.to_string().replace(" :: ", "::").replace(" < ", "<").replace(" >", ">")
}

/// The shape of a network's input as the listing gives it.
#[derive(Clone)]
pub enum InputShape {
    /// Height, width, channels.
    Map([Size; 3]),
    /// Features.
    Vector(Size),
    /// It was wrong and has been complained about.
    Faulty,
}

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

/// What a layer does.
#[derive(Clone)]
pub enum Op {
    /// A convolution.
    Conv2D { filters: Size, window: Window, activation: Activation, use_bias: bool },
    /// Max pooling.
    MaxPooling2D { window: Window },
    /// A map as a vector.
    Flatten,
    /// A fully connected layer.
    Dense { units: Size, activation: Activation, use_bias: bool },
    /// An earlier network.
    Network(Path),
    /// Complained about. Whether the shape behind it is the one above it.
    Faulty { keeps_shape: bool },
}

impl Op {
    /// The layer's name in a listing.
    pub fn kind(&self) -> &'static str {
        match self {
            Op::Conv2D { .. } => "Conv2D",
            Op::MaxPooling2D { .. } => "MaxPooling2D",
            Op::Flatten => "Flatten",
            Op::Dense { .. } => "Dense",
            Op::Network(_) => "network",
            Op::Faulty { .. } => "?",
        }
    }

    /// What Keras names such a layer, before the count.
    pub fn stem(&self) -> &'static str {
        match self {
            Op::Conv2D { .. } => "conv2d",
            Op::MaxPooling2D { .. } => "max_pooling2d",
            Op::Flatten => "flatten",
            Op::Dense { .. } => "dense",
            Op::Network(_) | Op::Faulty { .. } => "layer",
        }
    }

    /// The activation, where the layer has one.
    pub fn activation(&self) -> Option<&Activation> {
        match self {
            Op::Conv2D { activation, .. } | Op::Dense { activation, .. } => Some(activation),
            _ => None,
        }
    }

    /// Every size among the settings.
    pub fn sizes(&self) -> Vec<&Size> {
        match self {
            Op::Conv2D { filters, window, .. } => [filters].into_iter().chain(window.sizes()).collect(),
            Op::MaxPooling2D { window } => window.sizes().collect(),
            Op::Dense { units, .. } => vec![units],
            Op::Flatten | Op::Network(_) | Op::Faulty { .. } => Vec::new(),
        }
    }
}

impl Window {
    fn sizes(&self) -> impl Iterator<Item = &Size> {
        self.size.iter().chain(&self.strides).chain(&self.dilation)
    }
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
    /// The network that brought it along, if it does not stand in this listing itself.
    pub within: Option<String>,
}

/// The layers of a network, read but not checked.
pub struct Model {
    /// The input, and what gave it; none if the first layer is a network.
    pub input: Option<(InputShape, TokenStream)>,
    /// The layers behind it.
    pub layers: Vec<Layer>,
}
