//! The lines of a listing: layers with their arguments, networks by their names. Listings within listings stand as
//! tokens among the arguments until a layer that takes them is known ([`listing`]).

use super::{all, comma, is_delimited, skip_past};
use crate::error::{Complaint, Errors};
use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::parse::discouraged::Speculative;
use syn::{Expr, ExprTuple, Ident, Path, PathArguments, PathSegment, Token, token};

/// The layers in the order of the listing.
pub struct Listing {
    /// The layers, as far as they could be read.
    pub entries: Vec<Entry>,
    /// Where complaints about the listing as a whole go.
    pub place: Span,
    /// Whether all of it could be read.
    pub complete: bool,
}

/// One line of a listing.
pub enum Entry {
    /// `Conv2D(32, (3, 3))`, or an earlier network with arguments: `Base(trainable = false)`.
    Call(Call),
    /// `Base`: an earlier network or block, or the name of a layer without its parentheses.
    Bare(Path),
    /// A line that could not be read, and its place.
    Unread(Span),
}

/// A layer and its arguments.
pub struct Call {
    /// `Conv2D`, or the path of a network: `models::Residual<64>`.
    pub path: Path,
    /// The last word of the path.
    pub name: Ident,
    /// What stands in the parentheses.
    pub arguments: Vec<Argument>,
}

/// `32` or `activation = "relu"`.
pub struct Argument {
    /// The name before `=`.
    pub name: Option<Ident>,
    /// The value; none if it could not be read (which has been complained about).
    pub value: Option<Expr>,
    /// The value as a listing that has not been read yet, if it is one in square brackets.
    pub listing: Option<Group>,
}

/// Reads the lines of a listing.
pub fn listing(tokens: TokenStream, place: Span, errors: &Errors) -> Listing {
    let before = errors.count();
    let entries = all(tokens, errors, entries);
    Listing { entries, place, complete: errors.count() == before }
}

fn entries(input: ParseStream, errors: &Errors) -> Vec<Entry> {
    let mut entries = Vec::new();
    while !input.is_empty() {
        if input.peek(Token![,]) {
            errors.at(input.span(), "a layer is missing before this comma");
            comma(input);
            continue;
        }
        match entry(input, errors) {
            Ok(entry) => entries.push(entry),
            Err(error) => {
                entries.push(Entry::Unread(error.span()));
                errors.push(error);
                skip_past(input, comma);
                continue;
            }
        }
        if input.is_empty() || comma(input) {
            continue;
        }
        if input.peek(token::Paren) {
            called_on_tensors(input, &mut entries, errors);
        } else if input.peek(Ident::peek_any) {
            errors.at(input.span(), "a `,` is missing between the layer above and this one");
        } else {
            errors.at(input.span(), "expected `,` and the next layer");
            skip_past(input, comma);
        }
    }
    entries
}

/// `Conv2D(32, 3)(x)`, as in Keras's functional style.
fn called_on_tensors(input: ParseStream, entries: &mut [Entry], errors: &Errors) {
    let complaint = Complaint::new("a layer is not called on tensors: it takes what stands above it");
    let help = "write the layers one below the other; branches stand in `Add([…], […])`";
    errors.at(input.span(), complaint.help(help));
    skip_past(input, comma);
    // What it lacks it may have been called on.
    if let Some(Entry::Call(call)) = entries.last()
        && call.arguments.is_empty()
    {
        let place = call.name.span();
        entries[entries.len() - 1] = Entry::Unread(place);
    }
}

