//! The `convnet!` macro: a listing of layers, as Keras users write it, becomes a type whose shapes the compiler
//! checks. Use it through `convnet`.
//!
//! ```text
//! tokens ─ parse ─▶ lines ─ bind, value ─▶ layers ─ assemble ─▶ a network ─ check ─▶ errors, summary ─ expand ─▶ types
//! ```
//!
//! Each phase complains into one `Errors` and goes on, so that one build shows every mistake; of a network
//! with mistakes, `repair` makes one that the compiler accepts, so that no other error follows.

mod assemble;
mod bind;
mod check;
mod error;
mod expand;
mod keras;
mod layer;
mod parse;
mod repair;
mod shape;
mod suggest;
mod summary;
#[cfg(test)]
mod tests;
mod value;

use assemble::Context;
use error::Errors;
use layer::{Known, KnownNetworks, Model, Size};
use parse::{Invocation, Item, Listing};
use proc_macro2::TokenStream;
use quote::quote;
use std::rc::Rc;
use syn::{ConstParam, Ident};
use value::{Reader, Scope};

/// Defines networks from listings of layers, or stands for one where a type stands.
///
/// ```
/// use convnet::prelude::*;
///
/// convnet! {
///     /// Listings 5.1 and 5.2.
///     pub type Digits = [
///         Input(28, 28, 1),
///         Conv2D(32, (3, 3), activation = "relu"),
///         MaxPooling2D((2, 2)),
///         Flatten(),
///         Dense(10, activation = "softmax"),
///     ];
/// }
///
/// type Base = convnet![Input(28, 28, 1), Conv2D(32, (3, 3))];
/// type Classifier = convnet![Base, Flatten(), Dense(10, activation = "softmax")];
///
/// assert_eq!(Classifier::OUTPUT, Digits::OUTPUT);
/// ```
///
/// - Layers and arguments have Keras's names, positions and defaults; the first layer may carry an `input_shape`
///   instead of an `Input`, and an earlier network stands as a layer by its name.
/// - A size is a number, a constant expression, or a const generic: of the item (`type Net<const CLASSES: usize> =
///   […];`), or of the function around a listing where a type stands. There, a constant is written as an expression
///   (`self::K`, `2 * K`): a single identifier is taken for a const generic, which the types can compute with only as
///   far as typenum's table of const generics goes.
/// - `Add([…], […])` and `Concatenate([…], […])` hold branches, `Repeat(3, […])` a listing that comes several times.
///   `Input(None, None, 64)` makes a block, which takes maps of any size and is a layer of networks only.
/// - An item's documentation gets the summary of the network.
#[proc_macro]
pub fn convnet(tokens: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expansion(tokens.into()).into()
}

fn expansion(tokens: TokenStream) -> TokenStream {
    let errors = Errors::new();
    match parse::invocation(tokens, &errors) {
        Invocation::Items(items) => {
            let mut networks = KnownNetworks::new();
            let items: Vec<TokenStream> = items.iter().map(|item| expand_item(item, &mut networks, &errors)).collect();
            let complaints = errors.finish();
            quote!(#(#complaints)* #(#items)*)
        }
        Invocation::Type(listing) => expand_type(&listing, errors),
    }
}

fn expand_item(item: &Item, networks: &mut KnownNetworks, errors: &Errors) -> TokenStream {
    let before = errors.count();
    let scope = Scope::Item { generics: item.sizes().map(|size| size.ident.clone()).collect() };
    let context = Context { scope: &scope, networks, errors };
    let mut model = match &item.listing {
        Some(listing) => assemble::assemble(listing, &context),
        None => Model { input: None, layers: Vec::new() },
    };
    let mut checked = check::check(&model, errors);
    // A listing that could not be read has been complained about by the parser, before this count began.
    let sound = errors.count() == before && item.listing.as_ref().is_some_and(|listing| listing.complete);
    // What stands under a condition is for the compiler to look into.
    let conditional = item.attributes.iter().any(|attribute| attribute.path().is_ident("cfg"));
    let known = checked.known.take().filter(|_| sound && !conditional);
    let known = known.map(|known| Rc::new(Known { generics: generics(item, &scope), ..known }));
    networks.insert(item.name.to_string(), known);
    if !sound {
        model = repair::repair(model);
    }
    expand::item(item, &model, &checked, sound)
}

/// The const generics of an item, with their defaults.
fn generics(item: &Item, scope: &Scope) -> Vec<(Ident, Option<Size>)> {
    let silent = Errors::new();
    let reader = Reader { layer: "", scope, errors: &silent };
    let default = |size: &ConstParam| size.default.as_ref().map(|default| reader.size("n", default));
    let generics = item.sizes().map(|size| (size.ident.clone(), default(size))).collect();
    silent.finish();
    generics
}

fn expand_type(listing: &Listing, errors: Errors) -> TokenStream {
    let networks = KnownNetworks::new();
    let mut model = assemble::assemble(listing, &Context { scope: &Scope::Type, networks: &networks, errors: &errors });
    check::check(&model, &errors);
    let complaints = errors.finish();
    match &complaints[..] {
        // Nothing to go on with; this alone is good as an item, too, if one was to be written here.
        [only] if listing.entries.is_empty() => only.clone(),
        _ => {
            if !complaints.is_empty() {
                model = repair::repair(model);
            }
            expand::nameless(&model, &complaints)
        }
    }
}
