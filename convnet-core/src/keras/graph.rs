//! The layers of a functional model in the order of a listing, its branches nested.
//!
//! A listing has branches only where they begin from one tensor and end in one merge. That tensor is the merge's
//! immediate dominator, the last layer through which every way from the input leads; between the two lie the branches,
//! each a listing again. Layers come behind those whose outputs they take, so that one walk forward finds all
//! dominators, and one backward from the output all listings.

use super::config::fault;
use super::listing::{Item, Line, Network};
use super::model::{Contents, Entry, batch_shape, input_sizes, read_layer};
use crate::plan::MAX_BRANCHES;
use crate::{Error, Result};
use serde_json::Value;

/// Branches may nest so deep.
const MAX_DEPTH: usize = 32;

/// A layer on its way into a listing.
struct Vertex<'a> {
    entry: &'a Entry<'a>,
    /// What it takes, by number; none for the input.
    inputs: Vec<usize>,
    /// The last layer through which every way to this one leads; its own number for the input.
    dominator: usize,
    /// How many layers lie on the way of dominators up to it.
    depth: usize,
    /// Whether a map comes out of it.
    map: bool,
    /// Its line, until it is in a listing.
    line: Option<Line>,
}

/// Reads a functional model.
pub(super) fn read(entries: &[Entry<'_>], config: &Value, what: &str, networks: &mut Vec<Network>) -> Result<Contents> {
    let input = end(config, "input_layers", what)?;
    let output = end(config, "output_layers", what)?;
    let Some(first) = entries.first().filter(|entry| entry.class == "InputLayer" && entry.name == input) else {
        return Err(fault(format!("{what}, layers"), "the InputLayer first", config.get("input_layers")));
    };
    let sizes = batch_shape(first.config).map(|shape| input_sizes(what, shape)).transpose()?;
    let sizes = sizes.ok_or_else(|| fault(format!("{what}, input"), "batch_shape", None))?;
    let root = Vertex { entry: first, inputs: vec![], dominator: 0, depth: 0, map: sizes.len() == 3, line: None };
    let mut vertices = vec![root];
    for entry in &entries[1..] {
        let vertex = read_vertex(entry, &vertices, networks)?;
        vertices.push(vertex);
    }
    let last = number_of(&vertices, output)
        .ok_or_else(|| fault(format!("{what}, output_layers"), "a layer of the model", Some(&Value::from(output))))?;
    let map = vertices[last].map;
    let items = listing(&mut vertices, 0, last, 0)?;
    match vertices[1..].iter().find(|vertex| vertex.line.is_some()) {
        None => Ok((sizes, items, map)),
        Some(unused) => Err(impossible(unused.entry, "a way from here to the model's output", "none")),
    }
}

/// The name of the only input or output: `[["name", 0, 0]]`, or `["name", 0, 0]`.
fn end<'a>(config: &'a Value, key: &str, what: &str) -> Result<&'a str> {
    let field = config.get(key);
    let name = field.and_then(Value::as_array).and_then(|list| match list.as_slice() {
        [Value::Array(only)] => only.first().and_then(Value::as_str),
        [Value::String(name), _, _] => Some(name),
        _ => None,
    });
    name.ok_or_else(|| fault(format!("{what}, {key}"), "one", field))
}