fn entry(input: ParseStream, errors: &Errors) -> syn::Result<Entry> {
    if !input.peek(Ident::peek_any) && !input.peek(Token![::]) {
        let help = if input.peek(Token![#]) {
            "comments begin with `//`, and layers have no attributes"
        } else {
            "a layer is written `Conv2D(32, (3, 3))`, an earlier network by its name"
        };
        return Err(syn::Error::new(input.span(), format!("expected a layer\nhelp: {help}")));
    }
    let path = path(input)?;
    if !is_delimited(input) {
        return Ok(Entry::Bare(path));
    }
    let group: Group = input.parse()?;
    let Some(PathSegment { ident: name, .. }) = path.segments.last() else { return Ok(Entry::Unread(group.span())) };
    if group.delimiter() != Delimiter::Parenthesis {
        errors.at(group.span_open(), format!("the arguments of `{name}` stand in parentheses, `(` and `)`"));
    }
    let arguments = all(group.stream(), errors, |input, errors| arguments(input, name, errors));
    Ok(Entry::Call(Call { name: name.clone(), path, arguments }))
}

/// A path without parentheses (which syn's own would take for those of `Fn(A) -> B`).
fn path(input: ParseStream) -> syn::Result<Path> {
    let leading_colon = input.parse()?;
    let mut path = Path { leading_colon, segments: Default::default() };
    loop {
        let ident = input.call(Ident::parse_any)?;
        let has_arguments = input.peek(Token![<]) || input.peek(Token![::]) && input.peek3(Token![<]);
        let arguments = if has_arguments { PathArguments::AngleBracketed(input.parse()?) } else { PathArguments::None };
        path.segments.push_value(PathSegment { ident, arguments });
        match input.parse::<Option<Token![::]>>()? {
            Some(colons) => path.segments.push_punct(colons),
            None => return Ok(path),
        }
    }
}

fn arguments(input: ParseStream, layer: &Ident, errors: &Errors) -> Vec<Argument> {
    let mut arguments = Vec::new();
    while !input.is_empty() {
        if input.peek(Token![,]) {
            errors.at(input.span(), format!("{layer}: an argument is missing before this comma"));
            comma(input);
            continue;
        }
        let argument = argument(input, layer, errors);
        match separated(&argument) {
            Some([first, second]) => {
                errors.on(&second.value, format!("{layer}: a `,` is missing between two arguments"));
                arguments.extend([first, second]);
            }
            None => arguments.push(argument),
        }
        if input.is_empty() || comma(input) {
            continue;
        }
        errors.at(input.span(), format!("{layer}: a `,` is missing between two arguments"));
        if !input.peek(Ident::peek_any) && !input.peek(syn::Lit) && !input.peek(token::Bracket) {
            skip_past(input, comma);
        }
    }
    arguments
}

fn argument(input: ParseStream, layer: &Ident, errors: &Errors) -> Argument {
    let name = argument_name(input, layer, errors);
    if let Some(name) = &name
        && (input.is_empty() || input.peek(Token![,]))
    {
        errors.on(name, format!("{layer}: `{name} =` has no value"));
        return Argument { name: Some(name.clone()), value: None, listing: None };
    }
    if let Some(listing) = bracketed(input) {
        let tokens = listing.to_token_stream();
        let value = syn::parse2(tokens.clone()).unwrap_or(Expr::Verbatim(tokens));
        return Argument { name, value: Some(value), listing: Some(listing) };
    }
    let place = input.span();
    let fork = input.fork();
    let value = fork.parse::<Expr>().ok();
    if value.is_some() {
        input.advance_to(&fork);
    } else {
        while !input.is_empty() && !input.peek(Token![,]) {
            let _ = input.parse::<TokenTree>();
        }
        errors.at(place, format!("{layer}: this is no value"));
    }
    Argument { name, value, listing: None }
}

/// A group in square brackets that is the whole of an argument.
fn bracketed(input: ParseStream) -> Option<Group> {
    let fork = input.fork();
    let group: Group = fork.parse().ok().filter(|group: &Group| group.delimiter() == Delimiter::Bracket)?;
    // Behind another one, a comma has been forgotten.
    if !fork.is_empty() && !fork.peek(Token![,]) && !fork.peek(token::Bracket) {
        return None;
    }
    input.advance_to(&fork);
    Some(group)
}

/// `32 (3, 3)`, which reads as a call of 32, as the two arguments that were meant.
fn separated(argument: &Argument) -> Option<[Argument; 2]> {
    match &argument.value {
        Some(Expr::Call(call)) if matches!(*call.func, Expr::Lit(_)) => {
            let first = Argument { name: argument.name.clone(), value: Some((*call.func).clone()), listing: None };
            let elements = call.args.clone();
            let tuple = ExprTuple { attrs: Vec::new(), paren_token: call.paren_token, elems: elements };
            Some([first, Argument { name: None, value: Some(Expr::Tuple(tuple)), listing: None }])
        }
        _ => None,
    }
}

/// `activation =`, if the argument begins so. A `:` instead of the `=` is complained about.
fn argument_name(input: ParseStream, layer: &Ident, errors: &Errors) -> Option<Ident> {
    let colon = input.peek2(Token![:]) && !input.peek2(Token![::]);
    let named = input.peek2(Token![=]) && !input.peek2(Token![==]);
    if !input.peek(Ident::peek_any) || !(named || colon) {
        return None;
    }
    let name = input.call(Ident::parse_any).ok()?;
    if colon {
        errors.at(input.span(), format!("{layer}: an argument is named with `=`: `{name} = …`"));
    }
    let _ = input.parse::<TokenTree>();
    Some(name)
}
