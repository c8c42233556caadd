//! The arguments of a call, each with its parameter: by position or by name.

use crate::error::{Complaint, Errors};
use crate::keras::{COMMON, NOT_YET, RENAMED, SIGNATURES, Signature};
use crate::layer::compact;
use crate::parse::{Argument, Call};
use crate::suggest;
use crate::value::is_none;
use quote::{ToTokens, quote};
use syn::{Expr, Ident};

/// The arguments of a call.
pub struct Arguments<'a> {
    values: Vec<(&'static str, Option<&'a Expr>)>,
}

impl<'a> Arguments<'a> {
    /// Finds the parameter of each argument.
    pub fn new(call: &'a Call, signature: &Signature, errors: &Errors) -> Self {
        let mut arguments = Arguments { values: Vec::new() };
        let mut strays = false;
        let mut seen_name = false;
        let sizes_apart = arguments.take_sizes_apart(call, signature, errors);
        for (position, argument) in call.arguments.iter().enumerate() {
            if sizes_apart && argument.name.is_none() {
                continue;
            }
            let parameter = match &argument.name {
                Some(name) => arguments.by_name(name, argument.value.as_ref(), signature, errors),
                None => arguments.by_position(position, argument, seen_name, signature, errors),
            };
            seen_name |= argument.name.is_some();
            match parameter {
                Some(parameter) => arguments.values.push((parameter, argument.value.as_ref())),
                None => strays = true,
            }
        }
        arguments.put_in_order(signature, errors);
        let missing: Vec<_> =
            signature.parameters[..signature.required].iter().filter(|name| !arguments.has(name)).collect();
        if !missing.is_empty() && !strays {
            let names = missing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
            let verb = if missing.len() == 1 { "is" } else { "are" };
            let complaint = Complaint::new(format!("{}: {names} {verb} missing", signature.layer));
            errors.on(&call.name, complaint.help(format!("write `{}`", signature.example)));
        }
        arguments
    }

    /// Whether the parameter is given, be it without a value that could be read.
    pub fn has(&self, parameter: &str) -> bool {
        self.values.iter().any(|(name, _)| *name == parameter)
    }

