//! Phase two: a call → a layer with its settings. What Keras's layers take stands in [`crate::keras`].
//!
//! First each argument finds its parameter, by position or by name (`arguments`), then `ops` and [`crate::value`]
//! read the values; `composition` does both for layers that hold listings. A layer with a mistake is still a layer,
//! with a plausible setting in place of the wrong one.

mod arguments;
mod composition;
mod ops;

use crate::assemble::Context;
use crate::error::{Complaint, Errors};
use crate::keras::{self, INSTEAD, NO_LAYERS_YET, SIGNATURES, SYNONYMS};
use crate::layer::{InputShape, Layer, Op};
use crate::parse::Call;
use crate::suggest;
use crate::value::Reader;
use arguments::Arguments;
use ops::Values;
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::Ident;

pub use composition::network;

/// What a call of a listing turned out to be.
pub enum Bound {
    /// `Input(…)`
    Input(InputShape),
    /// A layer, and its `input_shape` with the tokens that gave it.
    Layer(Box<Layer>, Option<(InputShape, TokenStream)>),
}

/// Reads a call.
pub fn bind(call: &Call, context: &Context) -> Bound {
    let place = call.name.span();
    let kind = match known_layer(call, context.errors) {
        Ok(kind) => kind,
        Err(keeps_shape) => return Bound::Layer(Box::new(Layer::plain(Op::Faulty { keeps_shape }, place)), None),
    };
    // The arguments of another library's layer are other ones, too: of these nothing is said.
    let silent = Errors::new();
    let foreign = SYNONYMS.iter().any(|(other, _)| call.name == other);
    let bound = bind_known(call, kind, if foreign { &silent } else { context.errors }, context);
    silent.finish();
    bound
}

/// Reads a call of this layer, whose own arguments are complained about in `errors`.
fn bind_known(call: &Call, kind: &'static str, errors: &Errors, context: &Context) -> Bound {
    let place = call.name.span();
    let reader = Reader { layer: kind, scope: context.scope, errors };
    if let Some(signature) = SIGNATURES.iter().find(|signature| signature.layer == kind) {
        let arguments = Arguments::new(call, signature, errors);
        let values = Values { arguments: &arguments, reader: &reader };
        let (op, settings) = (values.op(&call.name), values.settings(signature));
        let layer = Layer { op, name: values.name(), place, settings };
        let shape = arguments.get("input_shape").map(|shape| (reader.shape(shape), shape.to_token_stream()));
        return Bound::Layer(Box::new(layer), shape);
    }
    match kind {
        "Input" => Bound::Input(input(call, &reader)),
        "Repeat" => Bound::Layer(Box::new(composition::repeat(call, context)), None),
        merge => Bound::Layer(Box::new(composition::merge(call, merge, context)), None),
    }
}

/// Whether a name is that of a layer, here or elsewhere, and cannot be a network's.
pub fn is_layer(name: &Ident) -> bool {
    let elsewhere = NO_LAYERS_YET.iter().map(|(layer, _)| *layer).chain(SYNONYMS.iter().map(|(other, _)| *other));
    keras::layers().chain(elsewhere).any(|layer| name == layer)
}

/// Complains where a known layer stands without parentheses, where the path would else be taken for a network.
pub fn lacks_parentheses(name: &Ident) -> Option<Complaint> {
    let text = name.to_string();
    let mut layers = keras::layers().chain(NO_LAYERS_YET.iter().map(|(layer, _)| *layer));
    let near = layers.find(|layer| layer.eq_ignore_ascii_case(&text))?;
    let example = keras::example(near).map_or_else(|| format!("{near}()"), str::to_string);
    Some(Complaint::new(format!("`{text}` is a layer and needs parentheses")).help(format!("write `{example}`")))
}

/// The layer that a name means; whether it keeps the shape, if it means none. Complains unless it is spelled right.
fn known_layer(call: &Call, errors: &Errors) -> Result<&'static str, bool> {
    let name = &call.name;
    let text = name.to_string();
    if let Some(exact) = keras::layers().find(|layer| *layer == text) {
        return Ok(exact);
    }
    let layers = || keras::layers().map(|layer| format!("`{layer}`")).collect::<Vec<_>>().join(", ");
    if let Some((later, keeps_shape)) = NO_LAYERS_YET.iter().find(|(layer, _)| *layer == text) {
        let complaint = Complaint::new(format!("{later} is not supported yet"));
        let instead = INSTEAD.iter().find(|(layer, _)| *layer == text);
        errors.on(
            name,
            complaint.help(instead.map_or_else(|| format!("there are {}", layers()), |(_, help)| help.to_string())),
        );
        return Err(*keeps_shape);
    }
    let synonym = SYNONYMS.iter().find(|(other, _)| *other == text).map(|(_, layer)| *layer);
    let slip = || SYNONYMS.iter().find(|(other, _)| suggest::alike(other, &text)).map(|(_, layer)| *layer);
    let near = synonym.or_else(|| suggest::nearest(&text, keras::layers())).or_else(slip);
    let complaint = Complaint::new(format!("unknown layer `{text}`"));
    if matches!(&text[..], "Sequential" | "Model") {
        let help =
            "write its layers here, or give them a name above, `type Features = […];`, and write `Features` here";
        errors.on(name, complaint.help(help));
        return Err(false);
    }
    if let Some(near) = near.and_then(|near| keras::layers().find(|layer| *layer == near)) {
        errors.on(name, complaint.help(format!("did you mean `{near}`?")));
        return Ok(near);
    }
    if let Some((later, keeps_shape)) = suggest::nearest(&text, NO_LAYERS_YET.map(|(layer, _)| layer))
        .and_then(|near| NO_LAYERS_YET.iter().find(|(layer, _)| *layer == near))
    {
        errors.on(name, complaint.help(format!("`{later}` is not supported yet")));
        return Err(*keeps_shape);
    }
    let help = if call.arguments.is_empty() {
        format!("there are {}; an earlier network stands without parentheses: `{text}`", layers())
    } else {
        format!("there are {}", layers())
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
