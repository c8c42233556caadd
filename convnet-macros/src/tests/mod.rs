//! Tests across the phases: the dry run against the plan of `convnet-core`, what becomes of mutilated listings, what
//! is said of mistakes, the documentation of an item, and the page on Keras.

mod documentation;
mod dry_run;
mod half_typed;
mod keras_page;
mod messages;
mod random_nets;

use crate::assemble::{Context, assemble};
use crate::check::{Checked, check};
use crate::error::Errors;
use crate::layer::KnownNetworks;
use crate::parse::{Invocation, invocation};
use crate::value::Scope;
use proc_macro2::TokenStream;

/// The dry run of a listing, and how many complaints it had.
fn dry_run(listing: &str, networks: &KnownNetworks) -> (Checked, usize) {
    let errors = Errors::new();
    let tokens: TokenStream = listing.parse().expect("tokens");
    let Invocation::Type(lines) = invocation(tokens, &errors) else { panic!("a listing where a type stands") };
    let model = assemble(&lines, &Context { scope: &Scope::Type, own: None, networks, errors: &errors });
    let checked = check(&model, &errors);
    (checked, errors.finish().len())
}