    /// The value of a parameter.
    pub fn get(&self, parameter: &str) -> Option<&'a Expr> {
        self.values.iter().find(|(name, _)| *name == parameter).and_then(|(_, value)| *value)
    }

    /// The value of a parameter, unless it is `None`, which stands for the default.
    pub fn given(&self, parameter: &str) -> Option<&'a Expr> {
        self.get(parameter).filter(|value| !is_none(value))
    }

    /// `Reshape(7, 7, 64)`: complains, and takes the shape for given.
    fn take_sizes_apart(&mut self, call: &Call, signature: &Signature, errors: &Errors) -> bool {
        let sizes: Vec<&Expr> = call
            .arguments
            .iter()
            .filter(|argument| argument.name.is_none())
            .filter_map(|argument| argument.value.as_ref())
            .collect();
        if signature.parameters != ["target_shape"] || sizes.len() < 2 {
            return false;
        }
        let tokens = quote!(#(#sizes),*);
        let complaint = Complaint::new(format!("{}: the shape is a single argument", signature.layer));
        let help = format!("write `{}(({}))`", signature.layer, compact(tokens.clone()));
        errors.on(tokens, complaint.help(help));
        self.values.push(("target_shape", None));
        true
    }

    /// `Conv2D((3, 3), 32)`: complains, and goes on with the two in Keras's order.
    fn put_in_order(&mut self, signature: &Signature, errors: &Errors) {
        let [("filters", Some(window)), ("kernel_size", Some(filters)), ..] = self.values[..] else { return };
        if matches!(window, Expr::Tuple(_)) && !matches!(filters, Expr::Tuple(_)) {
            let complaint = Complaint::new(format!("{}: `filters` stand in front of `kernel_size`", signature.layer));
            let [first, second] = [filters, window].map(|value| compact(value.to_token_stream()));
            let tokens = quote!(#window, #filters);
            errors.on(tokens, complaint.help(format!("write `{}({first}, {second})`", signature.layer)));
            (self.values[0].1, self.values[1].1) = (Some(filters), Some(window));
        }
    }

    fn by_position(
        &self,
        position: usize,
        argument: &Argument,
        seen_name: bool,
        signature: &Signature,
        errors: &Errors,
    ) -> Option<&'static str> {
        let Signature { layer, parameters, .. } = signature;
        let value = &argument.value;
        if seen_name {
            // Where it was meant to go is the first place that is still free.
            let free = parameters.iter().find(|name| !self.has(name)).copied();
            let complaint =
                Complaint::new(format!("{layer}: an argument without a name stands behind one with a name"));
            let complaint = match free {
                Some(name) => complaint.help(format!("write `{name} = {}`", compact(quote!(#value)))),
                None => complaint,
            };
            errors.on(value, complaint);
            return free;
        }
        let Some(parameter) = parameters.get(position) else {
            if position == parameters.len() {
                errors.on(value, too_many(layer, parameters));
            }
            return None;
        };
        if self.has(parameter) {
            return None;
        }
        if let Some(value) = value {
            reject_unsupported(parameter, value, value, layer, errors);
        }
        Some(parameter)
    }

    fn by_name(
        &self,
        name: &Ident,
        value: Option<&Expr>,
        signature: &Signature,
        errors: &Errors,
    ) -> Option<&'static str> {
        let layer = signature.layer;
        let text = name.to_string();
        if NOT_YET.iter().any(|(parameter, _)| *parameter == text) {
            if let Some(value) = value {
                reject_unsupported(&text, value, name, layer, errors);
            }
            return None;
        }
        let parameters = named(signature);
        let exact = parameters.iter().copied().find(|parameter| *parameter == text);
        let Some(parameter) = exact.or_else(|| likely_parameter(&text, &parameters)) else {
            let complaint = Complaint::new(format!("{layer}: unknown argument `{text}`"));
            let verb = if parameters.len() == 1 { "is" } else { "are" };
            errors.on(name, complaint.help(format!("there {verb} {}", parameters.join(", "))));
            return None;
        };
        if exact.is_none() {
            let complaint = Complaint::new(format!("{layer}: unknown argument `{text}`"));
            errors.on(name, complaint.help(format!("did you mean `{parameter}`?")));
        }
        if self.has(parameter) {
            if exact.is_some() {
                errors.on(name, format!("{layer}: `{parameter}` is given twice"));
            }
            return None;
        }
        Some(parameter)
    }
}

fn too_many(layer: &str, parameters: &[&str]) -> Complaint {
    let arguments = if parameters.len() == 1 { "argument" } else { "arguments" };
    let sentence = format!("{layer}: at most {} {arguments} can stand without a name", parameters.len());
    match parameters {
        [] => Complaint::new(format!("{layer}: no argument can stand without a name")),
        [only] => Complaint::new(sentence).help(format!("it is {only}")),
        _ => Complaint::new(sentence).help(format!("they are {}", parameters.join(", "))),
    }
}

/// Complains of a parameter that has but its default here.
fn reject_unsupported(parameter: &str, value: &Expr, place: impl ToTokens, layer: &str, errors: &Errors) {
    let Some((_, help)) = NOT_YET.iter().find(|(other, _)| *other == parameter) else { return };
    if is_none(value) || compact(value.to_token_stream()) == "false" {
        return;
    }
    let complaint = Complaint::new(format!("{layer}: `{parameter}` is not supported yet"));
    errors.on(place, if help.is_empty() { complaint } else { complaint.help(help) });
}

/// What can be given by name.
fn named(signature: &Signature) -> Vec<&'static str> {
    let is_supported = |parameter: &&str| !NOT_YET.iter().any(|(other, _)| other == parameter);
    let own = signature.parameters.iter().copied().filter(is_supported);
    let common: &[&str] =
        if SIGNATURES.iter().any(|row| row.layer == signature.layer) { &COMMON } else { &COMMON[..0] };
    own.chain(common.iter().copied()).collect()
}

/// The parameter that a wrong name means: what older libraries call it, the nearest, or the one that it is a part of
/// (`kernel`, `stride`, `size`).
fn likely_parameter(wrong: &str, parameters: &[&'static str]) -> Option<&'static str> {
    let renamed = RENAMED.iter().find(|(old, _)| *old == wrong).map(|(_, new)| *new);
    let known = |name: &str| parameters.iter().copied().find(|parameter| *parameter == name);
    let near = || suggest::nearest(wrong, parameters.iter().copied()).and_then(known);
    let part = || parameters.iter().copied().find(|parameter| wrong.len() >= 4 && parameter.contains(wrong));
    renamed.and_then(known).or_else(near).or_else(part)
}
