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
use error::{Complaint, Errors};
use layer::{Known, KnownNetworks, Layer, Model, Op, Size};
use parse::{Invocation, Item, Listing};
use proc_macro2::TokenStream;
use quote::quote;
use std::collections::HashMap;
use std::rc::Rc;
use syn::{ConstParam, Ident, Visibility};
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
/// # Layers
///
/// Layers and arguments have Keras's names, positions and defaults. The input stands first, as `Input(height, width,
/// channels)` or `Input(features)`, or as the `input_shape` of the first layer.
///
/// | layers | arguments, of which those without a default come first |
/// |---|---|
/// | `Conv2D`, `SeparableConv2D` | `filters, kernel_size, strides, padding, dilation_rate, groups` (or `depth_multiplier`)`, activation, use_bias` |
/// | `DepthwiseConv2D` | `kernel_size, strides, padding, depth_multiplier, dilation_rate, activation, use_bias` |
/// | `MaxPooling2D`, `AveragePooling2D` | `pool_size, strides, padding` |
/// | `GlobalAveragePooling2D`, `GlobalMaxPooling2D` | `keepdims` |
/// | `ZeroPadding2D` | `padding`: a number, `(vertical, horizontal)` or `((top, bottom), (left, right))` |
/// | `UpSampling2D` | `size, interpolation` (`"nearest"`, `"bilinear"`) |
/// | `Flatten`, `Reshape` | nothing; `target_shape`: `(h, w, c)` or `(n,)` |
/// | `Dense` | `units, activation, use_bias` |
/// | `BatchNormalization` | `momentum, epsilon, center, scale` |
/// | `Dropout`, `Rescaling` | `rate`; `scale, offset` |
/// | `Activation`, `ReLU`, `LeakyReLU`, `Softmax` | `activation`; `max_value, negative_slope, threshold`; `negative_slope`; nothing |
///
/// Activations are `"linear"`, `"relu"`, `"sigmoid"`, `"tanh"` and, in a network's last layer only, `"softmax"`. Where Keras
/// has a further argument in between (`data_format`, `axis`), it has its place here, too; behind it, name the arguments.
///
/// ```
/// use convnet::prelude::*;
///
/// convnet! {
///     type Small = [
///         Input(32, 32, 3),
///         Rescaling(1.0 / 127.5, offset = -1.0),
///         SeparableConv2D(16, 3, strides = 2, padding = "same", use_bias = false),
///         BatchNormalization(),
///         ReLU(max_value = 6.0),
///         AveragePooling2D(),
///         Dropout(0.25),
///         GlobalAveragePooling2D(),
///         Dense(10, activation = "softmax"),
///     ];
/// }
///
/// assert_eq!(Small::INPUT, [32, 32, 3]);
/// assert_eq!(Small::PARAMS, 3 * 3 * 3 + 3 * 16 + 4 * 16 + 16 * 10 + 10);
/// ```
///
/// # Settings of all layers
///
/// `name = "stem"` names a layer, and with it its weights in a file; others are counted, `conv2d_1`, `conv2d_2`, …
/// `trainable = false` freezes it (a frozen `BatchNormalization` works with its moving statistics). Each weight has an
/// initializer (`"glorot_uniform"`, `"glorot_normal"`, `"he_uniform"`, `"he_normal"`, `"lecun_uniform"`, `"lecun_normal"`,
/// `"zeros"`, `"ones"`) and may have a penalty, `L2(0.001)` or `"l2"`.
///
/// ```
/// use convnet::prelude::*;
///
/// convnet! {
///     type Settled = [
///         Input(784),
///         Dense(64, activation = "relu", kernel_initializer = "he_normal", kernel_regularizer = L2(0.001), name = "hidden"),
///         Dense(10, activation = "softmax", bias_initializer = "zeros", trainable = false),
///     ];
/// }
///
/// assert_eq!(Settled::PLAN.layers[0].name.to_string(), "hidden");
/// assert_eq!(Settled::NON_TRAINABLE_PARAMS, 64 * 10 + 10);
/// ```
///
/// # Branches and repetitions
///
/// `Add([…], […])` and `Concatenate([…], […])` hold two to eight listings that all begin from the tensor above and are merged
/// behind them; the empty listing `[]` is that tensor itself. `Repeat(3, […])` is its listing three times, each time with
/// weights of its own. They nest in any way, and so a U-Net is written from the outside in:
///
/// ```
/// use convnet::prelude::*;
///
/// convnet! {
///     type UNet = [
///         Input(32, 32, 1),
///         Repeat(2, [Conv2D(8, 3, padding = "same", activation = "relu")]),
///         Concatenate(
///             [],
///             [
///                 MaxPooling2D(),
///                 Repeat(2, [Conv2D(16, 3, padding = "same", activation = "relu")]),
///                 UpSampling2D(),
///             ],
///         ),
///         Conv2D(1, 1, activation = "sigmoid"),
///     ];
/// }
///
/// assert_eq!(UNet::OUTPUT, [32, 32, 1]);
/// let plan = UNet::PLAN;
/// assert_eq!(plan.layers[6].name.to_string(), "concatenate_1");
/// assert_eq!(plan.layers[6].inputs(), [2, 6]); // behind the second and the sixth layer
/// ```
///
/// # Blocks, and networks as layers
///
/// An earlier network is a layer by its name, from the same `convnet!`, another module or another crate; in front of all others
/// it brings its input along. `Base(trainable = false)` freezes all of it. An input with `None` makes the item a *block*, which
/// takes maps of any such size and is a layer of networks only. A `pub` network is made of `pub` ones.
///
/// ```
/// use convnet::prelude::*;
///
/// mod blocks {
///     use convnet::prelude::*;
///
///     convnet! {
///         pub type Residual<const CHANNELS: usize> = [
///             Input(None, None, CHANNELS),
///             Add(
///                 [
///                     Conv2D(CHANNELS, 3, padding = "same", use_bias = false),
///                     BatchNormalization(),
///                     ReLU(),
///                     Conv2D(CHANNELS, 3, padding = "same", use_bias = false),
///                     BatchNormalization(),
///                 ],
///                 [],
///             ),
///             ReLU(),
///         ];
///     }
/// }
///
/// convnet! {
///     type Base = [
///         Input(28, 28, 1),
///         Conv2D(16, 3, padding = "same"),
///         Repeat(2, [blocks::Residual<16>]),
///         MaxPooling2D(),
///         blocks::Residual<16>,
///         GlobalAveragePooling2D(),
///     ];
///     /// What is to be trained on top of it.
///     type Transfer<const CLASSES: usize> = [
///         Base(trainable = false),
///         Dense(CLASSES, activation = "softmax"),
///     ];
/// }
///
/// assert_eq!(Transfer::<5>::TRAINABLE_PARAMS, 16 * 5 + 5);
/// ```
///
/// # Sizes
///
/// A size is a number, a constant expression, or a const generic: of the item (`type Net<const CLASSES: usize> = […];`), or of
/// the function around a listing where a type stands. A const generic stands alone: stable Rust does not compute with them, so
/// `2 * CLASSES` wants a const generic of its own. Where a type stands, a constant is written as an expression (`self::K`,
/// `2 * K`): a single identifier is taken for a const generic, which the types can compute with only as far as typenum's table
/// of const generics goes.
///
/// ```
/// use convnet::prelude::*;
///
/// const WIDTH: usize = 8;
///
/// convnet! {
///     type Net<const EDGE: usize, const CLASSES: usize> = [
///         Input(EDGE, EDGE, 3),
///         Conv2D(4 * WIDTH, 3),
///         GlobalMaxPooling2D(),
///         Dense(CLASSES),
///     ];
/// }
///
/// assert_eq!(Net::<64, 10>::OUTPUT, [10]);
/// assert_eq!(Net::<64, 10>::PARAMS, Net::<32, 10>::PARAMS);
/// ```
///
/// # What is known of a network
///
/// Shapes and numbers of parameters are constants of the trait `Network`, and the summary stands in an item's documentation. What
/// cannot be is an error of the compiler on the layer at fault.
#[proc_macro]
pub fn convnet(tokens: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expansion(tokens.into()).into()
}

