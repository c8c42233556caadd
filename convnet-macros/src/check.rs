//! Phase four: the dry run. Walks the shape through the layers and complains of every layer that cannot be.
//!
//! The rules are those of `convnet_core::plan`, which remains the judge of what the macro cannot see. After a
//! complaint the walk goes on with the shape that the layer was meant to have, so that one mistake is one error.

use crate::error::{Complaint, Errors};
use crate::layer::{Layer, Model, Op, Window};
use crate::shape::{Misfit, Shape, behind, meant, params};
use proc_macro2::TokenStream;
use quote::ToTokens;
use std::collections::HashMap;

/// A network of the same `convnet!` that can be a layer of a later one.
pub struct Known {
    /// Its input's shape.
    pub input: Shape,
    /// Its layers, those of networks in it among them.
    pub layers: Vec<Layer>,
}

/// The networks above in the same `convnet!`, by name.
pub type KnownNetworks = HashMap<String, Known>;

/// A line of the summary.
pub struct Row {
    /// The layer's name: `conv2d_1`.
    pub name: String,
    /// Its kind: `Conv2D`.
    pub kind: &'static str,
    /// The shape behind it.
    pub shape: Shape,
    /// Its parameters, if they are known.
    pub params: Option<u128>,
}

/// What the dry run found out.
pub struct Checked {
    /// The summary's lines.
    pub rows: Vec<Row>,
    /// The same network for a later one, if all its layers are known.
    pub known: Option<Known>,
    /// Whether something is left that only the compiler can check.
    pub open: bool,
}

/// Checks a network.
pub fn check(model: &Model, networks: &KnownNetworks, errors: &Errors) -> Checked {
    let mut walk = Walk::new(model, errors);
    let input = walk.shape.clone();
    let mut layers = Vec::new();
    for (i, layer) in model.layers.iter().enumerate() {
        let last = i + 1 == model.layers.len();
        let inner = match &layer.op {
            Op::Network(path) => path.get_ident().and_then(|name| networks.get(&name.to_string())),
            _ => None,
        };
        match inner {
            Some(known) => layers.extend(walk.network(layer, known, last)),
            None => {
                walk.layer(layer, last);
                layers.push(layer.clone());
            }
        }
    }
    let open_input = model.input.as_ref().is_some_and(|_| input.dims().iter().any(|dim| dim.known().is_none()));
    let unknown = layers.iter().any(|layer| matches!(layer.op, Op::Network(_) | Op::Faulty { .. }));
    let open = open_input || unknown || layers.iter().any(|layer| layer.op.sizes().iter().any(|size| size.is_open()));
    let input = walk.input.clone();
    Checked { rows: walk.rows, known: (!unknown).then_some(Known { input, layers }), open }
}

struct Walk<'a> {
    errors: &'a Errors,
    input: Shape,
    shape: Shape,
    rows: Vec<Row>,
    /// Names so far, with what gave them.
    names: HashMap<String, TokenStream>,
    /// How many layers of a stem have been counted; `None` behind a network whose layers are unknown.
    counts: Option<HashMap<&'static str, usize>>,
    pooled: bool,
    params: u128,
    /// A `Flatten` in the wrong place has been complained about; another is no mistake of its own.
    displaced_flatten: bool,
}

impl<'a> Walk<'a> {
    fn new(model: &Model, errors: &'a Errors) -> Self {
        let shape = model.input.as_ref().map_or(Shape::Unknown, |(input, _)| Shape::from(input));
        Walk {
            errors,
            input: shape.clone(),
            shape,
            rows: Vec::new(),
            names: HashMap::new(),
            counts: Some(HashMap::new()),
            pooled: false,
            params: 0,
            displaced_flatten: false,
        }
    }

    /// Walks through a network of the same `convnet!`; gives its layers as layers of this one.
    fn network(&mut self, layer: &Layer, known: &Known, last: bool) -> Vec<Layer> {
        let Op::Network(path) = &layer.op else { return Vec::new() };
        let name = path.to_token_stream().to_string();
        if self.rows.is_empty() && self.shape == Shape::Unknown {
            self.input = known.input.clone();
        } else if self.shape.differs(&known.input) {
            let sentence = format!("`{name}` takes {}, but the layer above gives {}", known.input, self.shape);
            self.errors.on(path, Complaint::new(sentence).trail(&self.trail()));
        }
        self.shape = known.input.clone();
        let inner: Vec<Layer> = known
            .layers
            .iter()
            .map(|inner| Layer { place: layer.place, within: Some(name.clone()), ..inner.clone() })
            .collect();
        for (i, layer) in inner.iter().enumerate() {
            self.layer(layer, last && i + 1 == inner.len());
        }
        inner
    }

