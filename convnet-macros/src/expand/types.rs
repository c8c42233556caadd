//! Sizes, settings and layers as types of `convnet-core`.

use crate::layer::{Activation, Finish, Layer, Op, Padding, Real, Settings, Size, Window};
use proc_macro2::{Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

/// typenum has an alias for each number up to this one.
const ALIASES: usize = 1024;

/// A size as a const argument.
pub fn number(size: &Size) -> TokenStream {
    match size {
        Size::Known(number) => {
            let number = Literal::usize_unsuffixed(*number);
            quote!(#number)
        }
        Size::Constant(expression) => quote!({ #expression }),
        Size::Generic(name) => quote!({ #name }),
        Size::Any | Size::Faulty => quote!(1),
    }
}

/// A size of a block's input as a type.
pub fn maybe_size(size: &Size) -> TokenStream {
    match size {
        Size::Any => quote!(::convnet::__private::Open),
        size => self::size(size),
    }
}

/// A size as a type.
pub fn size(size: &Size) -> TokenStream {
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
        Size::Any | Size::Faulty => self::size(&Size::Known(1)),
    }
}

/// The layers as a balanced tree of pairs.
pub fn tree(layers: &[Layer]) -> TokenStream {
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

/// A layer with its settings around it.
fn layer(layer: &Layer) -> TokenStream {
    let mut ty = op(layer);
    let Settings { frozen, initializers, regularizers } = &layer.settings;
    if let (Some((name, _)), false) = (&layer.name, matches!(layer.op, Op::Merge { .. })) {
        let letters = letters(name);
        ty = quote!(::convnet::__private::Named<#ty, #letters>);
    }
    for (role, class) in initializers {
        let (role, class) = (Literal::usize_unsuffixed(*role), format_ident!("{class}"));
        ty = quote!(::convnet::__private::Initialized<#ty, #role, ::convnet::__private::settings::#class>);
    }
    for (role, factor) in regularizers {
        let (role, factor) = (Literal::usize_unsuffixed(*role), real(factor));
        ty = quote!(::convnet::__private::Regularized<#ty, #role, #factor>);
    }
    if *frozen { quote!(::convnet::__private::Frozen<#ty>) } else { ty }
}

/// What a layer does.
fn op(layer: &Layer) -> TokenStream {
    match &layer.op {
        Op::Conv2D { filters, groups, window, finish: Finish { activation, use_bias } } => {
            let (filters, window, activation) = (size(filters), self::window(window), self::activation(activation));
            match groups {
                Size::Known(1) => quote!(::convnet::__private::Conv2D<#filters, #window, #activation, #use_bias>),
                groups => {
                    let groups = size(groups);
                    quote!(::convnet::__private::GroupedConv2D<#filters, #window, #activation, #groups, #use_bias>)
                }
            }
        }
        Op::DepthwiseConv2D { multiplier, window, finish: Finish { activation, use_bias } } => {
            let (multiplier, window) = (size(multiplier), self::window(window));
            let activation = self::activation(activation);
            quote!(::convnet::__private::DepthwiseConv2D<#multiplier, #window, #activation, #use_bias>)
        }
        Op::SeparableConv2D { filters, multiplier, window, finish: Finish { activation, use_bias } } => {
            let (filters, multiplier, window) = (size(filters), size(multiplier), self::window(window));
            let activation = self::activation(activation);
            quote!(::convnet::__private::SeparableConv2D<#filters, #multiplier, #window, #activation, #use_bias>)
        }
        Op::Dense { units, finish: Finish { activation, use_bias } } => {
            let (units, activation) = (size(units), self::activation(activation));
            quote!(::convnet::__private::Dense<#units, #activation, #use_bias>)
        }
        Op::Network { path, .. } => quote_spanned!(layer.place=> ::convnet::__private::Nested<#path>),
        Op::Faulty { .. } => quote!(()),
        Op::Softmax => quote!(::convnet::__private::SoftmaxLayer),
        Op::Activation(activation) => {
            let activation = self::activation(activation);
            quote!(::convnet::__private::Alone<#activation>)
        }
        Op::Merge { branches, .. } => {
            let branches = branches.iter().map(|branch| tree(branch));
            let (kind, name) = (format_ident!("{}", layer.op.kind()), layer.name.as_ref());
            let name = name.map_or_else(|| quote!(()), |(name, _)| letters(name));
            quote!(::convnet::__private::Merge<::convnet::__private::#kind, (#(#branches,)*), #name>)
        }
        Op::Repeat { times, layers } => {
            let (times, layers) = (size(times), tree(layers));
            quote!(::convnet::__private::Repeat<#times, #layers>)
        }
        plain => {
            let (kind, parameters) = (format_ident!("{}", plain.kind()), parameters(plain));
            let parameters = (!parameters.is_empty()).then(|| quote!(<#(#parameters),*>));
            quote!(::convnet::__private::#kind #parameters)
        }
    }
}

/// The parameters of a layer whose type has its kind's name.
fn parameters(op: &Op) -> Vec<TokenStream> {
    match op {
        Op::MaxPooling2D { window } | Op::AveragePooling2D { window } => vec![self::window(window)],
        Op::GlobalAveragePooling2D { keepdims } | Op::GlobalMaxPooling2D { keepdims } => vec![quote!(#keepdims)],
        Op::ZeroPadding2D { sides } => sides.iter().map(size).collect(),
        Op::UpSampling2D { factors: [rows, columns], bilinear } => {
            let interpolation = format_ident!("{}", if *bilinear { "Bilinear" } else { "Nearest" });
            vec![size(rows), size(columns), quote!(::convnet::__private::#interpolation)]
        }
        Op::Reshape { target, .. } => {
            let sizes = target.sizes().iter().map(size);
            vec![quote!((#(#sizes,)*))]
        }
        Op::ReLU { .. } | Op::LeakyReLU { .. } | Op::Rescaling { .. } | Op::Dropout { .. } => {
            op.reals().into_iter().map(real).collect()
        }
        Op::BatchNormalization { center, scale, .. } => {
            op.reals().into_iter().map(real).chain([quote!(#center), quote!(#scale)]).collect()
        }
        _ => Vec::new(),
    }
}

/// A real number as a const argument: its bits.
fn real(number: &Real) -> TokenStream {
    match number {
        Real::Known(number) => {
            let bits = Literal::u64_unsuffixed(number.to_bits());
            quote!(#bits)
        }
        Real::Constant(expression) => {
            // Located there it is, but ours, as the sizes above are.
            let place = Span::call_site().located_at(expression.span());
            quote_spanned!(place=> { let number: f64 = #expression; ::convnet::__private::bits(number) })
        }
    }
}

fn activation(activation: &Activation) -> TokenStream {
    let mut kind = activation.name.to_string();
    kind[..1].make_ascii_uppercase();
    let kind = format_ident!("{kind}");
    quote!(::convnet::__private::#kind)
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
