//! Phase two: a call → a layer with its settings. What Keras's layers take stands in [`crate::keras`].
//!
//! First each argument finds its parameter, by position or by name ([`bind`]), then [`crate::value`] reads the
//! values. A layer with a mistake is still a layer, with a plausible setting in place of the wrong one.

use crate::error::{Complaint, Errors};
use crate::keras::{LAYERS, NO_LAYERS_YET, NOT_YET, SIGNATURES, SYNONYMS, Signature};
use crate::layer::{Activation, InputShape, Layer, Op, Padding, Size, Window};
use crate::parse::{Argument, Call};
use crate::suggest;
use crate::value::{Reader, Scope, evaluate, is_none};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Expr, Ident};

/// What a call of a listing turned out to be.
pub enum Bound {
    /// `Input(…)`
    Input(InputShape),
    /// A layer, and its `input_shape` with the tokens that gave it.
    Layer(Box<Layer>, Option<(InputShape, TokenStream)>),
}

/// Reads a call.
pub fn bind(call: &Call, scope: &Scope, errors: &Errors) -> Bound {
    let faulty = |keeps_shape| {
        let layer = Layer { op: Op::Faulty { keeps_shape }, name: None, place: call.name.span(), within: None };
        Bound::Layer(Box::new(layer), None)
    };
    let kind = match known_layer(&call.name, call.arguments.is_empty(), errors) {
        Ok(kind) => kind,
        Err(keeps_shape) => return faulty(keeps_shape),
    };
    let reader = Reader { layer: kind, scope, errors };
    match SIGNATURES.iter().find(|signature| signature.layer == kind) {
        Some(signature) => {
            let arguments = Arguments::new(call, signature, errors);
            let layer = Layer {
                op: arguments.op(&reader, &call.name),
                name: arguments.get("name").filter(|name| !is_none(name)).and_then(|name| reader.name(name)),
                place: call.name.span(),
                within: None,
            };
            let shape = arguments.get("input_shape").map(|shape| (reader.shape(shape), shape.to_token_stream()));
            Bound::Layer(Box::new(layer), shape)
        }
        None => Bound::Input(input(call, &reader)),
    }
}

/// Complains where a known layer stands without parentheses, where the path would else be taken for a network.
pub fn lacks_parentheses(name: &Ident) -> Option<Complaint> {
    let text = name.to_string();
    let layers = LAYERS.iter().copied().chain(NO_LAYERS_YET.iter().map(|(layer, _)| *layer));
    let near = layers.into_iter().find(|layer| layer.eq_ignore_ascii_case(&text))?;
    let example = match near {
        "Input" => "Input(28, 28, 1)".to_string(),
        "Conv2D" => "Conv2D(32, (3, 3))".to_string(),
        "MaxPooling2D" => "MaxPooling2D((2, 2))".to_string(),
        "Dense" => "Dense(10)".to_string(),
        other => format!("{other}()"),
    };
    Some(Complaint::new(format!("`{text}` is a layer and needs parentheses")).help(format!("write `{example}`")))
}

/// The layer that a name means; whether it keeps the shape, if it means none. Complains unless it is spelled right.
fn known_layer(name: &Ident, bare: bool, errors: &Errors) -> Result<&'static str, bool> {
    let text = name.to_string();
    if let Some(exact) = LAYERS.iter().find(|layer| **layer == text) {
        return Ok(exact);
    }
    if let Some((later, keeps_shape)) = NO_LAYERS_YET.iter().find(|(layer, _)| *layer == text) {
        let help = match *later {
            "Activation" | "ReLU" | "LeakyReLU" | "Softmax" => {
                "write `activation = \"relu\"` (or `\"softmax\"`, …) in the layer above".to_string()
            }
            _ => format!("there are {}", LAYERS.map(|layer| format!("`{layer}`")).join(", ")),
        };
        errors.on(name, Complaint::new(format!("{later} is not supported yet")).help(help));
        return Err(*keeps_shape);
    }
    let synonym = SYNONYMS.iter().find(|(other, _)| *other == text).map(|(_, layer)| *layer);
    let near = synonym.or_else(|| suggest::nearest(&text, LAYERS));
    let complaint = Complaint::new(format!("unknown layer `{text}`"));
    if let Some(near) = near.and_then(|near| LAYERS.iter().copied().find(|layer| *layer == near)) {
        errors.on(name, complaint.help(format!("did you mean `{near}`?")));
        return Ok(near);
    }
    if let Some((later, keeps_shape)) = suggest::nearest(&text, NO_LAYERS_YET.map(|(layer, _)| layer))
        .and_then(|near| NO_LAYERS_YET.iter().find(|(layer, _)| *layer == near))
    {
        errors.on(name, complaint.help(format!("`{later}` is not supported yet")));
        return Err(*keeps_shape);
    }
    let layers = LAYERS.map(|layer| format!("`{layer}`")).join(", ");
    let help = if bare {
        format!("there are {layers}; an earlier network stands without parentheses: `{text}`")
    } else {
        format!("there are {layers}")
    };
    errors.on(name, complaint.help(help));
    Err(false)
}

