//! Values that many layers take, and the text of arguments.

use super::config::{Config, one_of};
use crate::Result;
use serde_json::Value;

/// The arguments of a layer as a listing writes them.
#[derive(Default)]
pub(super) struct Arguments(pub Vec<String>);

impl Arguments {
    /// `32`
    pub(super) fn plain(&mut self, value: impl std::fmt::Display) {
        self.0.push(value.to_string());
    }

    /// `padding = "same"`
    pub(super) fn named(&mut self, name: &str, value: impl std::fmt::Display) {
        self.0.push(format!("{name} = {value}"));
    }

    /// `use_bias = false`, unless it is as usual.
    pub(super) fn flag(&mut self, config: &mut Config<'_>, name: &'static str, usual: bool) -> Result<()> {
        if config.flag(name, usual)? != usual {
            self.named(name, !usual);
        }
        Ok(())
    }

    /// `padding = "same"`, unless it is the first word.
    pub(super) fn word(&mut self, config: &mut Config<'_>, name: &'static str, words: &[&'static str]) -> Result<()> {
        let word = config.word(name, words)?;
        if word != words[0] {
            self.named(name, quoted(word));
        }
        Ok(())
    }

    /// `strides = (2, 2)`, unless it is as usual.
    pub(super) fn pair(&mut self, config: &mut Config<'_>, name: &'static str, usual: [usize; 2]) -> Result<()> {
        match config.pair(name)? {
            Some(pair) if pair != usual => self.named(name, tuple(&pair)),
            _ => {}
        }
        Ok(())
    }

    /// `groups = 2`, unless it is as usual.
    pub(super) fn size(&mut self, config: &mut Config<'_>, name: &'static str, usual: usize) -> Result<()> {
        let size = config.size_or(name, usual)?;
        if size != usual {
            self.named(name, size);
        }
        Ok(())
    }

    /// `epsilon = 1e-5`, unless it is as usual.
    pub(super) fn number(&mut self, config: &mut Config<'_>, name: &'static str, usual: f64) -> Result<()> {
        match config.number(name)? {
            Some(number) if number != usual => self.named(name, decimal(number)),
            _ => {}
        }
        Ok(())
    }

    /// `kernel_initializer = "he_normal"`, unless it is as usual.
    pub(super) fn initializer(&mut self, config: &mut Config<'_>, name: &'static str, usual: &str) -> Result<()> {
        let Some(value) = config.field(name) else { return Ok(()) };
        match initializer(value) {
            Some(known) if known == usual => {}
            Some(known) => self.named(name, quoted(known)),
            None => return Err(config.error(name, one_of(&INITIALIZERS), Some(value))),
        }
        Ok(())
    }

    /// `kernel_regularizer = L2(0.001)`, if there is one.
    pub(super) fn regularizer(&mut self, config: &mut Config<'_>, name: &'static str) -> Result<()> {
        let Some(value) = config.field(name) else { return Ok(()) };
        match l2(value) {
            Some(0.0) => {}
            Some(factor) => self.named(name, format!("L2({})", decimal(factor))),
            None => return Err(config.error(name, "L2 and nothing else", Some(value))),
        }
        Ok(())
    }
}

/// `(3, 3)`; a tuple of one has its comma.
pub(super) fn tuple(sizes: &[usize]) -> String {
    let list: Vec<String> = sizes.iter().map(usize::to_string).collect();
    if sizes.len() == 1 { format!("({},)", list[0]) } else { format!("({})", list.join(", ")) }
}

/// A Rust literal.
pub(super) fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// A Rust literal: `0.5`, `6.0`, `1e-7`.
pub(super) fn decimal(number: f64) -> String {
    format!("{number:?}")
}

const ACTIVATIONS: [&str; 5] = ["linear", "relu", "sigmoid", "tanh", "softmax"];

/// The name of an activation, `linear` where there is none. Keras writes some functions as objects.
pub(super) fn activation(config: &mut Config<'_>) -> Result<&'static str> {
    let Some(field) = config.field("activation") else { return Ok("linear") };
    let name = field.as_str().or_else(|| field.get("config").and_then(Value::as_str));
    let known = ACTIVATIONS.iter().find(|&&known| name == Some(known));
    known.copied().ok_or_else(|| config.error("activation", one_of(&ACTIVATIONS), Some(field)))
}

const INITIALIZERS: [&str; 8] =
    ["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "zeros", "ones"];

/// The name of an initialiser given as a name or as an object.
fn initializer(value: &Value) -> Option<&'static str> {
    let class = value.as_str().or_else(|| value.get("class_name").and_then(Value::as_str))?;
    if class == "VarianceScaling" {
        return variance_scaling(value.get("config")?);
    }
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    INITIALIZERS.iter().copied().find(|known| plain(known) == plain(class))
}

/// Which of the names a `VarianceScaling` stands for: Keras 2 writes the formula only.
fn variance_scaling(config: &Value) -> Option<&'static str> {
    let scale = config.get("scale")?.as_f64()?;
    let mode = config.get("mode")?.as_str()?;
    let (uniform, normal) = match mode {
        "fan_avg" if scale == 1.0 => ("glorot_uniform", "glorot_normal"),
        "fan_in" if scale == 2.0 => ("he_uniform", "he_normal"),
        "fan_in" if scale == 1.0 => ("lecun_uniform", "lecun_normal"),
        _ => return None,
    };
    match config.get("distribution")?.as_str()? {
        "uniform" => Some(uniform),
        // Up to 2.2 Keras called the truncated one so.
        "normal" | "truncated_normal" => Some(normal),
        _ => None,
    }
}

/// The factor of a penalty on squares; `None` where there is another penalty, too.
fn l2(value: &Value) -> Option<f64> {
    /// What `"l2"` alone stands for.
    const USUAL: f64 = 0.01;
    if let Some(name) = value.as_str() {
        return (name == "l2" || name == "L2").then_some(USUAL);
    }
    let config = value.get("config")?;
    let factor = |key| match config.get(key) {
        Some(Value::Null) | None => Some(None),
        Some(number) => number.as_f64().map(Some),
    };
    match (value.get("class_name")?.as_str()?, factor("l1")?.unwrap_or(0.0)) {
        ("L2" | "l2", _) => Some(super::config::tidied(factor("l2")?.unwrap_or(USUAL))),
        ("L1L2" | "l1_l2", 0.0) => Some(super::config::tidied(factor("l2")?.unwrap_or(0.0))),
        _ => None,
    }
}
