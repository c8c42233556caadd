//! A network with mistakes → the nearest one without, for the expansion.
//!
//! All mistakes have been complained about when this runs. The repaired network only keeps the compiler from adding
//! errors of its own, and the editor working.

use crate::check::KnownNetworks;
use crate::layer::{InputShape, Layer, Model, Op, Size, Window, compact};
use crate::shape::{Misfit, Shape, behind, params};
use proc_macro2::TokenStream;
use quote::ToTokens;

/// No parameter count above this in a repaired network: beyond it lie the sizes that overflow.
const MOST_PARAMS: u128 = 1 << 48;

/// Repairs a network.
pub fn repair(model: Model, networks: &KnownNetworks) -> Model {
    let input = model.input.map(|(shape, tokens)| (repaired_input(shape), tokens));
    let starts_with_network = matches!(model.layers.first(), Some(Layer { op: Op::Network(_), .. }));
    let input = input.or_else(|| (!starts_with_network).then(|| (plain_input(&model.layers), TokenStream::new())));
    let mut shape = input.as_ref().map_or(Shape::Unknown, |(input, _)| Shape::from(input));
    let mut layers: Vec<Layer> = Vec::new();
    let count = model.layers.len();
    for (i, layer) in model.layers.into_iter().enumerate() {
        let op = repaired_op(layer.op, i + 1 == count);
        let wanted = match (&op, behind(&op, &shape)) {
            (Op::Faulty { .. }, _) | (_, Err(Misfit::NeedsMap | Misfit::AlreadyFlat)) => Vec::new(),
            (Op::Network(path), _) => {
                let known = path.get_ident().and_then(|name| networks.get(&name.to_string()));
                let fits = known.is_none_or(|known| !shape.differs(&known.input));
                if fits && !layers.iter().any(|layer| is_network(layer, path)) { vec![op] } else { Vec::new() }
            }
            (_, Ok(_)) => vec![op],
            (_, Err(Misfit::NeedsVector)) => vec![Op::Flatten, op],
            (_, Err(Misfit::WindowTooLarge)) => vec![padded(op)],
        };
        for op in wanted {
            let small = params(&op, &shape).is_none_or(|params| params < MOST_PARAMS);
            if let (true, Ok(next)) = (small, behind(&op, &shape)) {
                shape = next;
                layers.push(Layer { op, name: None, place: layer.place, within: None });
            }
        }
    }
    Model { input, layers }
}

fn is_network(layer: &Layer, path: &syn::Path) -> bool {
    matches!(&layer.op, Op::Network(other) if compact(other.to_token_stream()) == compact(path.to_token_stream()))
}

fn repaired_size(size: Size) -> Size {
    if let Size::Faulty = size { Size::Known(1) } else { size }
}

fn repaired_input(input: InputShape) -> InputShape {
    match input {
        InputShape::Map(sizes) => InputShape::Map(sizes.map(repaired_size)),
        InputShape::Vector(size) => InputShape::Vector(repaired_size(size)),
        InputShape::Faulty => InputShape::Map([Size::Known(1), Size::Known(1), Size::Known(1)]),
    }
}

/// An input for a network that lacks one.
fn plain_input(layers: &[Layer]) -> InputShape {
    match layers.first() {
        Some(Layer { op: Op::Dense { .. }, .. }) => InputShape::Vector(Size::Known(1)),
        _ => repaired_input(InputShape::Faulty),
    }
}

fn repaired_op(op: Op, last: bool) -> Op {
    match op {
        Op::Conv2D { filters, window, mut activation, use_bias } => {
            if activation.name == "softmax" && !last {
                activation.name = "linear";
            }
            Op::Conv2D { filters: repaired_size(filters), window: repaired_window(window), activation, use_bias }
        }
        Op::Dense { units, mut activation, use_bias } => {
            if activation.name == "softmax" && !last {
                activation.name = "linear";
            }
            Op::Dense { units: repaired_size(units), activation, use_bias }
        }
        Op::MaxPooling2D { window } => Op::MaxPooling2D { window: repaired_window(window) },
        Op::Flatten | Op::Network(_) | Op::Faulty { .. } => op,
    }
}

fn repaired_window(window: Window) -> Window {
    Window {
        size: window.size.map(repaired_size),
        strides: window.strides.map(repaired_size),
        dilation: window.dilation.map(repaired_size),
        ..window
    }
}

fn padded(op: Op) -> Op {
    match op {
        Op::Conv2D { filters, window, activation, use_bias } => {
            Op::Conv2D { filters, window: window.padded(), activation, use_bias }
        }
        Op::MaxPooling2D { window } => Op::MaxPooling2D { window: window.padded() },
        other => other,
    }
}