fn expansion(tokens: TokenStream) -> TokenStream {
    let errors = Errors::new();
    match parse::invocation(tokens, &errors) {
        Invocation::Items(items) => {
            let mut networks = KnownNetworks::new();
            let mut private = HashMap::new();
            let items: Vec<TokenStream> =
                items.iter().map(|item| expand_item(item, &mut networks, &mut private, &errors)).collect();
            let complaints = errors.finish();
            quote!(#(#complaints)* #(#items)*)
        }
        Invocation::Type(listing) => expand_type(&listing, errors),
    }
}

fn expand_item<'a>(
    item: &'a Item,
    networks: &mut KnownNetworks,
    private: &mut HashMap<&'a Ident, bool>,
    errors: &Errors,
) -> TokenStream {
    let before = errors.count();
    let scope = Scope::Item { generics: item.sizes().map(|size| size.ident.clone()).collect() };
    let context = Context { scope: &scope, own: Some(&item.name), networks, errors };
    let mut model = match &item.listing {
        Some(listing) => assemble::assemble(listing, &context),
        None => Model { input: None, layers: Vec::new() },
    };
    let mut checked = check::check(&model, errors);
    if let Visibility::Public(_) = item.visibility {
        keep_private(&item.name, &mut model.layers, private, errors);
    } else {
        private.insert(&item.name, false);
    }
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

/// Complains of private layers of a public network, of which the compiler would complain with its types, and takes
/// them out; of each network once.
fn keep_private(network: &Ident, layers: &mut [Layer], private: &mut HashMap<&Ident, bool>, errors: &Errors) {
    for layer in layers {
        match &mut layer.op {
            Op::Merge { branches, .. } => {
                branches.iter_mut().for_each(|branch| keep_private(network, branch, private, errors));
            }
            Op::Repeat { layers, .. } => keep_private(network, layers, private, errors),
            Op::Network { path, .. } if path.segments.len() == 1 => {
                let part = &path.segments[0].ident;
                let Some(told) = private.get_mut(part) else { continue };
                if !std::mem::replace(told, true) {
                    let sentence = format!("`{part}` is private, but a layer of `{network}`, which is `pub`");
                    errors.at(layer.place, Complaint::new(sentence).help(format!("write `pub type {part}`")));
                }
                layer.op = Op::Faulty { keeps_shape: false };
            }
            _ => {}
        }
    }
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
    let context = Context { scope: &Scope::Type, own: None, networks: &networks, errors: &errors };
    let mut model = assemble::assemble(listing, &context);
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
