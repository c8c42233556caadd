//! Phase five: networks → types of `convnet-core`, by absolute paths through `::convnet::__private`.
//!
//! Literals become typenum digits, constants hexadecimal digits, const generics stay what they are (see
//! `convnet_core::shape::size`). The tree of layers is balanced, since the compiler's work on a list grows with the
//! square of its length.

use crate::check::Checked;
use crate::layer::{InputShape, Layer, Model, Op, Padding, Size, Window};
use crate::parse::Item;
use crate::summary;
use proc_macro2::{Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, GenericParam, Path};

/// typenum has an alias for each number up to this one.
const ALIASES: usize = 1024;

/// The network as a type of its own.
pub fn item(item: &Item, model: &Model, checked: &Checked, sound: bool) -> TokenStream {
    let Item { attributes, visibility, name, generics, .. } = item;
    let (implemented, arguments, _) = generics.split_for_impl();
    let conditions: Vec<&Attribute> = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect();
    let parameters = generics.params.iter().filter_map(|parameter| match parameter {
        GenericParam::Const(size) => Some(&size.ident),
        _ => None,
    });
    let names = parameters.clone();
    let text = name.to_string();
    let documentation = sound.then(|| {
        let table = format!("\n\n```text\n{}\n```", summary::table(&checked.rows));
        quote!(#[doc = #table])
    });
    let (input, sizes) = input(model);
    let tree = tree(&model.layers);
    let reports = (sound && checked.open && generics.params.is_empty()).then(|| {
        reports(item, model).into_iter().map(|report| quote!(#(#conditions)* #report)).collect::<TokenStream>()
    });
    quote! {
        #(#attributes)*
        #documentation
        #visibility struct #name #generics;

        #(#conditions)*
        impl #implemented ::convnet::__private::Definition for #name #arguments {
            const NAME: &'static str = #text;
            type Input = #input;
            type Sizes = #sizes;
            type Layers = #tree;
        }

        #(#conditions)*
        ::convnet::__private::dfdx_module! { [#(const #parameters: usize),*] #name [#(#names),*] }
        #reports
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

/// The input as data sets carry it, and its sizes as types.
fn input(model: &Model) -> (TokenStream, TokenStream) {
    match (&model.input, model.layers.first()) {
        (Some((InputShape::Map([height, width, channels]), _)), _) => {
            let numbers = [height, width, channels].map(number);
            let types = [height, width, channels].map(size);
            (quote!(::convnet::__private::Map<#(#numbers),*>), quote!((#(#types),*)))
        }
        (Some((InputShape::Vector(features), _)), _) => {
            let (number, size) = (number(features), size(features));
            (quote!(::convnet::__private::Vector<#number>), quote!((#size,)))
        }
        (None, Some(Layer { op: Op::Network(first), place, .. })) => {
            let place = *place;
            let first = quote_spanned!(place=> <#first as ::convnet::__private::Definition>);
            (quote_spanned!(place=> #first::Input), quote_spanned!(place=> #first::Sizes))
        }
        (Some((InputShape::Faulty, _)), _) | (None, _) => {
            let one = size(&Size::Known(1));
            (quote!(::convnet::__private::Map<1, 1, 1>), quote!((#one, #one, #one)))
        }
    }
}

/// A size as a const argument.
fn number(size: &Size) -> TokenStream {
    match size {
        Size::Known(number) => {
            let number = Literal::usize_unsuffixed(*number);
            quote!(#number)
        }
        Size::Constant(expression) => quote!({ #expression }),
        Size::Generic(name) => quote!({ #name }),
        Size::Faulty => quote!(1),
    }
}

/// A size as a type.
fn size(size: &Size) -> TokenStream {
    match size {
        Size::Known(number) if *number <= ALIASES => {
            let alias = format_ident!("U{number}");
            quote!(::convnet::__private::typenum::#alias)
        }
        Size::Known(number) => {
            let upper = self::size(&Size::Known(number / 2));
            let lowest = format_ident!("B{}", number % 2);
            quote!(::convnet::__private::typenum::UInt<#upper, ::convnet::__private::typenum::#lowest>)
        }
        Size::Constant(expression) => {
            // The `let` is where the compiler complains of an expression that is no `usize`.
            // Located there it is, but ours: lints on what users write would blame them for our style.
            let place = Span::call_site().located_at(expression.span());
            let top = quote_spanned! {place=>
                { let size: usize = #expression; ::convnet::__private::top_digit(size) }
            };
            let digits = (0..7u32).rev().map(|digit| {
                let shift = Literal::u32_unsuffixed(4 * digit);
                quote_spanned!(place=> { let size: usize = #expression; (size >> #shift) & 15 })
            });
            quote!(::convnet::__private::Hex<#top, #(#digits),*>)
        }
        Size::Generic(name) => quote!(::convnet::__private::Num<#name>),
        Size::Faulty => self::size(&Size::Known(1)),
    }
}

/// The layers as a balanced tree of pairs.
fn tree(layers: &[Layer]) -> TokenStream {
    match layers {
        [] => quote!(()),
        [single] => layer(single),
        _ => {
            let (first, second) = layers.split_at(layers.len().div_ceil(2));
            let (first, second) = (tree(first), tree(second));
            quote!((#first, #second))
        }
    }
}

fn layer(layer: &Layer) -> TokenStream {
    let activation = layer.op.activation().map(|activation| {
        let mut kind = activation.name.to_string();
        kind[..1].make_ascii_uppercase();
        let kind = format_ident!("{kind}");
        quote!(::convnet::__private::#kind)
    });
    let unnamed = match &layer.op {
        Op::Conv2D { filters, window, use_bias, .. } => {
            let (filters, window) = (size(filters), self::window(window));
            quote!(::convnet::__private::Conv2D<#filters, #window, #activation, #use_bias>)
        }
        Op::MaxPooling2D { window } => {
            let window = self::window(window);
            quote!(::convnet::__private::MaxPooling2D<#window>)
        }
        Op::Flatten => quote!(::convnet::__private::Flatten),
        Op::Dense { units, use_bias, .. } => {
            let units = size(units);
            quote!(::convnet::__private::Dense<#units, #activation, #use_bias>)
        }
        Op::Network(path) => quote_spanned!(layer.place=> ::convnet::__private::Nested<#path>),
        Op::Faulty { .. } => quote!(()),
    };
    match &layer.name {
        Some((name, _)) => {
            let letters = letters(name);
            quote!(::convnet::__private::Named<#unnamed, #letters>)
        }
        None => unnamed,
    }
}

fn window(window: &Window) -> TokenStream {
    let sizes = window.size.iter().chain(&window.strides).chain(&window.dilation).map(size);
    let padding = match window.padding {
        Padding::Valid => quote!(::convnet::__private::Valid),
        Padding::Same => quote!(::convnet::__private::Same),
    };
    quote!(::convnet::__private::Window<#(#sizes,)* #padding>)
}

/// A name of at most 64 bytes as a type: sixteen bytes to a number, the first in the highest place.
fn letters(name: &str) -> TokenStream {
    let mut bytes = [0u8; 64];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    let words = bytes.as_chunks::<16>().0.iter().map(|word| Literal::u128_unsuffixed(u128::from_be_bytes(*word)));
    let length = Literal::usize_unsuffixed(name.len());
    quote!(::convnet::__private::Letters<#length, #(#words),*>)
}

/// One item a layer, placed on it, that raises the layer's fault when the compiler evaluates it: for sizes that the
/// macro does not see. A network counts as many layers as it has.
fn reports(item: &Item, model: &Model) -> Vec<TokenStream> {
    let name = &item.name;
    let text = name.to_string();
    let fault = quote!(<#name as ::convnet::__private::Network>::FAULT);
    let input = model.input.as_ref().map(|(_, tokens)| {
        let place = tokens.clone().into_iter().next().map_or(name.span(), |token| token.span());
        quote_spanned!(place=> const _: () = ::convnet::__private::report_input(#text, &#fault);)
    });
    let mut before = 0usize;
    let mut networks: Vec<&Path> = Vec::new();
    let layers = model.layers.iter().map(|layer| {
        let from =
            quote!(#before #(+ ::convnet::__private::count(<#networks as ::convnet::__private::Network>::TREE))*);
        let place = layer.place;
        match &layer.op {
            Op::Network(path) => {
                networks.push(path);
                let inner = quote_spanned!(place=> <#path as ::convnet::__private::Network>);
                quote_spanned! {place=>
                    const _: () = ::convnet::__private::report_network(
                        #text, &#fault, #from, ::convnet::__private::count(#inner::TREE), &#inner::FAULT
                    );
                }
            }
            _ => {
                before += 1;
                quote_spanned!(place=> const _: () = ::convnet::__private::report_layer(#text, &#fault, #from);)
            }
        }
    });
    input.into_iter().chain(layers).collect()
}
