//! Names of layers: given ones, and those that Keras's counting gives. No two layers may share one.

use super::Walk;
use crate::error::Complaint;
use crate::layer::{Layer, Op, compact};
use proc_macro2::TokenStream;
use quote::ToTokens;
use std::collections::HashMap;

/// The names so far.
pub struct Names {
    taken: HashMap<String, Taken>,
    /// How many layers of a stem have been counted; `None` behind layers whose number is unknown.
    counts: Option<HashMap<&'static str, usize>>,
}

/// Who has a name.
struct Taken {
    /// What gave it; nothing if counting did, or another listing.
    tokens: TokenStream,
    /// The layer, by its address: in a repetition it comes again.
    layer: *const Layer,
}

impl Names {
    pub fn new() -> Self {
        Names { taken: HashMap::new(), counts: Some(HashMap::new()) }
    }

    /// From here on counted names are unknown.
    pub fn lose_count(&mut self) {
        self.counts = None;
    }

    /// The next counted name of a stem, if it is known.
    fn next(&mut self, stem: &'static str) -> Option<String> {
        let count = self.counts.as_mut()?.entry(stem).or_insert(0);
        *count += 1;
        Some(format!("{stem}_{count}"))
    }
}

impl Walk<'_> {
    /// The layer's name; complains if an earlier layer has it.
    pub fn name(&mut self, layer: &Layer) -> String {
        match (&layer.name, &layer.op) {
            (Some((name, tokens)), _) => {
                let tokens = if self.within.is_some() { TokenStream::new() } else { tokens.clone() };
                self.take_name(layer, name.clone(), tokens);
                name.clone()
            }
            (None, Op::Network { path, .. }) => {
                self.names.lose_count();
                compact(path.to_token_stream())
            }
            (None, Op::Faulty { .. }) => "?".to_string(),
            (None, op) => match self.names.next(op.stem()) {
                Some(name) => {
                    self.take_name(layer, name.clone(), TokenStream::new());
                    name
                }
                None => format!("{}_?", op.stem()),
            },
        }
    }

    /// Takes a name, given by these tokens or (if there are none) by counting.
    fn take_name(&mut self, layer: &Layer, name: String, tokens: TokenStream) {
        let Some(earlier) = self.names.taken.get(&name) else {
            self.names.taken.insert(name, Taken { tokens, layer });
            return;
        };
        let kind = self.label(layer.op.kind());
        let again = std::ptr::eq(earlier.layer, layer);
        let round = self.rounds.iter().find(|(round, _)| *round > 1);
        if let (true, Some((_, times))) = (again, round) {
            let sentence = format!("{}: the name \"{name}\" would be given {times} times by `Repeat`", layer.op.kind());
            let complaint = Complaint::new(sentence).help("leave it out: layers without a name are counted");
            self.complain(layer, &tokens, complaint);
        } else if layer.name.is_some() || earlier.tokens.is_empty() {
            let complaint = Complaint::new(format!("{kind}: the name \"{name}\" belongs to an earlier layer"));
            let help = match again {
                true => "leave out `name` in what is used several times: layers without a name are counted",
                false => "names are the keys of saved weights; give each layer its own",
            };
            self.complain(layer, &tokens, complaint.help(help));
        } else {
            // The counted name is Keras's; what can be changed is the given one.
            let sentence =
                format!("the name \"{name}\" is the one that a later layer without a `name` gets by counting");
            self.errors.on(&earlier.tokens, Complaint::new(sentence).help("choose another name"));
        }
    }
}
