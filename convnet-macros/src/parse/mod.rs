//! Phase one: tokens → listings. Knows the grammar, but no layer and no argument.
//!
//! Nothing here gives up: what cannot be read is complained about and left out, so that a half-typed listing still
//! expands and the rest of it is still checked.

use crate::error::{Complaint, Errors};
use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, ConstParam, GenericParam, Generics, Ident, Token, Visibility, parse_quote, token};

mod listing;

pub use listing::{Argument, Call, Entry, Listing, listing};

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

impl Item {
    /// Its const generics.
    pub fn sizes(&self) -> impl Iterator<Item = &ConstParam> + Clone {
        self.generics.params.iter().filter_map(|parameter| match parameter {
            GenericParam::Const(size) => Some(size),
            _ => None,
        })
    }
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
    if !input.peek(Ident::peek_any) {
        let help = "write `type Name = [Input(28, 28, 1), …];`";
        return Err(syn::Error::new(input.span(), format!("the network's name is missing\nhelp: {help}")));
    }
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
                sizes.params.push(meant(&size.ident));
            }
            GenericParam::Type(other) => {
                let complaint = format!("a network has no type parameters, only sizes: `const {}: usize`", other.ident);
                errors.on(other, complaint);
                sizes.params.push(meant(&other.ident));
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

/// The size that was meant, so that uses of the network are no mistakes.
fn meant(name: &Ident) -> GenericParam {
    parse_quote!(const #name: usize)
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