/// `Input(28, 28, 1)`, `Input((28, 28, 1))`, `Input(784)`, `Input(shape = (28, 28, 1))`.
fn input(call: &Call, reader: &Reader) -> InputShape {
    let mut sizes = Vec::new();
    let mut shape = None;
    for argument in &call.arguments {
        match &argument.name {
            Some(name) if name != "shape" && name != "input_shape" => {
                let complaint = Complaint::new(format!("Input: unknown argument `{name}`"));
                reader.errors.on(name, complaint.help("its only argument is `shape`: `Input(shape = (28, 28, 1))`"));
                return InputShape::Faulty;
            }
            Some(name) if shape.is_some() || !sizes.is_empty() => {
                reader.errors.on(name, "Input: the shape is given twice");
                return InputShape::Faulty;
            }
            Some(_) => shape = argument.value.as_ref(),
            None => sizes.extend(argument.value.as_ref()),
        }
        if argument.value.is_none() {
            return InputShape::Faulty;
        }
    }
    match (shape, &sizes[..]) {
        (Some(shape), []) => reader.shape(shape),
        (Some(_), [size, ..]) => {
            reader.errors.on(size, "Input: the shape is given twice");
            InputShape::Faulty
        }
        (None, [shape]) => reader.shape(shape),
        (None, []) => reader.shape_of(&call.name, &[]),
        (None, sizes) => {
            let tokens = quote!(#(#sizes),*);
            reader.shape_of(tokens, sizes)
        }
    }
}

/// The arguments of a call, each with its parameter.
struct Arguments<'a> {
    values: Vec<(&'static str, Option<&'a Expr>)>,
}

impl<'a> Arguments<'a> {
    fn new(call: &'a Call, signature: &Signature, errors: &Errors) -> Self {
        let mut arguments = Arguments { values: Vec::new() };
        let mut strays = false;
        let mut seen_name = false;
        for (position, argument) in call.arguments.iter().enumerate() {
            let parameter = match &argument.name {
                Some(name) => arguments.by_name(name, signature, errors),
                None => arguments.by_position(position, argument, seen_name, signature, errors),
            };
            seen_name |= argument.name.is_some();
            match parameter {
                Some(parameter) => arguments.values.push((parameter, argument.value.as_ref())),
                None => strays = true,
            }
        }
        let missing: Vec<_> =
            signature.parameters[..signature.required].iter().filter(|name| !arguments.has(name)).collect();
        if !missing.is_empty() && !strays {
            let names = missing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
            let verb = if missing.len() == 1 { "is" } else { "are" };
            let example = if signature.layer == "Dense" { "Dense(10)" } else { "Conv2D(32, (3, 3))" };
            let complaint = Complaint::new(format!("{}: {names} {verb} missing", signature.layer));
            errors.on(&call.name, complaint.help(format!("write `{example}`")));
        }
        arguments
    }

    fn has(&self, parameter: &str) -> bool {
        self.values.iter().any(|(name, _)| *name == parameter)
    }