    fn layer(&mut self, layer: &Layer, last: bool) {
        let name = self.name(layer);
        self.check_activation(layer, last);
        let above = self.shape.clone();
        self.shape = behind(&layer.op, &above).unwrap_or_else(|misfit| {
            self.misfit(layer, &misfit);
            meant(&layer.op, &above, &misfit)
        });
        let params = params(&layer.op, &above);
        self.check_volume(layer, params);
        self.pooled |= matches!(layer.op, Op::MaxPooling2D { .. });
        self.rows.push(Row { name, kind: layer.op.kind(), shape: self.shape.clone(), params });
    }

    /// The layer's name; complains if an earlier layer has it.
    fn name(&mut self, layer: &Layer) -> String {
        match (&layer.name, &layer.op) {
            (Some((name, tokens)), _) => {
                let tokens = if layer.within.is_some() { TokenStream::new() } else { tokens.clone() };
                self.take_name(layer, name.clone(), tokens);
                name.clone()
            }
            (None, Op::Network(path)) => {
                self.counts = None;
                crate::layer::compact(path.to_token_stream())
            }
            (None, Op::Faulty { .. }) => "?".to_string(),
            (None, op) => {
                let Some(counts) = &mut self.counts else { return format!("{}_?", op.stem()) };
                let count = counts.entry(op.stem()).or_insert(0);
                *count += 1;
                let name = format!("{}_{count}", op.stem());
                self.take_name(layer, name.clone(), TokenStream::new());
                name
            }
        }
    }

    /// Takes a name, given by these tokens or (if there are none) by counting.
    fn take_name(&mut self, layer: &Layer, name: String, tokens: TokenStream) {
        let Some(earlier) = self.names.get(&name) else {
            self.names.insert(name, tokens);
            return;
        };
        if layer.name.is_some() || earlier.is_empty() {
            let complaint =
                Complaint::new(format!("{}: the name \"{name}\" belongs to an earlier layer", label(layer)));
            let complaint = complaint.help("names are the keys of saved weights; give each layer its own");
            self.complain(layer, &tokens, complaint);
        } else {
            // The counted name is Keras's; what can be changed is the given one.
            let sentence =
                format!("the name \"{name}\" is the one that a later layer without a `name` gets by counting");
            self.errors.on(earlier, Complaint::new(sentence).help("choose another name"));
        }
    }

    /// Complains about these tokens, or about the layer if there are none.
    fn complain(&self, layer: &Layer, tokens: &TokenStream, complaint: Complaint) {
        if tokens.is_empty() || layer.within.is_some() {
            self.errors.at(layer.place, complaint);
        } else {
            self.errors.on(tokens, complaint);
        }
    }

    fn check_activation(&self, layer: &Layer, last: bool) {
        let Some(activation) = layer.op.activation() else { return };
        if activation.name == "softmax" && !last {
            let sentence = format!("{}: `\"softmax\"` belongs to the last layer only", label(layer));
            self.complain(layer, &activation.tokens, Complaint::new(sentence).help("use `\"relu\"` here"));
        }
    }

    /// Complains of numbers that no machine can address: values of a shape, parameters of the network.
    fn check_volume(&mut self, layer: &Layer, params: Option<u128>) {
        let most = isize::MAX as u128 / size_of::<f32>() as u128;
        let kind = label(layer);
        self.params = self.params.saturating_add(params.unwrap_or(0));
        if self.params > most {
            self.params = 0;
            let count = params.unwrap_or(0);
            let complaint = format!("{kind}: {count} parameters are more than a machine can address");
            self.complain(layer, &TokenStream::new(), complaint.into());
        } else if self.shape.values().is_some_and(|values| values > most) {
            let complaint = format!("{kind}: the shape {} has more values than a machine can address", self.shape);
            self.complain(layer, &TokenStream::new(), complaint.into());
            self.shape = Shape::Unknown;
        }
    }

