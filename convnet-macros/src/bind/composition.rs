//! Layers that hold listings, and networks as layers: `Add([…], […])`, `Repeat(3, […])`, `Base(trainable = false)`.

use super::arguments::Arguments;
use super::ops::Values;
use crate::assemble::{Context, part};
use crate::error::{Complaint, Errors};
use crate::keras::{Signature, example};
use crate::layer::{Known, Layer, Merging, Op, Settings, Size, compact};
use crate::parse::{self, Argument, Call, Listing};
use crate::value::{Reader, evaluate, is_none};
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use std::rc::Rc;
use syn::{Expr, ExprPath, GenericArgument, Path, PathArguments, Type};

/// The most branches that a merge joins, as in `convnet_core::plan`.
const MAX_BRANCHES: usize = 8;

/// `Add([…], […], name = "…")` or `Concatenate`.
pub fn merge(call: &Call, kind: &'static str, context: &Context) -> Layer {
    let (listings, named) = parted(call);
    let mut branches = Vec::new();
    let mut strays = 0;
    for argument in listings {
        match listing_of(argument, context) {
            Some(listing) => branches.push(part(&listing, kind, context)),
            None => {
                strays += 1;
                if let Some(value) = &argument.value {
                    let sentence = format!("{kind}: a branch is a listing in square brackets");
                    let help = format!("write `{}`", example(kind).unwrap_or_default());
                    context.errors.on(value, Complaint::new(sentence).help(help));
                }
            }
        }
    }
    let help = match kind {
        "Add" => "an empty one is the shortcut: `Add([Conv2D(64, 3, padding = \"same\")], [])`",
        _ => "an empty one is the tensor above itself: `Concatenate([Conv2D(64, 1)], [])`",
    };
    match branches.len() + strays {
        0 => {
            let sentence = format!("{kind}: the branches are missing");
            let help = format!("each is a listing: `{}`", example(kind).unwrap_or_default());
            context.errors.on(&call.name, Complaint::new(sentence).help(help));
        }
        1 => {
            let sentence = format!("{kind}: one branch has nothing to be merged with");
            context.errors.on(&call.name, Complaint::new(sentence).help(help));
        }
        2..=MAX_BRANCHES => {}
        count => {
            let sentence = format!("{kind}: {count} branches are more than the {MAX_BRANCHES} that can be merged");
            context.errors.on(&call.name, Complaint::new(sentence).help("merge some of them in a branch of their own"));
        }
    }
    let parameters: &[&str] = if kind == "Add" { &["name", "trainable"] } else { &["axis", "name", "trainable"] };
    let merging = if kind == "Add" { Merging::Add } else { Merging::Concatenate };
    layer(named, kind, parameters, Op::Merge { merging, branches }, context)
}

/// `Repeat(3, […])`.
pub fn repeat(call: &Call, context: &Context) -> Layer {
    let (positional, named) = parted(call);
    let (listings, numbers): (Vec<_>, Vec<_>) = positional.into_iter().partition(|argument| argument.listing.is_some());
    let help = "write `Repeat(3, [Conv2D(64, 3, padding = \"same\")])`";
    let complain = |tokens: &dyn ToTokens, sentence: &str| {
        context.errors.on(tokens, Complaint::new(format!("Repeat: {sentence}")).help(help));
    };
    let times = match &numbers[..] {
        [] if listings.is_empty() => Size::Faulty,
        [] => {
            complain(&call.name, "the number of repetitions is missing");
            Size::Faulty
        }
        [first, ..] => {
            let reader = Reader { layer: "Repeat", scope: context.scope, errors: context.errors };
            first.value.as_ref().map_or(Size::Faulty, |value| reader.size("n", value))
        }
    };
    if let (Some(listing), Some(number)) = (listings.first(), numbers.first())
        && call.arguments.iter().position(|argument| std::ptr::eq(argument, *listing))
            < call.arguments.iter().position(|argument| std::ptr::eq(argument, *number))
    {
        complain(&number.value, "the number stands in front of the listing");
    }
    // A second value in the place of the listing is what was to be repeated.
    let unlisted = numbers.get(1).filter(|_| listings.is_empty());
    let known = if unlisted.is_some() { 2 } else { 1 };
    for stray in numbers.iter().skip(known).chain(listings.iter().skip(1)) {
        complain(&stray.value, "a number and one listing are all it takes");
    }
    let layers = match listings.first().and_then(|argument| listing_of(argument, context)) {
        Some(listing) if listing.entries.is_empty() && listing.complete => {
            complain(&call.name, "the listing is empty");
            Vec::new()
        }
        Some(listing) => part(&listing, "Repeat", context),
        None => {
            match unlisted {
                Some(layer) => complain(&layer.value, "what is repeated stands in square brackets"),
                None => complain(&call.name, "the listing is missing"),
            }
            Vec::new()
        }
    };
    layer(named, "Repeat", &["trainable"], Op::Repeat { times, layers }, context)
}

