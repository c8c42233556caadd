//! One item a layer, placed on it, that raises the layer's fault when the compiler evaluates it: for sizes that the
//! macro does not see. Layers are numbered as in the plan, which for networks of unknown length takes arithmetic.

use super::types::number;
use crate::layer::{Layer, Model, Op};
use crate::parse::Item;
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

/// A number of layers: a known one, and expressions to be added.
#[derive(Clone, Default)]
struct Number {
    known: usize,
    more: Vec<TokenStream>,
}

impl Number {
    fn tokens(&self) -> TokenStream {
        let Number { known, more } = self;
        quote!(#known #(+ #more)*)
    }

    fn add(&mut self, other: &Number) {
        self.known += other.known;
        self.more.extend(other.more.iter().cloned());
    }

    fn times(&self, times: &TokenStream) -> TokenStream {
        let single = self.tokens();
        quote!(#times * (#single))
    }
}

struct Reports<'a> {
    network: &'a str,
    fault: TokenStream,
    items: Vec<TokenStream>,
}

/// Brings the constants into scope that stand for those of a type that is no network; else it is not used.
fn nothing() -> TokenStream {
    quote! {
        #[allow(unused_imports)]
        use ::convnet::__private::Nothing as _;
    }
}

/// One item for each network or block of another `convnet!` among the layers, where it complains of a type that is
/// neither. (The first layer without an input above is asked for its own.)
pub fn paths(model: &Model) -> Vec<TokenStream> {
    let mut items = Vec::new();
    let asked = usize::from(model.input.is_none());
    for layer in model.layers.iter().skip(asked) {
        paths_of(layer, &mut items);
    }
    items
}

fn paths_of(layer: &Layer, items: &mut Vec<TokenStream>) {
    match &layer.op {
        Op::Network { path, known: None } => {
            let definition = quote_spanned!(layer.place=> <#path as ::convnet::__private::Definition>::Input);
            // All of it stands on the path, so that the compiler sees one and the same error where it finds it twice.
            items.push(quote_spanned! {layer.place=>
                const _: ::core::marker::PhantomData<#definition> = ::core::marker::PhantomData;
            });
        }
        Op::Merge { branches, .. } => branches.iter().flatten().for_each(|layer| paths_of(layer, items)),
        Op::Repeat { layers, .. } => layers.iter().for_each(|layer| paths_of(layer, items)),
        _ => {}
    }
}

/// The items of a network.
pub fn reports(item: &Item, model: &Model) -> Vec<TokenStream> {
    let name = &item.name;
    let network = name.to_string();
    let fault = quote!(&::convnet::__private::Perhaps::<#name>::FAULT);
    let mut reports = Reports { network: &network, fault, items: Vec::new() };
    if let Some((_, tokens)) = &model.input {
        let place = tokens.clone().into_iter().next().map_or(name.span(), |token| token.span());
        let (fault, nothing) = (&reports.fault, nothing());
        let report = quote_spanned!(place=> const _: () = {
            #nothing
            ::convnet::__private::report_input(#network, #fault);
        };);
        reports.items.push(report);
    }
    reports.layers(&model.layers, &Number::default());
    reports.items
}

impl Reports<'_> {
    /// Adds the items of layers, of which the first is number `from`; tells how many layers they are.
    fn layers(&mut self, layers: &[Layer], from: &Number) -> Number {
        let mut count = Number::default();
        for layer in layers {
            let mut here = from.clone();
            here.add(&count);
            count.add(&self.layer(layer, here));
        }
        count
    }

    fn layer(&mut self, layer: &Layer, mut from: Number) -> Number {
        let (network, fault, place, nothing) = (self.network, self.fault.clone(), layer.place, nothing());
        match &layer.op {
            Op::Network { path, .. } => {
                let part = quote_spanned!(place=> ::convnet::__private::PerhapsPart::<#path>);
                let from = from.tokens();
                self.items.push(quote_spanned! {place=>
                    const _: () = {
                        #nothing
                        ::convnet::__private::report_network(#network, #fault, #from, #part::COUNT, &#part::OWN_FAULT);
                    };
                });
                Number { known: 0, more: vec![quote!(#part::COUNT)] }
            }
            Op::Merge { branches, .. } => {
                let mut count = Number::default();
                for branch in branches {
                    let here = self.layers(branch, &from);
                    from.add(&here);
                    count.add(&here);
                }
                self.single(layer, &from);
                count.known += 1;
                count
            }
            Op::Repeat { times, layers } => {
                let body = self.layers(layers, &from);
                let times = number(times);
                let (from, single) = (from.tokens(), body.tokens());
                self.items.push(quote_spanned! {place=>
                    const _: () = {
                        #nothing
                        ::convnet::__private::report_repeat(#network, #fault, #from, #single, #times);
                    };
                });
                Number { known: 0, more: vec![body.times(&times)] }
            }
            Op::Faulty { .. } => Number::default(),
            _ => {
                self.single(layer, &from);
                Number { known: 1, more: Vec::new() }
            }
        }
    }

    fn single(&mut self, layer: &Layer, from: &Number) {
        let (network, fault, place, from) = (self.network, &self.fault, layer.place, from.tokens());
        let nothing = nothing();
        self.items.push(quote_spanned! {place=>
            const _: () = {
                #nothing
                ::convnet::__private::report_layer(#network, #fault, #from);
            };
        });
    }
}
