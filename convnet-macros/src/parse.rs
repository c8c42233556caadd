//! Phase one: tokens → listings. Knows the grammar, but no layer and no argument.
//!
//! Nothing here gives up: what cannot be read is complained about and left out, so that a half-typed listing still
//! expands and the rest of it is still checked.

use crate::error::{Complaint, Errors};
use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{
    Attribute, Expr, ExprTuple, GenericParam, Generics, Ident, Path, PathArguments, PathSegment, Token, Visibility,
    token,
};

/// What stands inside `convnet!`.
pub enum Invocation {
    /// `type Name = […];`, any number of them.
    Items(Vec<Item>),
    /// A listing where a type stands.
    Type(Listing),
}

/// `/// docs #[attr] vis type Name<const N: usize> = […];`
pub struct Item {
    /// Documentation and other attributes.
    pub attributes: Vec<Attribute>,
    /// `pub`, `pub(crate)`, nothing.
    pub visibility: Visibility,
    /// The network's name.
    pub name: Ident,
    /// Its const generics, all of them `const N: usize`.
    pub generics: Generics,
    /// What stands in the brackets; none if that could not be read.
    pub listing: Option<Listing>,
}

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
    /// `Conv2D(32, (3, 3))`
    Call(Call),
    /// `Base`: an earlier network.
    Network(Path),
    /// A line that could not be read, and its place.
    Unread(Span),
}

/// A layer and its arguments.
pub struct Call {
    /// `Conv2D`
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
}

/// Reads what stands inside `convnet!`.
pub fn invocation(tokens: TokenStream, errors: &Errors) -> Invocation {
    let tokens = without_angle_brackets(tokens.into_iter().collect());
    if is_item_form(&tokens) {
        Invocation::Items(all(tokens.into_iter().collect(), errors, items))
    } else {
        Invocation::Type(type_listing(tokens, errors))
    }
}

/// Runs a parser that reads to the end; it complains itself, an error it returns is one more complaint.
fn all<T: Default>(tokens: TokenStream, errors: &Errors, read: impl Fn(ParseStream, &Errors) -> T) -> T {
    let parser = |input: ParseStream| Ok(read(input, errors));
    parser.parse2(tokens).unwrap_or_else(|error| {
        errors.push(error);
        T::default()
    })
}

/// `convnet!(<…>)` is `convnet!(…)`.
fn without_angle_brackets(mut tokens: Vec<TokenTree>) -> Vec<TokenTree> {
    if is_punct(tokens.first(), '<') && is_punct(tokens.last(), '>') && tokens.len() >= 2 {
        tokens.pop();
        tokens.remove(0);
    }
    tokens
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// Items start with an attribute, a visibility or `type`; an `=` or `;` outside all brackets gives away one whose
/// `type` was forgotten.
fn is_item_form(tokens: &[TokenTree]) -> bool {
    let starts_item = match tokens.first() {
        Some(TokenTree::Ident(word)) => word == "pub" || word == "type",
        first => is_punct(first, '#'),
    };
    starts_item || tokens.iter().any(|token| is_punct(Some(token), '=') || is_punct(Some(token), ';'))
}

fn type_listing(tokens: Vec<TokenTree>, errors: &Errors) -> Listing {
    let place = tokens.first().map_or_else(Span::call_site, TokenTree::span);
    let tokens = match &tokens[..] {
        [TokenTree::Group(group)] if group.delimiter() == Delimiter::Bracket => group.stream(),
        _ => tokens.into_iter().collect(),
    };
    listing(tokens, place, errors)
}

fn listing(tokens: TokenStream, place: Span, errors: &Errors) -> Listing {
    let before = errors.count();
    let entries = all(tokens, errors, entries);
    Listing { entries, place, complete: errors.count() == before }
}

fn items(input: ParseStream, errors: &Errors) -> Vec<Item> {
    let mut items = Vec::new();
    while !input.is_empty() {
        match item(input, errors) {
            Ok(item) => items.push(item),
            Err(error) => {
                errors.push(error);
                skip_past(input, semicolon);
            }
        }
    }
    items
}

fn item(input: ParseStream, errors: &Errors) -> syn::Result<Item> {
    let attributes = input.call(Attribute::parse_outer)?;
    let visibility: Visibility = input.parse()?;
    type_keyword(input, errors)?;
    let name: Ident = input.parse()?;
    let mut generics: Generics = input.parse()?;
    generics.where_clause = input.parse()?;
    let generics = const_sizes_only(generics, errors);
    let listing = item_listing(input, &name, errors)?;
    Ok(Item { attributes, visibility, name, generics, listing })
}

/// Reads `type`. Another keyword in its place is complained about; so is none, and then the name comes next.
fn type_keyword(input: ParseStream, errors: &Errors) -> syn::Result<()> {
    if input.parse::<Option<Token![type]>>()?.is_some() {
        return Ok(());
    }
    let first = input.fork().call(Ident::parse_any)?;
    let complaint = format!("a network is an item that begins with `type`; found `{first}`");
    errors.on(&first, Complaint::new(complaint).help("write `type Name = [Input(28, 28, 1), …];`"));
    if input.peek2(Ident::peek_any) {
        input.call(Ident::parse_any)?;
    }
    Ok(())
}

/// The generics that a network can have; each other is complained about.
fn const_sizes_only(generics: Generics, errors: &Errors) -> Generics {
    let mut sizes = Generics::default();
    for parameter in generics.params {
        match &parameter {
            GenericParam::Const(size) if is_usize(&size.ty) => sizes.params.push(parameter),
            GenericParam::Const(size) => {
                let complaint = format!("the const generic `{}` is a size, and sizes are `usize`", size.ident);
                errors.on(&size.ty, complaint);
            }
            GenericParam::Type(other) => {
                let complaint = format!("a network has no type parameters, only sizes: `const {}: usize`", other.ident);
                errors.on(other, complaint);
            }
            GenericParam::Lifetime(lifetime) => {
                errors.on(lifetime, "a network has no lifetimes, only sizes such as `const CLASSES: usize`");
            }
        }
    }
    if let Some(clause) = generics.where_clause {
        errors.on(clause, "a network has no `where` clause");
    }
    sizes
}

fn is_usize(ty: &syn::Type) -> bool {
    matches!(ty, syn::Type::Path(path) if path.path.is_ident("usize"))
}

/// `= […];`
fn item_listing(input: ParseStream, name: &Ident, errors: &Errors) -> syn::Result<Option<Listing>> {
    let help = format!("write `type {name} = [Input(28, 28, 1), …];`");
    if input.is_empty() || input.peek(Token![;]) {
        errors.on(name, Complaint::new(format!("the network `{name}` has no listing")).help(help));
        input.parse::<Option<Token![;]>>()?;
        return Ok(None);
    }
    input.parse::<Token![=]>()?;
    if !is_delimited(input) {
        let complaint = format!("the layers of `{name}` stand in square brackets");
        errors.push(syn::Error::new(input.span(), format!("{complaint}\nhelp: {help}")));
        skip_past(input, semicolon);
        return Ok(None);
    }
    let group: Group = input.parse()?;
    if group.delimiter() != Delimiter::Bracket {
        let complaint = format!("the layers of `{name}` stand in square brackets, `[` and `]`");
        errors.at(group.span_open(), complaint);
    }
    if !semicolon(input) {
        errors.at(group.span_close(), format!("the network `{name}` ends with `];`: a `;` is missing here"));
    }
    Ok(Some(listing(group.stream(), name.span(), errors)))
}

fn is_delimited(input: ParseStream) -> bool {
    input.peek(token::Bracket) || input.peek(token::Paren) || input.peek(token::Brace)
}

fn semicolon(input: ParseStream) -> bool {
    input.parse::<Option<Token![;]>>().is_ok_and(|found| found.is_some())
}

fn comma(input: ParseStream) -> bool {
    input.parse::<Option<Token![,]>>().is_ok_and(|found| found.is_some())
}

/// Skips tokens until `end` has taken one, or to the end.
fn skip_past(input: ParseStream, end: impl Fn(ParseStream) -> bool) {
    while !input.is_empty() && !end(input) {
        let _ = input.parse::<TokenTree>();
    }
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
        if input.peek(Ident::peek_any) {
            errors.at(input.span(), "a `,` is missing between the layer above and this one");
        } else {
            errors.at(input.span(), "expected `,` and the next layer");
            skip_past(input, comma);
        }
    }
    entries
}

