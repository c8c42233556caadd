//! Models of a configuration: where their layers stand, what they take, what they are called.

use super::config::{fault, size_of};
use super::listing::{Item, Line, Network};
use super::{graph, layers};
use crate::{Error, Result};
use serde_json::Value;

/// How errors call the outermost model.
const MODEL: &str = "the model";

/// The networks of a configuration, each behind those that it uses.
pub(super) fn read(json: &str) -> Result<Vec<Network>> {
    let value: Value = serde_json::from_str(json).map_err(|error| Error::Data {
        what: MODEL.to_owned(),
        expected: "JSON".to_owned(),
        found: error.to_string(),
    })?;
    let mut networks = Vec::new();
    let class = value.get("class_name").and_then(Value::as_str);
    let (Some(class), Some(config)) = (class.filter(|class| is_model(class)), value.get("config")) else {
        let found = value.get("class_name").or(Some(&value));
        return Err(fault(format!("{MODEL}, class_name"), "\"Sequential\" or \"Functional\", with a config", found));
    };
    read_model(class, config, MODEL, &mut networks)?;
    Ok(networks)
}

/// Whether a layer of that class is a model of its own. (`Model` is what Keras 2 calls a functional one.)
pub(super) fn is_model(class: &str) -> bool {
    matches!(class, "Sequential" | "Functional" | "Model")
}

/// One layer of a model as it stands in the list.
pub(super) struct Entry<'a> {
    pub class: &'a str,
    pub name: &'a str,
    pub config: &'a Value,
    pub value: &'a Value,
}

impl<'a> Entry<'a> {
    /// The `number`-th of a list, from one.
    fn read(number: usize, value: &'a Value) -> Result<Self> {
        let what = |field| format!("layer {number}, {field}");
        let class = value.get("class_name").and_then(Value::as_str);
        let class = class.ok_or_else(|| fault(what("class_name"), "the name of a layer", value.get("class_name")))?;
        let config = value.get("config").ok_or_else(|| fault(what("config"), "an object", None))?;
        let name = [value.get("name"), config.get("name")].into_iter().flatten().find_map(Value::as_str);
        let name = match name {
            Some(name) => name,
            // Keras 2.0.8 writes a model in a model as a list of layers, without a name.
            None if config.is_array() => class,
            None => return Err(fault(what("name"), "a name", config.get("name"))),
        };
        Ok(Entry { class, name, config, value })
    }
}

/// Reads a model and appends it to `networks`; returns its number there.
fn read_model(class: &str, config: &Value, what: &str, networks: &mut Vec<Network>) -> Result<usize> {
    // Keras 2.0.8 writes the layers of a sequential model without anything around them.
    let list = config.as_array().or_else(|| config.get("layers").and_then(Value::as_array));
    let list = list.ok_or_else(|| fault(format!("{what}, layers"), "a list of layers", config.get("layers")))?;
    let entries: Vec<Entry<'_>> =
        list.iter().enumerate().map(|(i, value)| Entry::read(i + 1, value)).collect::<Result<_>>()?;
    let (input, items, map) = if class == "Sequential" {
        read_sequence(&entries, config, what, networks)?
    } else {
        graph::read(&entries, config, what, networks)?
    };
    let name = type_name(config.get("name").and_then(Value::as_str), networks);
    networks.push(Network { name, input, items, map });
    Ok(networks.len() - 1)
}

/// Input, layers, and whether a map comes out.
pub(super) type Contents = (Vec<Option<usize>>, Vec<Item>, bool);

fn read_sequence(entries: &[Entry<'_>], config: &Value, what: &str, networks: &mut Vec<Network>) -> Result<Contents> {
    let (first, rest) = match entries.split_first() {
        Some((first, rest)) if first.class == "InputLayer" => (Some(first), rest),
        _ => (entries.first(), entries),
    };
    let built = config.get("build_input_shape").filter(|shape| !shape.is_null());
    let declared = first.and_then(|entry| batch_shape(entry.config)).or(built);
    let mut items = Vec::with_capacity(rest.len());
    let mut input = declared.map(|shape| input_sizes(what, shape)).transpose()?;
    let mut map = input.as_ref().is_none_or(|input| input.len() == 3);
    for entry in rest {
        let item = read_layer(entry, &mut map, networks)?;
        if input.is_none() && is_model(entry.class) {
            // A model as the first layer brings its own.
            input = networks.last().map(|network| network.input.clone());
        }
        items.push(item);
    }
    let input = input.ok_or_else(|| {
        let expected = "an InputLayer, or batch_input_shape in the first layer (a model that was built)";
        fault(format!("{what}, input"), expected, None)
    })?;
    Ok((input, items, map))
}

/// Reads a layer, or a model as one.
pub(super) fn read_layer(entry: &Entry<'_>, map: &mut bool, networks: &mut Vec<Network>) -> Result<Item> {
    if !is_model(entry.class) {
        return layers::read(entry.class, entry.name, entry.config, map);
    }
    let what = format!("{} ({})", entry.name, entry.class);
    let number = read_model(entry.class, entry.config, &what, networks)?;
    let network = &mut networks[number];
    *map = network.map;
    let frozen = network.thaw();
    Ok(Item::Line(Line { kind: network.name.clone(), arguments: Vec::new(), frozen: Some(frozen) }))
}

/// The input's shape in a layer's configuration: Keras 3's name, or Keras 2's.
pub(super) fn batch_shape(config: &Value) -> Option<&Value> {
    ["batch_shape", "batch_input_shape"].iter().find_map(|key| config.get(key)).filter(|shape| !shape.is_null())
}

/// `[null, 28, 28, 1]` without the batch.
pub(super) fn input_sizes(what: &str, shape: &Value) -> Result<Vec<Option<usize>>> {
    let size = |value: &Value| if value.is_null() { Some(None) } else { size_of(value).map(Some) };
    let sizes: Option<Vec<Option<usize>>> = shape.as_array().and_then(|shape| shape.iter().skip(1).map(size).collect());
    sizes.filter(|sizes| matches!(sizes.len(), 1 | 3)).ok_or_else(|| {
        fault(format!("{what}, input"), "[null, height, width, channels] or [null, features]", Some(shape))
    })
}

/// A type's name from a model's: `small_net` → `SmallNet`. Names that Keras made up (`sequential_3`) become `Net`.
fn type_name(given: Option<&str>, networks: &[Network]) -> String {
    /// Types of the prelude, and names that Keras makes up.
    const TAKEN: [&str; 10] =
        ["Self", "Model", "Network", "Input", "Repeat", "Fit", "Sequential", "Functional", "None", "L2"];
    let mut name = String::new();
    for word in given.unwrap_or("").split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let (first, rest) = word.split_at(1);
        name += &first.to_ascii_uppercase();
        name += rest;
    }
    let unnumbered = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if TAKEN.contains(&unnumbered)
        || TAKEN.contains(&name.as_str())
        || !name.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        name = "Net".to_owned();
    } else if layers::is_kind(&name) {
        name += "Net";
    }
    let taken = |name: &str| networks.iter().any(|network| network.name == name);
    let mut unique = name.clone();
    let mut number = 1;
    while taken(&unique) {
        number += 1;
        unique = format!("{name}{number}");
    }
    unique
}
