//! One object of a configuration, read field by field.

use crate::{Error, Result};
use serde_json::{Map, Value};

/// Fields of any layer that do not change what it computes.
const WITHOUT_MEANING: [&str; 14] = [
    "dtype",
    "batch_input_shape",
    "batch_shape",
    "input_dtype",
    "input_dim",
    "autocast",
    "seed",
    "implementation",
    "synchronized",
    "fused",
    "renorm_momentum",
    "renorm_clipping",
    "sparse",
    "ragged",
];

/// A layer's `config`, with the fields that were asked for so far.
pub(super) struct Config<'a> {
    /// How errors call it: `conv2d_3 (Conv2D)`.
    pub what: String,
    fields: &'a Map<String, Value>,
    asked: Vec<&'static str>,
}

impl<'a> Config<'a> {
    pub(super) fn new(what: String, fields: &'a Map<String, Value>) -> Self {
        Config { what, fields, asked: Vec::new() }
    }

    /// A field; `None` where it is missing or null.
    pub(super) fn field(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.push(key);
        self.fields.get(key).filter(|value| !value.is_null())
    }

    /// An error about a field.
    pub(super) fn error(&self, key: &str, expected: impl Into<String>, found: Option<&Value>) -> Error {
        fault(format!("{}, {key}", self.what), expected, found)
    }

    /// A number from 1 on that must be there.
    pub(super) fn size(&mut self, key: &'static str) -> Result<usize> {
        let field = self.field(key);
        field.and_then(size_of).ok_or_else(|| self.error(key, "a whole number from 1 on", field))
    }

    /// A number from 1 on, or what it is by default.
    pub(super) fn size_or(&mut self, key: &'static str, usual: usize) -> Result<usize> {
        match self.fields.get(key) {
            Some(value) if !value.is_null() => self.size(key),
            _ => Ok(usual),
        }
    }

    /// A pair of numbers from 1 on, for which one may stand.
    pub(super) fn pair(&mut self, key: &'static str) -> Result<Option<[usize; 2]>> {
        let Some(field) = self.field(key) else { return Ok(None) };
        let pair = match field {
            Value::Array(sizes) => match sizes.as_slice() {
                [first, second] => size_of(first).zip(size_of(second)).map(<[usize; 2]>::from),
                _ => None,
            },
            number => size_of(number).map(|size| [size, size]),
        };
        let expected = "one or two whole numbers from 1 on";
        pair.map(Some).ok_or_else(|| self.error(key, expected, Some(field)))
    }

    /// A pair that must be there.
    pub(super) fn needed_pair(&mut self, key: &'static str) -> Result<[usize; 2]> {
        let pair = self.pair(key)?;
        pair.ok_or_else(|| self.error(key, "one or two whole numbers from 1 on", None))
    }

    /// A finite number, if it is there.
    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<f64>> {
        let Some(field) = self.field(key) else { return Ok(None) };
        match field.as_f64().filter(|number| number.is_finite()) {
            Some(number) => Ok(Some(tidied(number))),
            None => Err(self.error(key, "a number", Some(field))),
        }
    }

    /// True or false, or what it is by default.
    pub(super) fn flag(&mut self, key: &'static str, usual: bool) -> Result<bool> {
        match self.field(key) {
            None => Ok(usual),
            Some(Value::Bool(flag)) => Ok(*flag),
            found => Err(self.error(key, "true or false", found)),
        }
    }

    /// One of the words, the first by default.
    pub(super) fn word(&mut self, key: &'static str, words: &[&'static str]) -> Result<&'static str> {
        let Some(field) = self.field(key) else { return Ok(words[0]) };
        let known = words.iter().find(|&&word| field.as_str() == Some(word));
        known.copied().ok_or_else(|| self.error(key, one_of(words), Some(field)))
    }

    /// Sees to it that nothing is left that might change what the layer computes. (Null and false are how Keras writes
    /// what is not used.)
    pub(super) fn finish(self) -> Result<()> {
        for (key, value) in self.fields {
            let known = self.asked.contains(&key.as_str()) || WITHOUT_MEANING.contains(&key.as_str());
            if !known && !value.is_null() && *value != Value::Bool(false) {
                return Err(self.error(key, "no such argument, or null", Some(value)));
            }
        }
        Ok(())
    }
}

/// An error about a part of a configuration.
pub(super) fn fault(what: impl Into<String>, expected: impl Into<String>, found: Option<&Value>) -> Error {
    const SHOWN: usize = 60;
    let found = found.map_or("nothing".to_owned(), Value::to_string);
    let cut = match found.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &found[..end]),
        None => found,
    };
    Error::Data { what: what.into(), expected: expected.into(), found: cut }
}

/// `"relu", "tanh" or "linear"`
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}

/// A whole number from 1 on that fits a size.
pub(super) fn size_of(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0)
}

/// Keras 2 wrote some settings in single precision (0.30000001192092896 for 0.3): the shortest number that is the same
/// there is what the user wrote.
pub(super) fn tidied(number: f64) -> f64 {
    let single = number as f32;
    if f64::from(single) == number { single.to_string().parse().unwrap_or(number) } else { number }
}