    fn get(&self, parameter: &str) -> Option<&'a Expr> {
        self.values.iter().find(|(name, _)| *name == parameter).and_then(|(_, value)| *value)
    }

    fn by_position(
        &self,
        position: usize,
        argument: &Argument,
        seen_name: bool,
        signature: &Signature,
        errors: &Errors,
    ) -> Option<&'static str> {
        let Signature { layer, parameters, positional, .. } = signature;
        let value = &argument.value;
        if seen_name {
            // Where it was meant to go is the first place that is still free.
            let free = parameters[..*positional].iter().find(|name| !self.has(name)).copied();
            let complaint =
                Complaint::new(format!("{layer}: an argument without a name stands behind one with a name"));
            let complaint = match free {
                Some(name) => complaint.help(format!("write `{name} = {}`", crate::layer::compact(quote!(#value)))),
                None => complaint,
            };
            errors.on(value, complaint);
            return free;
        }
        if position >= *positional {
            if position == *positional {
                let sentence = format!("{layer}: at most {positional} arguments can stand without a name");
                errors.on(
                    value,
                    Complaint::new(sentence).help(format!("they are {}", parameters[..*positional].join(", "))),
                );
            }
            return None;
        }
        Some(parameters[position])
    }

    fn by_name(&self, name: &Ident, signature: &Signature, errors: &Errors) -> Option<&'static str> {
        let Signature { layer, parameters, .. } = signature;
        let text = name.to_string();
        if NOT_YET.contains(&&text[..]) {
            errors.on(name, format!("{layer}: `{text}` is not supported yet"));
            return None;
        }
        let exact = parameters.iter().copied().find(|parameter| *parameter == text);
        let Some(parameter) = exact.or_else(|| likely_parameter(&text, parameters)) else {
            let complaint = Complaint::new(format!("{layer}: unknown argument `{text}`"));
            errors.on(name, complaint.help(format!("there are {}", parameters.join(", "))));
            return None;
        };
        if exact.is_none() {
            let complaint = Complaint::new(format!("{layer}: unknown argument `{text}`"));
            errors.on(name, complaint.help(format!("did you mean `{parameter}`?")));
        }
        if self.has(parameter) {
            if exact.is_some() {
                errors.on(name, format!("{layer}: `{parameter}` is given twice"));
            }
            return None;
        }
        Some(parameter)
    }

    /// The layer's settings, with Keras's defaults.
    fn op(&self, reader: &Reader, layer: &Ident) -> Op {
        self.reject_unsupported(reader);
        match reader.layer {
            "Conv2D" => Op::Conv2D {
                filters: self.size("filters", reader),
                window: self.window("kernel_size", None, reader, layer),
                activation: self.activation(reader),
                use_bias: self.use_bias(reader),
            },
            "MaxPooling2D" => Op::MaxPooling2D { window: self.window("pool_size", Some(2), reader, layer) },
            "Flatten" => Op::Flatten,
            _ => Op::Dense {
                units: self.size("units", reader),
                activation: self.activation(reader),
                use_bias: self.use_bias(reader),
            },
        }
    }

    fn size(&self, parameter: &str, reader: &Reader) -> Size {
        self.get(parameter).map_or(Size::Faulty, |value| reader.size(parameter, value))
    }

    fn activation(&self, reader: &Reader) -> Activation {
        let none = || Activation { name: "linear", tokens: TokenStream::new() };
        self.get("activation").map_or_else(none, |value| reader.activation(value))
    }

    fn use_bias(&self, reader: &Reader) -> bool {
        self.get("use_bias").is_none_or(|value| reader.switch("use_bias", value, true))
    }

    /// A window whose size has a default for pooling, where strides left out are the size.
    fn window(&self, size: &str, default: Option<usize>, reader: &Reader, layer: &Ident) -> Window {
        let pair = |parameter: &str| {
            self.get(parameter).filter(|value| !is_none(value)).map(|value| reader.pair(parameter, value))
        };
        let twice = |size: Size| [size.clone(), size];
        let given = self.get(size);
        let window = match given {
            Some(value) => reader.pair(size, value),
            None if self.has(size) => twice(Size::Faulty),
            None => twice(default.map_or(Size::Faulty, Size::Known)),
        };
        let step = if default.is_some() { window.clone() } else { twice(Size::Known(1)) };
        Window {
            strides: pair("strides").unwrap_or(step),
            dilation: pair("dilation_rate").unwrap_or(twice(Size::Known(1))),
            padding: self.get("padding").map_or(Padding::Valid, |value| reader.padding(value)),
            tokens: given.map_or_else(|| layer.to_token_stream(), ToTokens::to_token_stream),
            size: window,
        }
    }

    /// Arguments that are there for Keras's positions and have but one value here.
    fn reject_unsupported(&self, reader: &Reader) {
        if let Some(value) = self.get("groups").filter(|value| evaluate(value) != Some(1)) {
            reader.errors.on(value, format!("{}: `groups` other than 1 is not supported yet", reader.layer));
        }
        if let Some(value) = self.get("data_format").filter(|value| !is_none(value)) {
            reader.choice("data_format", value, &["channels_last"]);
        }
    }
}

/// The parameter that a wrong name means: the nearest, or the one it is a part of (`kernel`, `stride`, `size`).
fn likely_parameter(wrong: &str, parameters: &'static [&'static str]) -> Option<&'static str> {
    let near = suggest::nearest(wrong, parameters.iter().copied());
    let part = || parameters.iter().copied().find(|parameter| wrong.len() >= 4 && parameter.contains(wrong));
    near.or_else(part)
}