/// An earlier network or block as a layer, with or without arguments.
pub fn network(path: &Path, call: Option<&Call>, context: &Context) -> Layer {
    let place = path.segments.last().map_or_else(Span::call_site, |last| last.ident.span());
    let known = known(path, context);
    let text = compact(path.to_token_stream());
    let nothing = Layer::plain(Op::Faulty { keeps_shape: false }, place);
    if context.own.is_some_and(|own| path.segments.len() == 1 && path.segments[0].ident == *own) {
        let complaint = Complaint::new(format!("`{text}` cannot be a layer of itself"));
        context.errors.on(path, complaint.help("layers that come several times stand in `Repeat(3, […])`"));
        return nothing;
    }
    if let Some(sizes) = call.and_then(|call| sizes_in_parentheses(path, call, context)) {
        let complaint = Complaint::new(format!("`{text}`: the sizes of a network stand in angle brackets"));
        let help = format!("write `{text}<{}>`", compact(sizes.clone()));
        context.errors.on(sizes, complaint.help(help));
        return nothing;
    }
    let mut settings = Settings::default();
    let mut seen = false;
    for argument in call.map_or(&[][..], |call| &call.arguments) {
        match (&argument.name, &argument.value) {
            (Some(name), Some(_)) if name == "trainable" && seen => {
                context.errors.on(name, format!("`{text}`: `trainable` is given twice"));
            }
            (Some(name), Some(value)) if name == "trainable" => {
                let reader = Reader { layer: &text, scope: context.scope, errors: context.errors };
                settings.frozen = !reader.switch("trainable", value, true);
                seen = true;
            }
            (None, None) => {}
            (Some(name), None) if name == "trainable" => {}
            (Some(name), _) if name == "name" => {
                let complaint = Complaint::new(format!("`{text}`: a network as a layer has no name of its own"));
                context.errors.on(name, complaint.help("its layers keep theirs, which are the keys of saved weights"));
            }
            (Some(name), _) => {
                let complaint = Complaint::new(format!("`{text}`: unknown argument `{name}`"));
                context.errors.on(name, complaint.help(format!("all it takes is `{text}(trainable = false)`")));
            }
            (None, Some(value)) => {
                let complaint = Complaint::new(format!("`{text}`: a network takes no such argument"));
                context.errors.on(value, complaint.help(format!("all it takes is `{text}(trainable = false)`")));
            }
        }
    }
    if let Some(call) = call.filter(|call| call.arguments.is_empty()) {
        let complaint =
            Complaint::new(format!("`{text}` is a network, and a network without arguments has no parentheses"));
        context.errors.on(&call.path, complaint.help(format!("write `{text}`")));
    }
    Layer { op: Op::Network { path: path.clone(), known }, name: None, place, settings }
}

/// `Residual(64)`: arguments that were meant for const generics.
fn sizes_in_parentheses(path: &Path, call: &Call, context: &Context) -> Option<TokenStream> {
    let sizes: Vec<&Expr> = call.arguments.iter().filter_map(|argument| argument.value.as_ref()).collect();
    let plain = path.segments.iter().all(|segment| segment.arguments.is_none());
    let positional = call.arguments.iter().all(|argument| argument.name.is_none() && argument.listing.is_none());
    let numbers = sizes.iter().all(|size| evaluate(size).is_some() || matches!(size, Expr::Path(_)) && !is_none(size));
    let known = context.networks.get(&call.name.to_string()).filter(|_| path.segments.len() == 1);
    let has_none = matches!(known, Some(Some(known)) if known.generics.is_empty());
    (plain && positional && numbers && !sizes.is_empty() && !has_none).then(|| quote!(#(#sizes),*))
}

/// The network of that name in the same `convnet!`, with the sizes that the path gives.
fn known(path: &Path, context: &Context) -> Option<Rc<Known>> {
    let (Some(single), None, 1) = (path.segments.first(), path.leading_colon, path.segments.len()) else { return None };
    let known = context.networks.get(&single.ident.to_string())?.as_ref()?;
    let arguments = match &single.arguments {
        PathArguments::AngleBracketed(arguments) => {
            arguments.args.iter().map(|argument| size(argument, context)).collect()
        }
        _ => Some(Vec::new()),
    };
    known.with(&arguments?)
}

/// A size among the generics of a path; nothing if it is none, of which the compiler complains.
fn size(argument: &GenericArgument, context: &Context) -> Option<Size> {
    let expression = match argument {
        GenericArgument::Const(expression) => expression.clone(),
        GenericArgument::Type(Type::Path(path)) => {
            Expr::Path(ExprPath { attrs: Vec::new(), qself: path.qself.clone(), path: path.path.clone() })
        }
        _ => return None,
    };
    let silent = Errors::new();
    let size = Reader { layer: "", scope: context.scope, errors: &silent }.size("n", &expression);
    silent.finish().is_empty().then_some(size)
}

/// The arguments without a name, and a call of the others.
fn parted(call: &Call) -> (Vec<&Argument>, Call) {
    let positional = call.arguments.iter().filter(|argument| argument.name.is_none()).collect();
    let copy = |argument: &Argument| Argument {
        name: argument.name.clone(),
        value: argument.value.clone(),
        listing: argument.listing.clone(),
    };
    let named = call.arguments.iter().filter(|argument| argument.name.is_some()).map(copy).collect();
    (positional, Call { path: call.path.clone(), name: call.name.clone(), arguments: named })
}

/// The listing that an argument is.
fn listing_of(argument: &Argument, context: &Context) -> Option<Listing> {
    let group = argument.listing.as_ref()?;
    Some(parse::listing(group.stream(), group.span(), context.errors))
}

fn layer(named: Call, kind: &'static str, parameters: &'static [&'static str], op: Op, context: &Context) -> Layer {
    let signature = Signature { layer: kind, parameters, required: 0, weights: &[], example: "" };
    let arguments = Arguments::new(&named, &signature, context.errors);
    let reader = Reader { layer: kind, scope: context.scope, errors: context.errors };
    let values = Values { arguments: &arguments, reader: &reader };
    values.reject_unsupported();
    Layer { op, name: values.name(), place: named.name.span(), settings: values.settings(&signature) }
}
