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

/// The items of a network.
pub fn reports(item: &Item, model: &Model) -> Vec<TokenStream> {
    let name = &item.name;
    let network = name.to_string();
    let fault = quote!(&<#name as ::convnet::__private::Network>::FAULT);
    let mut reports = Reports { network: &network, fault, items: Vec::new() };
    if let Some((_, tokens)) = &model.input {
        let place = tokens.clone().into_iter().next().map_or(name.span(), |token| token.span());
        let fault = &reports.fault;
        let report = quote_spanned!(place=> const _: () = ::convnet::__private::report_input(#network, #fault););
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
        let (network, fault, place) = (self.network, self.fault.clone(), layer.place);
        match &layer.op {
            Op::Network { path, .. } => {
                let part = quote_spanned!(place=> <#path as ::convnet::__private::Part>);
                let from = from.tokens();
                self.items.push(quote_spanned! {place=>
                    const _: () = ::convnet::__private::report_network(
                        #network, #fault, #from, #part::COUNT, &#part::OWN_FAULT
                    );
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
                    const _: () = ::convnet::__private::report_repeat(#network, #fault, #from, #single, #times);
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
        self.items
            .push(quote_spanned!(place=> const _: () = ::convnet::__private::report_layer(#network, #fault, #from);));
    }
}
