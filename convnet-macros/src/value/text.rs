//! Texts among the values: one of several, or a layer's name.

use super::{Reader, compact_text, describe, evaluate, is_none, peel};
use crate::layer::{ACTIVATIONS, Activation, Padding};
use crate::suggest;
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Expr, ExprLit, Lit};

/// The longest name in bytes: what fits the type that carries it.
const LONGEST_NAME: usize = 64;

/// Keras's other activations, and what there is instead.
const ELSEWHERE: [(&str, &str); 18] = [
    ("celu", ""),
    ("elu", ""),
    ("exponential", ""),
    ("gelu", ""),
    ("hard_sigmoid", ""),
    ("hard_silu", ""),
    ("hard_swish", ""),
    ("hard_tanh", ""),
    ("leaky_relu", "there is a layer of its own: `LeakyReLU(negative_slope = 0.2)`"),
    ("log_softmax", ""),
    ("mish", ""),
    ("relu6", "there is a layer of its own: `ReLU(max_value = 6.0)`"),
    ("selu", ""),
    ("silu", ""),
    ("softplus", ""),
    ("softsign", ""),
    ("swish", ""),
    ("tanh_shrink", ""),
];

impl Reader<'_> {
    /// `"valid"` or `"same"`.
    pub fn padding(&self, value: &Expr) -> Padding {
        match self.choice("padding", value, &["valid", "same"]) {
            Some("same") => Padding::Same,
            _ => Padding::Valid,
        }
    }

    /// `"channels_last"`; complains of anything else.
    pub fn data_format(&self, value: &Expr) {
        match peel(value) {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if text.value() == "channels_first" => {
                let help = "leave `data_format` out, and give images as (height, width, channels)";
                self.complain_and_help(value, "`data_format` is always `\"channels_last\"`", help);
            }
            number if evaluate(number).is_some() => {
                let sentence = format!("`data_format` must be `\"channels_last\"`, not {}", describe(number));
                self.complain_and_help(value, &sentence, "a pair of numbers has parentheses of its own: `(2, 2)`");
            }
            other => {
                self.choice("data_format", other, &["channels_last"]);
            }
        }
    }

    /// `"nearest"` or `"bilinear"`; whether it is the latter.
    pub fn bilinear(&self, value: &Expr) -> bool {
        self.choice("interpolation", value, &["nearest", "bilinear"]) == Some("bilinear")
    }

    /// `"relu"`, …; `None` is `"linear"`.
    pub fn activation(&self, value: &Expr) -> Activation {
        let elsewhere = match peel(value) {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => ELSEWHERE.iter().find(|(name, _)| *name == text.value()),
            _ => None,
        };
        let name = match elsewhere {
            _ if is_none(value) => None,
            Some((name, help)) => {
                let sentence = format!("the activation {name:?} is not supported yet");
                let all = || format!("there are {}", suggest::either(&ACTIVATIONS).replace(" or ", " and "));
                self.complain_and_help(value, &sentence, &if help.is_empty() { all() } else { help.to_string() });
                None
            }
            None => self.choice("activation", value, &ACTIVATIONS),
        };
        Activation { name: name.unwrap_or("linear"), tokens: value.to_token_stream() }
    }

    /// One of the known texts.
    pub fn choice(&self, parameter: &str, value: &Expr, known: &[&'static str]) -> Option<&'static str> {
        let written = match peel(value) {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => text.value(),
            Expr::Path(path) if path.path.get_ident().is_some() => {
                let written = compact_text(value);
                let name = suggest::nearest(&written, known.iter().copied());
                let help = match name {
                    Some(name) => format!("write `{parameter} = \"{name}\"`"),
                    None => format!("write {}", suggest::either(known)),
                };
                self.complain_and_help(value, &format!("`{parameter}` is a text, in quotes"), &help);
                return name.and_then(|name| known.iter().copied().find(|known| *known == name));
            }
            // The compiler has complained of the quotes.
            Expr::Lit(ExprLit { lit: Lit::Verbatim(text), .. }) if text.to_string().starts_with('\'') => {
                let text = text.to_string();
                return known.iter().copied().find(|name| *name == text.trim_matches('\''));
            }
            other => {
                let sentence = format!("`{parameter}` must be {}, not {}", suggest::either(known), describe(other));
                let text = compact_text(other);
                let last = text.rsplit(['.', ':']).next().unwrap_or_default().trim();
                match known.iter().copied().find(|name| *name == last) {
                    Some(name) => {
                        self.complain_and_help(value, &sentence, &format!("write `{parameter} = \"{name}\"`"));
                        return Some(name);
                    }
                    None => self.complain(value, &sentence),
                }
                return None;
            }
        };
        let exact = known.iter().copied().find(|name| *name == written);
        if exact.is_none() {
            let near =
                known.iter().copied().find(|name| Some(*name) == suggest::nearest(&written, known.iter().copied()));
            let help = match near {
                Some(name) => format!("did you mean `\"{name}\"`?"),
                None => format!("there are {}", suggest::either(known).replace(" or ", " and ")),
            };
            self.complain_and_help(value, &format!("unknown {parameter} {written:?}"), &help);
            return near;
        }
        exact
    }

    /// The layer's name: the key of its weights in a file.
    pub fn name(&self, value: &Expr) -> Option<(String, TokenStream)> {
        let name = match peel(value) {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => text.value(),
            other => {
                self.complain(value, &format!("`name` must be a text such as `\"conv\"`, not {}", describe(other)));
                return None;
            }
        };
        let wrong = if name.is_empty() {
            "a name cannot be empty".to_string()
        } else if name.contains('/') {
            "a name cannot contain `/`, which separates layer and weight in a file".to_string()
        } else if name.len() > LONGEST_NAME {
            format!("a name has at most {LONGEST_NAME} bytes; this one has {}", name.len())
        } else {
            return Some((name, value.to_token_stream()));
        };
        self.complain(value, &wrong);
        None
    }
}
