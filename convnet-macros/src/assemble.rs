//! Phase three: the lines of a listing → a network: one input, then layers.

use crate::bind::{Bound, bind, lacks_parentheses};
use crate::error::{Complaint, Errors};
use crate::layer::{InputShape, Layer, Model, Op, compact};
use crate::parse::{Call, Entry, Listing};
use crate::value::Scope;
use quote::ToTokens;
use syn::{Ident, Path};

/// The most layers that a network may have, as in `convnet_core::plan`.
const MAX_LAYERS: usize = 1024;

/// Puts a network together.
pub fn assemble(listing: &Listing, scope: &Scope, errors: &Errors) -> Model {
    let mut model = Model { input: None, layers: Vec::new() };
    for entry in &listing.entries {
        match entry {
            Entry::Call(call) => add_call(&mut model, call, scope, errors),
            Entry::Network(path) => add_path(&mut model, path, scope, errors),
            Entry::Unread(place) => {
                let op = Op::Faulty { keeps_shape: false };
                model.layers.push(Layer { op, name: None, place: *place, within: None });
            }
        }
    }
    if let Some(layer) = model.layers.get(MAX_LAYERS) {
        let complaint = format!("{} layers are more than the {MAX_LAYERS} that a network may have", model.layers.len());
        errors.at(layer.place, complaint);
        model.layers.truncate(MAX_LAYERS);
    }
    complain_of_gaps(&model, listing, errors);
    model
}

fn add_call(model: &mut Model, call: &Call, scope: &Scope, errors: &Errors) {
    let name = &call.name;
    match bind(call, scope, errors) {
        Bound::Input(shape) => add_input(model, shape, name, errors),
        Bound::Layer(layer, shape) => {
            if let Some((shape, tokens)) = shape {
                let kind = layer.op.kind();
                if model.input.is_none() && model.layers.is_empty() {
                    model.input = Some((shape, tokens));
                } else if model.layers.is_empty() {
                    errors
                        .on(tokens, format!("{kind}: the `Input` above gives the shape already; remove `input_shape`"));
                } else {
                    errors.on(tokens, format!("{kind}: only the first layer has an `input_shape`; remove it here"));
                }
            }
            model.layers.push(*layer);
        }
    }
}

fn add_input(model: &mut Model, shape: InputShape, name: &Ident, errors: &Errors) {
    if model.input.is_some() {
        errors.on(name, "Input: the network has an input already; remove this one");
        return;
    }
    let takes_its_own = matches!(model.layers.first(), Some(Layer { op: Op::Network(_), .. }));
    if takes_its_own {
        errors.on(name, "Input: the first layer is a network and brings its input along; remove this one");
        return;
    }
    if !model.layers.is_empty() {
        errors.on(name, "Input: the input stands above all layers");
    }
    model.input = Some((shape, name.to_token_stream()));
}

/// A line without parentheses: an earlier network, unless it is a layer whose parentheses were forgotten.
fn add_path(model: &mut Model, path: &Path, scope: &Scope, errors: &Errors) {
    let Some(last) = path.segments.last().map(|segment| &segment.ident) else { return };
    if let Some(complaint) = path.get_ident().and_then(lacks_parentheses) {
        errors.on(path, complaint);
        let silent = Errors::new();
        match bind(&Call { name: last.clone(), arguments: Vec::new() }, scope, &silent) {
            Bound::Input(_) if model.input.is_none() => {
                model.input = Some((InputShape::Faulty, path.to_token_stream()));
            }
            Bound::Input(_) => {}
            Bound::Layer(layer, _) => model.layers.push(*layer),
        }
        silent.finish();
        return;
    }
    let op = if last.to_string().starts_with(char::is_lowercase) {
        let text = compact(path.to_token_stream());
        let complaint = Complaint::new(format!("`{text}` is no layer and no network"));
        errors
            .on(path, complaint.help("a layer is written `Conv2D(32, (3, 3))`, an earlier network by its type's name"));
        Op::Faulty { keeps_shape: false }
    } else {
        Op::Network(path.clone())
    };
    model.layers.push(Layer { op, name: None, place: last.span(), within: None });
}

/// Complains of a listing without input or layers, unless what is left out of it may be just that.
fn complain_of_gaps(model: &Model, listing: &Listing, errors: &Errors) {
    match (&model.input, model.layers.first()) {
        (None, None) if listing.complete => {
            let complaint = Complaint::new("this network has no layers");
            errors.at(listing.place, complaint.help("begin with its input: `Input(28, 28, 1)`"));
        }
        (Some((_, tokens)), None) if listing.complete => {
            errors.on(tokens, "there is no layer behind the input");
        }
        (None, Some(first)) if !matches!(first.op, Op::Network(_) | Op::Faulty { .. }) => {
            let kind = first.op.kind();
            let shape = if kind == "Dense" { ["784", "784"] } else { ["28, 28, 1", "(28, 28, 1)"] };
            let complaint = Complaint::new(format!("{kind}: the shape of the network's input is missing"));
            let help = format!("begin with `Input({})`, or give this layer an `input_shape = {}`", shape[0], shape[1]);
            errors.at(first.place, complaint.help(help));
        }
        _ => {}
    }
}