fn entry(input: ParseStream, errors: &Errors) -> syn::Result<Entry> {
    if !input.peek(Ident::peek_any) && !input.peek(Token![::]) {
        let help = "a layer is written `Conv2D(32, (3, 3))`, an earlier network by its name";
        return Err(syn::Error::new(input.span(), format!("expected a layer\nhelp: {help}")));
    }
    let path = path(input)?;
    if !is_delimited(input) {
        return Ok(Entry::Network(path));
    }
    let group: Group = input.parse()?;
    let single = path.get_ident().is_some();
    let Some(PathSegment { ident: name, .. }) = path.segments.last() else { return Ok(Entry::Unread(group.span())) };
    if !single {
        errors.on(&path, "a layer is written without a path, and a network without parentheses");
    } else if group.delimiter() != Delimiter::Parenthesis {
        errors.at(group.span_open(), format!("the arguments of `{name}` stand in parentheses, `(` and `)`"));
    }
    let arguments = all(group.stream(), errors, |input, errors| arguments(input, name, errors));
    Ok(Entry::Call(Call { name: name.clone(), arguments }))
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
        if !input.peek(Ident::peek_any) && !input.peek(syn::Lit) {
            skip_past(input, comma);
        }
    }
    arguments
}

fn argument(input: ParseStream, layer: &Ident, errors: &Errors) -> Argument {
    let name = argument_name(input, layer, errors);
    let unread = |errors: &Errors, place: Span, complaint: Complaint| {
        errors.at(place, complaint);
        None
    };
    let value = match &name {
        Some(name) if input.is_empty() || input.peek(Token![,]) => {
            let complaint = Complaint::new(format!("{layer}: `{name} =` has no value"));
            unread(errors, name.span(), complaint)
        }
        _ => {
            let place = input.span();
            let fork = input.fork();
            match fork.parse::<Expr>() {
                Ok(value) => {
                    syn::parse::discouraged::Speculative::advance_to(input, &fork);
                    Some(value)
                }
                Err(_) => {
                    while !input.is_empty() && !input.peek(Token![,]) {
                        let _ = input.parse::<TokenTree>();
                    }
                    unread(errors, place, format!("{layer}: this is no value").into())
                }
            }
        }
    };
    Argument { name, value }
}

/// `32 (3, 3)`, which reads as a call of 32, as the two arguments that were meant.
fn separated(argument: &Argument) -> Option<[Argument; 2]> {
    match &argument.value {
        Some(Expr::Call(call)) if matches!(*call.func, Expr::Lit(_)) => {
            let first = Argument { name: argument.name.clone(), value: Some((*call.func).clone()) };
            let elements = call.args.clone();
            let tuple = ExprTuple { attrs: Vec::new(), paren_token: call.paren_token, elems: elements };
            Some([first, Argument { name: None, value: Some(Expr::Tuple(tuple)) }])
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
