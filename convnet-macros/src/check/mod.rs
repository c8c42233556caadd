//! Phase four: the dry run. Walks the shape through the layers and complains of every layer that cannot be.
//!
//! The rules are those of `convnet_core::plan`, which remains the judge of what the macro cannot see. After a
//! complaint the walk goes on with the shape that the layer was meant to have, so that one mistake is one error.
//! Branches (`branches`) all begin from the same shape; repetitions are walked round by round until one is at fault;
//! a network of the same `convnet!` is walked as if its layers stood here, with complaints about it on its name.

mod branches;
mod messages;
mod names;

use crate::error::{Complaint, Errors};
use crate::layer::{InputShape, Known, Layer, Model, Op, Size, compact, count};
use crate::shape::{Params, Shape, behind, meant, params, repeated};
use names::Names;
use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

/// The most layers that a network may have, as in `convnet_core::plan`.
pub const MAX_LAYERS: usize = 1024;

/// A line of the summary.
pub struct Row {
    /// The layer's name: `conv2d_1`.
    pub name: String,
    /// Its kind: `Conv2D`.
    pub kind: &'static str,
    /// The shape behind it.
    pub shape: Shape,
    /// Its parameters, if they are known.
    pub params: Option<Params>,
    /// The tensors that it takes: 0 is the network's input, `i + 1` what stands behind row `i`.
    pub inputs: Vec<usize>,
}

/// What the dry run found out.
pub struct Checked {
    /// The shape of the network's input.
    pub input: Shape,
    /// The summary's lines.
    pub rows: Vec<Row>,
    /// The same network for a later one, if all its layers are known.
    pub known: Option<Known>,
    /// Whether something is left that only the compiler can check.
    pub open: bool,
}

/// Checks a network.
pub fn check(model: &Model, errors: &Errors) -> Checked {
    let input = input(model);
    let mut walk = Walk::new(input.as_ref(), count(&model.layers), errors);
    walk.layers(&model.layers, true);
    let all_known = model.layers.iter().all(|layer| layer.op.is_known());
    let open_input = input.as_ref().is_some_and(|input| input.sizes().iter().any(Size::is_open));
    let open = open_input || model.layers.iter().any(|layer| layer.op.is_open());
    let known = input.filter(|_| all_known);
    let known = known.map(|input| Known { generics: Vec::new(), input, layers: model.layers.clone() });
    Checked { input: walk.input, rows: walk.rows, known, open }
}

/// The network's input, be it that of its first layer.
pub fn input(model: &Model) -> Option<InputShape> {
    match (&model.input, model.layers.first().map(|layer| &layer.op)) {
        (Some((input, _)), _) => Some(input.clone()),
        (None, Some(Op::Network { known: Some(known), .. })) => Some(known.input.clone()),
        _ => None,
    }
}

/// A stop on the way of the shape from the input to the present layer.
#[derive(Clone)]
struct Stop {
    name: String,
    kind: &'static str,
    shape: Shape,
}

struct Walk<'a> {
    errors: &'a Errors,
    input: Shape,
    shape: Shape,
    /// The tensor of that shape, numbered as in [`Row::inputs`].
    tensor: usize,
    /// The layers between the input and the present one: of branches only those of the present branch.
    path: Vec<Stop>,
    rows: Vec<Row>,
    names: Names,
    params: u128,
    /// How many layers there are to come, and whether their number has been complained about.
    total: usize,
    too_many: bool,
    /// Whether the layers at hand are frozen.
    frozen: bool,
    /// The network of the same `convnet!` that is walked through, and its place in this listing.
    within: Option<(String, Span)>,
    /// The repetitions that the layers at hand are in: which round, of how many.
    rounds: Vec<(usize, usize)>,
    /// Inside a network or a further round: how many complaints there were before. One of these is enough.
    complaints_before: Option<usize>,
    /// A `Flatten` in the wrong place has been complained about; another is no mistake of its own.
    displaced_flatten: bool,
}

impl<'a> Walk<'a> {
    fn new(input: Option<&InputShape>, total: usize, errors: &'a Errors) -> Self {
        let shape = input.map_or(Shape::Unknown, Shape::from);
        Walk {
            errors,
            input: shape.clone(),
            shape,
            tensor: 0,
            path: Vec::new(),
            rows: Vec::new(),
            names: Names::new(),
            params: 0,
            total,
            too_many: false,
            frozen: false,
            within: None,
            rounds: Vec::new(),
            complaints_before: None,
            displaced_flatten: false,
        }
    }

    /// Walks through layers, behind which others follow unless they are the `last`.
    fn layers(&mut self, layers: &[Layer], last: bool) {
        for (i, layer) in layers.iter().enumerate() {
            if self.too_many || self.complaints_before.is_some_and(|before| self.errors.count() > before) {
                return;
            }
            let frozen = self.frozen;
            self.frozen |= layer.settings.frozen;
            let last = last && i + 1 == layers.len();
            match &layer.op {
                Op::Merge { merging, branches } => self.merge(layer, *merging, branches),
                Op::Repeat { times, layers } => self.repeat(times, layers, last),
                Op::Network { path, known: Some(known) } => {
                    self.network(layer, &compact(path.to_token_stream()), known, last);
                }
                _ => self.single(layer, last),
            }
            self.frozen = frozen;
        }
    }

