//! A network with mistakes → the nearest one without, for the expansion.
//!
//! All mistakes have been complained about when this runs. The repaired network only keeps the compiler from adding
//! errors of its own, and the editor working.

use crate::check::MAX_LAYERS;
use crate::layer::{InputShape, Known, Layer, Model, Op, Size, compact, count};
use crate::shape::{Misfit, Shape, behind, merged, pad, params, through};
use proc_macro2::TokenStream;
use quote::ToTokens;

/// No parameter count above this in a repaired network: beyond it lie the sizes that overflow.
const MOST_PARAMS: u128 = 1 << 48;

/// No tensor with more values than this, for the same reason.
const MOST_VALUES: u128 = 1 << 48;

/// The most branches that a merge joins, as in `convnet_core::plan`.
const MAX_BRANCHES: usize = 8;

/// A size for what a block leaves open.
const USUAL_SIZE: usize = 32;

/// Repairs a network.
pub fn repair(model: Model) -> Model {
    let input = model.input.map(|(shape, tokens)| (repaired_input(shape), tokens));
    let input = input.or_else(|| plain_input(&model.layers).map(|shape| (shape, TokenStream::new())));
    let shape = input.as_ref().map_or(Shape::Unknown, |(input, _)| Shape::from(input));
    let mut repair = Repair { shape, networks: Vec::new(), room: MAX_LAYERS };
    let layers = repair.layers(model.layers, true);
    Model { input, layers }
}

struct Repair {
    /// The shape behind the layers so far.
    shape: Shape,
    /// The networks so far: their names could be taken if one came twice.
    networks: Vec<String>,
    /// How many layers more there may be.
    room: usize,
}

impl Repair {
    fn layers(&mut self, layers: Vec<Layer>, last: bool) -> Vec<Layer> {
        let count = layers.len();
        let mut repaired = Vec::new();
        for (i, layer) in layers.into_iter().enumerate() {
            self.layer(layer, last && i + 1 == count, &mut repaired);
        }
        repaired
    }

    fn layer(&mut self, layer: Layer, last: bool, to: &mut Vec<Layer>) {
        let place = layer.place;
        let ops = match layer.op {
            Op::Merge { merging, branches } => {
                let fork = self.shape.clone();
                let mut ends = Vec::new();
                for branch in branches.into_iter().take(MAX_BRANCHES) {
                    self.shape = fork.clone();
                    let branch = self.layers(branch, false);
                    ends.push((branch, self.shape.clone()));
                }
                let shapes: Vec<Shape> = ends.iter().map(|(_, shape)| shape.clone()).collect();
                match merged(merging, &shapes) {
                    Ok(shape) if ends.len() >= 2 && self.room > 0 && is_small(&shape) => {
                        let branches = ends.into_iter().map(|(branch, _)| branch).collect();
                        self.put(Op::Merge { merging, branches }, shape, layer.place, to);
                    }
                    // The longest branch alone is what is most like it.
                    _ => {
                        let longest = ends.into_iter().max_by_key(|(branch, _)| count(branch));
                        let (branch, shape) = longest.unwrap_or((Vec::new(), fork));
                        self.shape = shape;
                        to.extend(branch);
                    }
                }
                return;
            }
            Op::Repeat { times, layers } => {
                let (before, room) = (self.shape.clone(), self.room);
                let layers = self.layers(layers, false);
                let known = times.known().unwrap_or(1);
                let again = known.saturating_sub(1).saturating_mul(room - self.room);
                if self.shape == before && before != Shape::Unknown && !before.has_open() && again <= self.room {
                    self.room -= again;
                    to.push(Layer::plain(Op::Repeat { times: Size::Known(known.max(1)), layers }, place));
                } else {
                    to.extend(layers);
                }
                return;
            }
            Op::Network { path, known } => {
                if self.takes(&compact(path.to_token_stream()), known.as_deref()) {
                    vec![Op::Network { path, known }]
                } else {
                    Vec::new()
                }
            }
            op => self.single(op, last),
        };
        for op in ops {
            let single = [Layer::plain(op, place)];
            let small = params(&single[0].op, &self.shape).is_none_or(|params| params.total() < MOST_PARAMS);
            let [Layer { op, .. }] = match through(&single, &self.shape) {
                Ok(shape) if small && is_small(&shape) && count(&single) <= self.room => {
                    self.room -= count(&single);
                    self.shape = shape;
                    single
                }
                _ => continue,
            };
            to.push(Layer::plain(op, place));
        }
    }

    fn put(&mut self, op: Op, shape: Shape, place: proc_macro2::Span, to: &mut Vec<Layer>) {
        self.room -= 1;
        self.shape = shape;
        to.push(Layer::plain(op, place));
    }

    /// What a layer becomes: nothing, itself repaired, or with a `Flatten` before it.
    fn single(&self, mut op: Op, last: bool) -> Vec<Op> {
        if let Op::Softmax = op
            && !last
        {
            return Vec::new();
        }
        if let Some(activation) = op.activation_mut().filter(|activation| activation.name == "softmax" && !last) {
            activation.name = "linear";
        }
        for size in op.sizes() {
            repair_size(size);
        }
        match behind(&op, &self.shape) {
            Ok(_) if !matches!(op, Op::Faulty { .. }) => vec![op],
            Err(Misfit::NeedsVector) => vec![Op::Flatten, op],
            Err(Misfit::WindowTooLarge) => {
                pad(&mut op);
                vec![op]
            }
            Err(Misfit::Groups) => {
                if let Op::Conv2D { groups, .. } = &mut op {
                    *groups = Size::Known(1);
                }
                match behind(&op, &self.shape) {
                    Ok(_) => vec![op],
                    Err(_) => {
                        pad(&mut op);
                        vec![op]
                    }
                }
            }
            _ => Vec::new(),
        }
    }

    /// Whether a network can stand here: it fits, and comes for the first time.
    fn takes(&mut self, name: &str, known: Option<&Known>) -> bool {
        let fits = known.is_none_or(|known| {
            let input = Shape::from(&known.input);
            !self.shape.differs(&input) && through(&known.layers, &self.shape.meet(&input)).is_ok()
        });
        let first = !self.networks.iter().any(|other| other == name);
        self.networks.push(name.to_string());
        fits && first
    }
}

fn is_small(shape: &Shape) -> bool {
    shape.values().is_none_or(|values| values < MOST_VALUES)
}

fn repair_size(size: &mut Size) {
    if let Size::Faulty = size {
        *size = Size::Known(1);
    }
}

fn repaired_input(mut input: InputShape) -> InputShape {
    if let InputShape::Faulty = input {
        return InputShape::Map([Size::Known(1), Size::Known(1), Size::Known(1)]);
    }
    input.sizes_mut().iter_mut().for_each(repair_size);
    input
}

/// An input for a network that lacks one; none if its first layer is a network, which brings its own.
fn plain_input(layers: &[Layer]) -> Option<InputShape> {
    match layers.first().map(|layer| &layer.op) {
        Some(Op::Network { known: Some(known), .. }) if known.input.is_block() => {
            let mut input = known.input.clone();
            for size in input.sizes_mut() {
                if let Size::Any = size {
                    *size = Size::Known(USUAL_SIZE);
                }
            }
            Some(input)
        }
        Some(Op::Network { .. }) => None,
        Some(Op::Dense { .. }) => Some(InputShape::Vector(Size::Known(1))),
        _ => Some(repaired_input(InputShape::Faulty)),
    }
}