fn read_vertex<'a>(entry: &'a Entry<'a>, vertices: &[Vertex<'_>], networks: &mut Vec<Network>) -> Result<Vertex<'a>> {
    let mut inputs = Vec::new();
    for name in inbound(entry)? {
        let number = number_of(vertices, name);
        inputs.push(number.ok_or_else(|| impossible(entry, "the outputs of layers before it", name))?);
    }
    let Some(&first) = inputs.first() else {
        return Err(impossible(entry, "one input of the model", "another one"));
    };
    let mut map = vertices[first].map;
    let line = match read_layer(entry, &mut map, networks)? {
        Item::Line(line) | Item::Merge { merge: line, .. } => line,
    };
    let merges = matches!(entry.class, "Add" | "Concatenate");
    let expected = if merges { 2..=MAX_BRANCHES } else { 1..=1 };
    if !expected.contains(&inputs.len()) {
        let wanted = if merges { format!("2 to {MAX_BRANCHES} tensors") } else { "one tensor".to_owned() };
        return Err(impossible(entry, &wanted, &inputs.len().to_string()));
    }
    let dominator = inputs.iter().fold(first, |common, &input| meet(vertices, common, input));
    Ok(Vertex { entry, inputs, dominator, depth: vertices[dominator].depth + 1, map, line: Some(line) })
}

/// The last layer through which every way to both leads.
fn meet(vertices: &[Vertex<'_>], mut a: usize, mut b: usize) -> usize {
    while a != b {
        if vertices[a].depth < vertices[b].depth {
            std::mem::swap(&mut a, &mut b);
        }
        a = vertices[a].dominator;
    }
    a
}

/// What lies behind layer `from` up to layer `to`, which it dominates.
fn listing(vertices: &mut [Vertex<'_>], from: usize, to: usize, nesting: usize) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let mut at = to;
    while at != from {
        if at == 0 {
            return Err(impossible(vertices[to].entry, "branches that begin from one tensor", "one from elsewhere"));
        }
        let Some(line) = vertices[at].line.take() else {
            return Err(impossible(vertices[at].entry, "one place in the listing", "several"));
        };
        let (dominator, inputs) = (vertices[at].dominator, vertices[at].inputs.clone());
        if inputs.len() == 1 {
            items.push(Item::Line(line));
        } else if nesting == MAX_DEPTH {
            return Err(impossible(vertices[at].entry, &format!("at most {MAX_DEPTH} merges in each other"), "more"));
        } else {
            let branches =
                inputs.iter().map(|&input| listing(vertices, dominator, input, nesting + 1)).collect::<Result<_>>()?;
            items.push(Item::Merge { merge: line, branches });
        }
        at = dominator;
    }
    items.reverse();
    Ok(items)
}

fn number_of(vertices: &[Vertex<'_>], name: &str) -> Option<usize> {
    vertices.iter().position(|vertex| vertex.entry.name == name)
}

fn impossible(entry: &Entry<'_>, expected: &str, found: &str) -> Error {
    let what = format!("{} ({}), inbound_nodes", entry.name, entry.class);
    Error::Data { what, expected: expected.to_owned(), found: found.to_owned() }
}

/// The names of the layers whose outputs a layer takes. Used twice, it would have two nodes.
fn inbound<'a>(entry: &Entry<'a>) -> Result<Vec<&'a str>> {
    let field = entry.value.get("inbound_nodes");
    let nodes = field.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut names = Vec::new();
    match nodes {
        [] => {}
        [node] => collect(node, &mut names)
            .ok_or_else(|| impossible(entry, "the first outputs of layers used once", &node.to_string()))?,
        several => return Err(impossible(entry, "one use of the layer", &several.len().to_string())),
    }
    Ok(names)
}

/// Appends the names in a node: `["name", 0, 0, {}]` in Keras 2, `"keras_history": ["name", 0, 0]` in Keras 3. `None`
/// where a tensor is not the first output of a layer's first use.
fn collect<'a>(value: &'a Value, names: &mut Vec<&'a str>) -> Option<()> {
    match value {
        Value::Array(list) => match list.as_slice() {
            [Value::String(name), node, tensor, ..] => {
                let first = node.as_u64() == Some(0) && tensor.as_u64() == Some(0);
                first.then(|| names.push(name))
            }
            list => list.iter().try_for_each(|value| collect(value, names)),
        },
        Value::Object(fields) => match fields.get("keras_history") {
            Some(history) => collect(history, names),
            None => fields.values().try_for_each(|value| collect(value, names)),
        },
        _ => Some(()),
    }
}
