//! Phase three: the lines of a listing → a network: one input, then layers, in branches and repetitions, too.

use crate::bind::{Bound, bind, is_layer, lacks_parentheses, network};
use crate::error::{Complaint, Errors};
use crate::layer::{InputShape, KnownNetworks, Layer, Model, Op, compact};
use crate::parse::{Call, Entry, Listing};
use crate::value::Scope;
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Ident, Path};

/// What a listing is read with.
pub struct Context<'a> {
    /// What identifiers among the sizes mean.
    pub scope: &'a Scope,
    /// The network's own name, if it has one.
    pub own: Option<&'a Ident>,
    /// The networks and blocks above in the same `convnet!`.
    pub networks: &'a KnownNetworks,
    /// Where complaints go.
    pub errors: &'a Errors,
}

/// Puts a network together.
pub fn assemble(listing: &Listing, context: &Context) -> Model {
    let mut assembly = Assembly { input: None, layers: Vec::new(), within: None, context };
    assembly.add(listing);
    let Assembly { input, layers, .. } = assembly;
    let model = Model { input, layers };
    complain_of_gaps(&model, listing, context.errors);
    model
}

/// The layers of a listing within a layer: a branch, or what is repeated.
pub fn part(listing: &Listing, within: &'static str, context: &Context) -> Vec<Layer> {
    let mut assembly = Assembly { input: None, layers: Vec::new(), within: Some(within), context };
    assembly.add(listing);
    assembly.layers
}

struct Assembly<'a> {
    input: Option<(InputShape, TokenStream)>,
    layers: Vec<Layer>,
    /// The layer whose listing this is, if it is not the network's.
    within: Option<&'static str>,
    context: &'a Context<'a>,
}

impl Assembly<'_> {
    fn add(&mut self, listing: &Listing) {
        for entry in &listing.entries {
            match entry {
                Entry::Call(call) => self.add_call(call),
                Entry::Bare(path) => self.add_path(path),
                Entry::Unread(place) => self.layers.push(Layer::plain(Op::Faulty { keeps_shape: false }, *place)),
            }
        }
    }

    fn add_call(&mut self, call: &Call) {
        let name = &call.name;
        if call.path.get_ident().is_none() && is_layer(name) {
            let complaint = Complaint::new("a layer is written without a path");
            self.context.errors.on(&call.path, complaint.help(format!("write `{name}(…)`")));
        } else if self.is_network(call) {
            self.layers.push(network(&call.path, Some(call), self.context));
            return;
        }
        match bind(call, self.context) {
            Bound::Input(shape) => self.add_input(shape, name),
            Bound::Layer(layer, shape) => {
                if let Some((shape, tokens)) = shape {
                    self.add_input_shape(shape, tokens, layer.op.kind());
                }
                self.layers.push(*layer);
            }
        }
    }

    /// Whether a call that is no layer's is a network's: it has a path or generics, is known, or is frozen, which a
    /// layer cannot be without other arguments.
    fn is_network(&self, call: &Call) -> bool {
        let frozen = |name: &Option<Ident>| name.as_ref().is_some_and(|name| name == "trainable");
        call.path.get_ident().is_none()
            || !is_layer(&call.name)
                && (self.context.networks.contains_key(&call.name.to_string())
                    || !call.arguments.is_empty() && call.arguments.iter().all(|argument| frozen(&argument.name)))
    }

    fn add_input_shape(&mut self, shape: InputShape, tokens: TokenStream, kind: &str) {
        let errors = self.context.errors;
        if let Some(within) = self.within {
            errors.on(tokens, format!("{kind}: a layer in {within} takes what stands above it; remove `input_shape`"));
        } else if self.input.is_none() && self.layers.is_empty() {
            self.input = Some((shape, tokens));
        } else if self.layers.is_empty() {
            errors.on(tokens, format!("{kind}: the `Input` above gives the shape already; remove `input_shape`"));
        } else {
            errors.on(tokens, format!("{kind}: only the first layer has an `input_shape`; remove it here"));
        }
    }

    fn add_input(&mut self, shape: InputShape, name: &Ident) {
        let errors = self.context.errors;
        if let Some(within) = self.within {
            errors.on(name, format!("Input: a listing in {within} begins with the tensor above it; remove this input"));
            return;
        }
        if self.input.is_some() {
            errors.on(name, "Input: the network has an input already; remove this one");
            return;
        }
        if matches!(self.layers.first(), Some(Layer { op: Op::Network { .. }, .. })) {
            errors.on(name, "Input: the first layer is a network and brings its input along; remove this one");
            return;
        }
        if !self.layers.is_empty() {
            errors.on(name, "Input: the input stands above all layers");
        }
        self.input = Some((shape, name.to_token_stream()));
    }

    /// A line without parentheses: an earlier network, unless it is a layer whose parentheses were forgotten.
    fn add_path(&mut self, path: &Path) {
        let Some(last) = path.segments.last().map(|segment| &segment.ident) else { return };
        if let Some(complaint) = path.get_ident().and_then(lacks_parentheses) {
            self.context.errors.on(path, complaint);
            self.add_silently(path, last);
        } else if last.to_string().starts_with(char::is_lowercase) {
            let text = compact(path.to_token_stream());
            let complaint = Complaint::new(format!("`{text}` is no layer and no network"));
            let help = "a layer is written `Conv2D(32, (3, 3))`, an earlier network by its type's name";
            self.context.errors.on(path, complaint.help(help));
            self.layers.push(Layer::plain(Op::Faulty { keeps_shape: false }, last.span()));
        } else {
            self.layers.push(network(path, None, self.context));
        }
    }

    /// Adds what a layer without parentheses would be, of which all has been said.
    fn add_silently(&mut self, path: &Path, name: &Ident) {
        let silent = Errors::new();
        let call = Call { path: path.clone(), name: name.clone(), arguments: Vec::new() };
        match bind(&call, &Context { errors: &silent, ..*self.context }) {
            Bound::Input(_) if self.input.is_none() => {
                self.input = Some((InputShape::Faulty, path.to_token_stream()));
            }
            Bound::Input(_) => {}
            Bound::Layer(layer, _) => self.layers.push(*layer),
        }
        silent.finish();
    }
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
        (None, Some(Layer { op: Op::Network { path, known: Some(known) }, .. })) if known.input.is_block() => {
            let name = compact(path.to_token_stream());
            let sizes = known.input.sizes();
            let complaint = format!(
                "`{name}` is a block, which takes {}: the input's shape is missing",
                crate::shape::Shape::from(&known.input)
            );
            let example = if sizes.len() == 1 {
                "Input(784)".to_string()
            } else {
                let channels = sizes[2].known().map_or("3".to_string(), |channels| channels.to_string());
                format!("Input(28, 28, {channels})")
            };
            errors.on(path, Complaint::new(complaint).help(format!("begin with `{example}`")));
        }
        (None, Some(first)) if !matches!(first.op, Op::Network { .. } | Op::Faulty { .. }) => {
            let kind = first.op.kind();
            let complaint = Complaint::new(format!("{kind}: the shape of the network's input is missing"));
            let shape = if kind == "Dense" { ["784", "784"] } else { ["28, 28, 1", "(28, 28, 1)"] };
            let begin = format!("begin with `Input({})`", shape[0]);
            let help = match &first.op {
                Op::Merge { .. } | Op::Repeat { .. } => begin,
                _ => format!("{begin}, or give this layer an `input_shape = {}`", shape[1]),
            };
            errors.at(first.place, complaint.help(help));
        }
        _ => {}
    }
}
