//! Phase five: networks → types of `convnet-core`, by absolute paths through `::convnet::__private`.
//!
//! Literals become typenum digits, constants hexadecimal digits, const generics stay what they are (see
//! `convnet_core::shape::size`). The tree of layers is balanced, since the compiler's work on a list grows with the
//! square of its length. `types` writes the types, `reports` the items that raise what only the compiler can find.

mod reports;
mod types;

use crate::check::{Checked, input as input_shape};
use crate::layer::{InputShape, Layer, Model, Op, Size};
use crate::parse::Item;
use crate::summary;
use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use reports::{paths, reports};
use syn::Attribute;
use types::{maybe_size, number, size, tree};

/// The network or block as a type of its own.
pub fn item(item: &Item, model: &Model, checked: &Checked, sound: bool) -> TokenStream {
    let Item { attributes, visibility, name, generics, .. } = item;
    let (implemented, arguments, _) = generics.split_for_impl();
    let conditions: Vec<&Attribute> = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect();
    let parameters = item.sizes().map(|size| &size.ident);
    let names = parameters.clone();
    let text = name.to_string();
    let documentation = sound.then(|| {
        let table = format!("\n\n```text\n{}\n```", summary::table(checked));
        quote!(#[doc = #table])
    });
    let (input, sizes) = input(model);
    // On a first layer that is no network the compiler complains here, of the whole item.
    let place = match model.layers.first() {
        Some(Layer { op: Op::Network { .. }, place, .. }) if model.input.is_none() => *place,
        _ => Span::call_site(),
    };
    let input = quote_spanned!(place=> type Input = #input;);
    let sizes = quote_spanned!(place=> type Sizes = #sizes;);
    let tree = tree(&model.layers);
    let block = input_shape(model).is_some_and(|input| input.is_block());
    let dfdx = (!block).then(|| {
        quote! {
            #(#conditions)*
            ::convnet::__private::dfdx_module! { [#(const #parameters: usize),*] #name [#(#names),*] }
        }
    });
    let plain = generics.params.is_empty();
    let reports = if sound && checked.open && !block && plain { reports(item, model) } else { Vec::new() };
    let paths = if plain { paths(model) } else { Vec::new() };
    let further = paths.into_iter().chain(reports).map(|item| quote!(#(#conditions)* #item)).collect::<TokenStream>();
    // What the compiler says of the whole, it says on the name.
    let here = Span::call_site().located_at(name.span());
    let layers = quote_spanned!(here=> type Layers = #tree;);
    let keyword = quote_spanned!(here=> struct);
    quote! {
        #(#attributes)*
        #documentation
        #visibility #keyword #name #generics;

        #(#conditions)*
        impl #implemented ::convnet::__private::Definition for #name #arguments {
            const NAME: &'static str = #text;
            #input
            #sizes
            #layers
        }

        #dfdx
        #further
    }
}

/// The network where a type stands. Complaints (as statements) go into a block within the type.
pub fn nameless(model: &Model, complaints: &[TokenStream]) -> TokenStream {
    let (input, sizes) = input(model);
    let mut tree = tree(&model.layers);
    if !complaints.is_empty() {
        tree = quote!((::convnet::__private::Mistakes<{ #(#complaints)* 0 }>, #tree));
    }
    quote!(::convnet::__private::Sequential<#input, #sizes, #tree>)
}

/// The input as data sets carry it, and its sizes as types; for a block its pattern, and `()`.
fn input(model: &Model) -> (TokenStream, TokenStream) {
    match (&model.input, model.layers.first()) {
        (Some((InputShape::Map(sizes), _)), _) if sizes.iter().any(|size| matches!(size, Size::Any)) => {
            let sizes = sizes.each_ref().map(maybe_size);
            (quote!(::convnet::__private::AnyMap<#(#sizes),*>), quote!(()))
        }
        (Some((InputShape::Vector(Size::Any), _)), _) => (quote!(::convnet::__private::AnyVector), quote!(())),
        (Some((InputShape::Map([height, width, channels]), _)), _) => {
            let numbers = [height, width, channels].map(number);
            let types = [height, width, channels].map(size);
            (quote!(::convnet::__private::Map<#(#numbers),*>), quote!((#(#types),*)))
        }
        (Some((InputShape::Vector(features), _)), _) => {
            let (number, size) = (number(features), size(features));
            (quote!(::convnet::__private::Vector<#number>), quote!((#size,)))
        }
        (None, Some(Layer { op: Op::Network { path: first, .. }, place, .. })) => {
            let place = *place;
            let first = quote_spanned!(place=> <#first as ::convnet::__private::Whole>);
            (quote_spanned!(place=> #first::Input), quote_spanned!(place=> #first::Sizes))
        }
        (Some((InputShape::Faulty, _)), _) | (None, _) => {
            let one = size(&Size::Known(1));
            (quote!(::convnet::__private::Map<1, 1, 1>), quote!((#one, #one, #one)))
        }
    }
}
