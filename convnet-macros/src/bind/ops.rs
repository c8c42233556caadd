//! Arguments → what a layer does, with Keras's defaults.

use super::arguments::Arguments;
use crate::keras::Signature;
use crate::layer::{Activation, Finish, InputShape, Op, Padding, Real, Settings, Size, Window};
use crate::value::{FINITE, NOT_NEGATIVE, POSITIVE, RATE, Range, Reader, SHARE, evaluate};
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Expr, Ident};

/// Reads the values of one layer's arguments.
pub struct Values<'a> {
    /// The arguments.
    pub arguments: &'a Arguments<'a>,
    /// What reads them.
    pub reader: &'a Reader<'a>,
}

impl Values<'_> {
    /// What the layer does.
    pub fn op(&self, layer: &Ident) -> Op {
        self.reject_unsupported();
        match self.reader.layer {
            "Conv2D" => Op::Conv2D {
                filters: self.size("filters", Size::Faulty),
                groups: self.size("groups", Size::Known(1)),
                window: self.window("kernel_size", None, layer),
                finish: self.finish(),
            },
            "DepthwiseConv2D" => Op::DepthwiseConv2D {
                multiplier: self.size("depth_multiplier", Size::Known(1)),
                window: self.window("kernel_size", None, layer),
                finish: self.finish(),
            },
            "SeparableConv2D" => Op::SeparableConv2D {
                filters: self.size("filters", Size::Faulty),
                multiplier: self.size("depth_multiplier", Size::Known(1)),
                window: self.window("kernel_size", None, layer),
                finish: self.finish(),
            },
            "MaxPooling2D" => Op::MaxPooling2D { window: self.window("pool_size", Some(2), layer) },
            "AveragePooling2D" => Op::AveragePooling2D { window: self.window("pool_size", Some(2), layer) },
            "GlobalAveragePooling2D" => Op::GlobalAveragePooling2D { keepdims: self.switch("keepdims", false) },
            "GlobalMaxPooling2D" => Op::GlobalMaxPooling2D { keepdims: self.switch("keepdims", false) },
            "ZeroPadding2D" => Op::ZeroPadding2D {
                sides: self.read("padding", [1; 4].map(Size::Known), |value| self.reader.margins(value)),
            },
            "UpSampling2D" => Op::UpSampling2D {
                factors: self.read("size", [2; 2].map(Size::Known), |value| self.reader.pair("size", value)),
                bilinear: self.read("interpolation", false, |value| self.reader.bilinear(value)),
            },
            "Flatten" => Op::Flatten,
            "Reshape" => self.reshape(),
            "Dense" => Op::Dense { units: self.size("units", Size::Faulty), finish: self.finish() },
            "Rescaling" => {
                Op::Rescaling { scale: self.real("scale", 1.0, &FINITE), offset: self.real("offset", 0.0, &FINITE) }
            }
            "Dropout" => Op::Dropout { rate: self.real("rate", 0.5, &RATE) },
            "BatchNormalization" => Op::BatchNormalization {
                momentum: self.real("momentum", 0.99, &SHARE),
                epsilon: self.real("epsilon", 0.001, &POSITIVE),
                center: self.switch("center", true),
                scale: self.switch("scale", true),
            },
            "Activation" => Op::Activation(self.activation()),
            "ReLU" => Op::ReLU {
                max_value: self.real("max_value", f64::INFINITY, &NOT_NEGATIVE),
                negative_slope: self.real("negative_slope", 0.0, &NOT_NEGATIVE),
                threshold: self.real("threshold", 0.0, &NOT_NEGATIVE),
            },
            "LeakyReLU" => Op::LeakyReLU { negative_slope: self.real("negative_slope", 0.3, &NOT_NEGATIVE) },
            "Softmax" => Op::Softmax,
            _ => Op::Faulty { keeps_shape: false },
        }
    }

    /// What the layer has besides.
    pub fn settings(&self, signature: &Signature) -> Settings {
        let mut settings = Settings { frozen: self.is_frozen(), ..Settings::default() };
        for (role, weight) in signature.weights.iter().enumerate() {
            let [initializer, regularizer] =
                ["initializer", "regularizer"].map(|setting| format!("{weight}_{setting}"));
            let given = self.arguments.given(&initializer);
            if let Some(class) = given.and_then(|value| self.reader.initializer(&initializer, value)) {
                settings.initializers.push((role, class));
            }
            let given = self.arguments.given(&regularizer);
            if let Some(factor) = given.and_then(|value| self.reader.regularizer(&regularizer, value)) {
                settings.regularizers.push((role, factor));
            }
        }
        settings
    }

    /// `trainable = false`
    pub fn is_frozen(&self) -> bool {
        !self.switch("trainable", true)
    }

    /// The layer's own name.
    pub fn name(&self) -> Option<(String, TokenStream)> {
        self.arguments.given("name").and_then(|name| self.reader.name(name))
    }

    fn read<T>(&self, parameter: &str, default: T, read: impl Fn(&Expr) -> T) -> T {
        self.arguments.get(parameter).map_or(default, read)
    }

    fn size(&self, parameter: &str, default: Size) -> Size {
        let faulty = || if self.arguments.has(parameter) { Size::Faulty } else { default };
        self.arguments.get(parameter).map_or_else(faulty, |value| self.reader.size(parameter, value))
    }

    fn real(&self, parameter: &str, default: f64, range: &Range) -> Real {
        let value = if default == f64::INFINITY || parameter == "offset" {
            self.arguments.given(parameter)
        } else {
            self.arguments.get(parameter)
        };
        value.map_or(Real::Known(default), |value| self.reader.real(parameter, value, default, range))
    }

    fn switch(&self, parameter: &str, default: bool) -> bool {
        self.read(parameter, default, |value| self.reader.switch(parameter, value, default))
    }

    fn activation(&self) -> Activation {
        let none = Activation { name: "linear", tokens: TokenStream::new() };
        self.read("activation", none, |value| self.reader.activation(value))
    }

    fn finish(&self) -> Finish {
        Finish { activation: self.activation(), use_bias: self.switch("use_bias", true) }
    }

    fn reshape(&self) -> Op {
        let Some(value) = self.arguments.get("target_shape") else { return Op::Faulty { keeps_shape: false } };
        let (target, inferred) = self.reader.target(value);
        match target {
            InputShape::Faulty => Op::Faulty { keeps_shape: false },
            target => Op::Reshape { target, inferred, tokens: value.to_token_stream() },
        }
    }

    /// A window whose size has a default for pooling, where strides left out are the size.
    fn window(&self, size: &str, default: Option<usize>, layer: &Ident) -> Window {
        let pair = |parameter: &str| self.arguments.given(parameter).map(|value| self.reader.pair(parameter, value));
        let twice = |size: Size| [size.clone(), size];
        let given = self.arguments.get(size);
        let window = match given {
            Some(value) => self.reader.pair(size, value),
            None if self.arguments.has(size) => twice(Size::Faulty),
            None => twice(default.map_or(Size::Faulty, Size::Known)),
        };
        let step = if default.is_some() { window.clone() } else { twice(Size::Known(1)) };
        Window {
            strides: pair("strides").unwrap_or(step),
            dilation: pair("dilation_rate").unwrap_or(twice(Size::Known(1))),
            padding: self.read("padding", Padding::Valid, |value| self.reader.padding(value)),
            tokens: given.map_or_else(|| layer.to_token_stream(), ToTokens::to_token_stream),
            size: window,
        }
    }

    /// Arguments that are there for Keras's positions and have but one value here.
    pub fn reject_unsupported(&self) {
        if let Some(value) = self.arguments.given("data_format") {
            self.reader.data_format(value);
        }
        if let Some(value) = self.arguments.given("axis").filter(|value| evaluate(value) != Some(-1)) {
            let sentence = "`axis` is always the last one, -1";
            self.reader.complain_and_help(value, sentence, "leave `axis` out");
        }
    }
}