    /// Walks through a network of the same `convnet!`.
    fn network(&mut self, layer: &Layer, name: &str, known: &Known, last: bool) {
        let wanted = Shape::from(&known.input);
        if self.shape.differs(&wanted) {
            let (kind, above) = (self.label(name), self.above("gives", "is"));
            let name = if kind == name { format!("`{name}`") } else { kind };
            let sentence = format!("{name} takes {wanted}, but {above} {}", self.shape);
            self.complain(layer, &TokenStream::new(), Complaint::new(sentence).trail(&self.trail()));
        }
        self.shape = self.shape.meet(&wanted);
        let outer = self.within.is_none();
        let (earlier, complaints) = (self.complaints_before, self.errors.count());
        if outer {
            self.within = Some((name.to_string(), layer.place));
            self.complaints_before = Some(complaints);
        }
        self.layers(&known.layers, last);
        if outer {
            self.within = None;
            self.complaints_before = earlier;
            if self.errors.count() > complaints {
                self.shape = Shape::Unknown;
            }
        }
    }

    /// Walks through the rounds of a repetition until one is at fault.
    fn repeat(&mut self, times: &Size, layers: &[Layer], last: bool) {
        let before = self.shape.clone();
        let all = times.known().unwrap_or(1);
        for round in 1..=all {
            let (rows, complaints) = (self.rows.len(), self.errors.count());
            self.rounds.push((round, all));
            let earlier = self.complaints_before;
            // What does not fit a second time would be told of every layer behind it.
            self.complaints_before = earlier.or((round > 1).then_some(complaints));
            self.layers(layers, last && round == all);
            self.complaints_before = earlier;
            self.rounds.pop();
            if round > 1 && self.errors.count() > complaints {
                self.shape = Shape::Unknown;
            }
            if self.rows.len() == rows || self.errors.count() > complaints || self.too_many {
                break;
            }
        }
        if times.known().is_none() {
            self.shape = repeated(&before, &self.shape);
            self.names.lose_count();
            let name = format!("{} times", times.text());
            self.add_row(name, "Repeat", None, vec![self.tensor]);
        }
    }

    /// Walks through a layer without others within.
    fn single(&mut self, layer: &Layer, last: bool) {
        self.check_count(layer);
        let name = self.name(layer);
        self.check_activation(layer, last);
        let above = self.shape.clone();
        self.shape = behind(&layer.op, &above).unwrap_or_else(|misfit| {
            self.misfit(layer, misfit);
            meant(&layer.op, &above, misfit)
        });
        let params = params(&layer.op, &above).map(|params| if self.frozen { params.frozen() } else { params });
        self.check_volume(layer, params);
        self.arrive(name, layer.op.kind(), params, vec![self.tensor]);
    }

    /// Adds a layer, which takes these tensors, to the way and to the summary.
    fn arrive(&mut self, name: String, kind: &'static str, params: Option<Params>, inputs: Vec<usize>) {
        self.path.push(Stop { name: name.clone(), kind, shape: self.shape.clone() });
        self.add_row(name, kind, params, inputs);
    }

    fn add_row(&mut self, name: String, kind: &'static str, params: Option<Params>, inputs: Vec<usize>) {
        self.rows.push(Row { name, kind, shape: self.shape.clone(), params, inputs });
        self.tensor = self.rows.len();
    }

    /// Complains about these tokens, or about the layer if there are none or they stand in another listing.
    fn complain(&self, layer: &Layer, tokens: &TokenStream, complaint: Complaint) {
        match &self.within {
            Some((_, place)) => self.errors.at(*place, complaint),
            None if tokens.is_empty() => self.errors.at(layer.place, complaint),
            None => self.errors.on(tokens, complaint),
        }
    }

    fn check_count(&mut self, layer: &Layer) {
        if self.rows.len() == MAX_LAYERS {
            self.too_many = true;
            let complaint = format!("{} layers are more than the {MAX_LAYERS} that a network may have", self.total);
            self.complain(layer, &TokenStream::new(), complaint.into());
        }
    }

    fn check_activation(&self, layer: &Layer, last: bool) {
        if last {
            return;
        }
        let label = self.label(layer.op.kind());
        if matches!(layer.op, Op::Softmax) {
            let sentence = format!("{label}: `\"softmax\"` belongs to the last layer only");
            self.complain(layer, &TokenStream::new(), Complaint::new(sentence).help("remove it, or use `ReLU()` here"));
        }
        if let Some(activation) = layer.op.activation().filter(|activation| activation.name == "softmax") {
            let sentence = format!("{label}: `\"softmax\"` belongs to the last layer only");
            self.complain(layer, &activation.tokens, Complaint::new(sentence).help("use `\"relu\"` here"));
        }
    }

    /// Complains of numbers that no machine can address: values of a shape, parameters of the network.
    fn check_volume(&mut self, layer: &Layer, params: Option<Params>) {
        let most = isize::MAX as u128 / size_of::<f32>() as u128;
        let kind = self.label(layer.op.kind());
        let count = params.unwrap_or_default().total();
        self.params = self.params.saturating_add(count);
        if self.params > most {
            self.params = 0;
            let complaint = format!("{kind}: {count} parameters are more than a machine can address");
            self.complain(layer, &TokenStream::new(), complaint.into());
        } else if self.shape.values().is_some_and(|values| values > most) {
            let complaint = format!("{kind}: the shape {} has more values than a machine can address", self.shape);
            self.complain(layer, &TokenStream::new(), complaint.into());
            self.shape = Shape::Unknown;
        }
    }
}