    fn misfit(&mut self, layer: &Layer, misfit: &Misfit) {
        let kind = label(layer);
        match (misfit, &layer.op) {
            (Misfit::WindowTooLarge, Op::Conv2D { window, .. } | Op::MaxPooling2D { window }) => {
                let complaint = self.window_too_large(&kind, window);
                self.complain(layer, &window.tokens, complaint);
            }
            (Misfit::NeedsMap, _) => {
                let sentence = format!(
                    "{kind}: needs a feature map (height, width, channels), but {} the vector {}",
                    self.above("gives", "is"),
                    self.shape
                );
                let help = match self.rows.is_empty() {
                    true => "give the input three sizes: `Input(28, 28, 1)`".to_string(),
                    false => format!("put the `{}` before `Flatten()`", layer.op.kind()),
                };
                self.displaced_flatten = true;
                self.complain_of_layer(layer, sentence, &help);
            }
            (Misfit::NeedsVector, _) => {
                let sentence =
                    format!("{kind}: needs a vector, but {} the feature map {}", self.above("gives", "is"), self.shape);
                self.displaced_flatten = true;
                self.complain_of_layer(layer, sentence, "put `Flatten()` before it");
            }
            // A `Flatten` behind the `Dense` that needed it has been complained about there.
            (Misfit::AlreadyFlat, _) if self.displaced_flatten => self.displaced_flatten = false,
            (Misfit::AlreadyFlat | Misfit::WindowTooLarge, _) => {
                let sentence = format!("{kind}: {} a vector already, {}", self.above("gives", "is"), self.shape);
                self.complain_of_layer(layer, sentence, "remove this `Flatten()`");
            }
        }
    }

    fn complain_of_layer(&self, layer: &Layer, sentence: String, help: &str) {
        let complaint = Complaint::new(sentence).trail(&self.trail()).help(help);
        self.complain(layer, &TokenStream::new(), complaint);
    }

    fn window_too_large(&self, kind: &str, window: &Window) -> Complaint {
        let [height, width, _] = match &self.shape {
            Shape::Map(dims) => dims.each_ref().map(ToString::to_string),
            _ => Default::default(),
        };
        let [rows, columns] = window.size.each_ref().map(|size| size.text());
        let reach = [0, 1].map(|axis| window.reach(axis).map_or("?".to_string(), |reach| reach.to_string()));
        let spread = if reach == [rows.clone(), columns.clone()] {
            String::new()
        } else {
            format!(", spread over {}×{} by its dilation,", reach[0], reach[1])
        };
        let map = if self.rows.is_empty() { "input" } else { "feature map of the layer above" };
        let sentence = format!("{kind}: a {rows}×{columns} window{spread} does not fit the {height}×{width} {map}");
        let mut ways = Vec::new();
        if spread.is_empty() {
            ways.push(format!("use a window of at most {height}×{width}"));
        } else {
            ways.push("use a smaller window, a smaller dilation".to_string());
        }
        ways.push("`padding = \"same\"`".to_string());
        if self.pooled {
            ways.push("one pooling layer less".to_string());
        }
        let help = match &ways[..] {
            [first, second] => format!("{first} or {second}"),
            _ => format!("{}, {}, or {}", ways[0], ways[1], ways[2]),
        };
        Complaint::new(sentence).trail(&self.trail()).help(help)
    }

    /// "the layer above gives", or "the input is" for the first layer.
    fn above(&self, gives: &str, is: &str) -> String {
        if self.rows.is_empty() { format!("the input {is}") } else { format!("the layer above {gives}") }
    }

    /// `(28, 28, 1) → conv2d_1 (26, 26, 32) → … → conv2d_3 (3, 3, 64)`; nothing for the first layer.
    fn trail(&self) -> String {
        let stop = |row: &Row| format!("{} {}", row.name, row.shape);
        let mut stops = vec![self.input.to_string()];
        match &self.rows[..] {
            [] => return String::new(),
            [first, second, _, .., last] if self.rows.len() > 4 => {
                stops.extend([stop(first), stop(second), "…".to_string(), stop(last)]);
            }
            rows => stops.extend(rows.iter().map(stop)),
        }
        stops.join(" → ")
    }
}

/// How a complaint names the layer: `Conv2D`, or "Conv2D of `Base`".
fn label(layer: &Layer) -> String {
    match &layer.within {
        Some(network) => format!("{} of `{network}`", layer.op.kind()),
        None => layer.op.kind().to_string(),
    }
}
