//! One layer's configuration as its line in a listing.

use super::arguments::{Arguments, activation, decimal, quoted, tuple};
use super::config::{Config, fault, size_of};
use super::listing::{Item, Line};
use crate::Result;
use serde_json::Value;

/// The layers of the language, and what Keras calls them where nobody gave a name.
const KINDS: [(&str, &str); 21] = [
    ("Conv2D", "conv2d"),
    ("DepthwiseConv2D", "depthwise_conv2d"),
    ("SeparableConv2D", "separable_conv2d"),
    ("MaxPooling2D", "max_pooling2d"),
    ("AveragePooling2D", "average_pooling2d"),
    ("GlobalAveragePooling2D", "global_average_pooling2d"),
    ("GlobalMaxPooling2D", "global_max_pooling2d"),
    ("ZeroPadding2D", "zero_padding2d"),
    ("UpSampling2D", "up_sampling2d"),
    ("Flatten", "flatten"),
    ("Reshape", "reshape"),
    ("Dense", "dense"),
    ("Activation", "activation"),
    ("Softmax", "softmax"),
    ("ReLU", "re_lu"),
    ("LeakyReLU", "leaky_re_lu"),
    ("Rescaling", "rescaling"),
    ("Dropout", "dropout"),
    ("BatchNormalization", "batch_normalization"),
    ("Add", "add"),
    ("Concatenate", "concatenate"),
];

/// The arguments of a kernel.
struct Kernel {
    initializer: &'static str,
    regularizer: &'static str,
}

const KERNEL: Kernel = Kernel { initializer: "kernel_initializer", regularizer: "kernel_regularizer" };
const DEPTHWISE: Kernel = Kernel { initializer: "depthwise_initializer", regularizer: "depthwise_regularizer" };
const POINTWISE: Kernel = Kernel { initializer: "pointwise_initializer", regularizer: "pointwise_regularizer" };

/// Whether a type of that name would hide a layer.
pub(super) fn is_kind(name: &str) -> bool {
    KINDS.iter().any(|(kind, _)| *kind == name)
}

/// Reads the layer of that class and name. `map` says whether it takes a map or a vector, and is changed to what it
/// makes of it.
pub(super) fn read(class: &str, name: &str, config: &Value, map: &mut bool) -> Result<Item> {
    let Some(&(kind, stem)) = KINDS.iter().find(|(kind, _)| *kind == class) else {
        let known: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
        let expected = format!("one of {}", known.join(", "));
        return Err(fault(format!("{name}, class_name"), expected, Some(&Value::from(class))));
    };
    let what = format!("{name} ({kind})");
    let Some(fields) = config.as_object() else {
        return Err(fault(format!("{what}, config"), "an object", Some(config)));
    };
    let mut config = Config::new(what, fields);
    let mut arguments = Arguments::default();
    config.field("name");
    config.word("data_format", &["channels_last"])?;
    read_arguments(kind, &mut config, &mut arguments, map)?;
    let trainable = config.flag("trainable", true)?;
    let has_weights = matches!(kind, "Conv2D" | "DepthwiseConv2D" | "SeparableConv2D" | "Dense" | "BatchNormalization");
    config.finish()?;
    if !is_counted(name, stem) {
        arguments.named("name", quoted(name));
    }
    Ok(Item::Line(Line { kind: kind.to_owned(), arguments: arguments.0, frozen: has_weights.then_some(!trainable) }))
}

/// Whether Keras made up the name: `conv2d`, `conv2d_7`.
fn is_counted(name: &str, stem: &str) -> bool {
    match name.strip_prefix(stem) {
        Some("") => true,
        Some(rest) => {
            rest.strip_prefix('_').is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
        }
        None => false,
    }
}

/// The arguments of each kind, positional ones first.
fn read_arguments(kind: &str, config: &mut Config<'_>, arguments: &mut Arguments, map: &mut bool) -> Result<()> {
    match kind {
        "Conv2D" => {
            arguments.plain(config.size("filters")?);
            convolution(config, arguments, &[KERNEL], |config, arguments| arguments.size(config, "groups", 1))
        }
        "DepthwiseConv2D" => {
            no_groups(config)?;
            convolution(config, arguments, &[DEPTHWISE], |config, arguments| {
                arguments.size(config, "depth_multiplier", 1)
            })
        }
        "SeparableConv2D" => {
            arguments.plain(config.size("filters")?);
            no_groups(config)?;
            // Keras 2 writes what the class inherits and does not use.
            for unused in ["kernel_initializer", "kernel_regularizer", "kernel_constraint"] {
                config.field(unused);
            }
            convolution(config, arguments, &[DEPTHWISE, POINTWISE], |config, arguments| {
                arguments.size(config, "depth_multiplier", 1)
            })
        }
        "MaxPooling2D" | "AveragePooling2D" => pooling(config, arguments),
        "GlobalAveragePooling2D" | "GlobalMaxPooling2D" => {
            *map = config.flag("keepdims", false)?;
            arguments.flag(config, "keepdims", false)
        }
        "ZeroPadding2D" => zero_padding(config, arguments),
        "UpSampling2D" => {
            match config.pair("size")? {
                Some(size) if size != [2, 2] => arguments.plain(tuple(&size)),
                _ => {}
            }
            arguments.word(config, "interpolation", &["nearest", "bilinear"])
        }
        "Flatten" => {
            *map = false;
            Ok(())
        }
        "Reshape" => reshape(config, arguments, map),
        "Dense" => {
            arguments.plain(config.size("units")?);
            activation_argument(config, arguments)?;
            weights(config, arguments, &[KERNEL])
        }
        "Activation" => {
            let name = activation(config)?;
            arguments.plain(quoted(name));
            Ok(())
        }
        "Softmax" => channels_axis(config, *map),
        "ReLU" => {
            if let Some(number) = config.number("max_value")? {
                arguments.named("max_value", decimal(number));
            }
            arguments.number(config, "negative_slope", 0.0)?;
            arguments.number(config, "threshold", 0.0)
        }
        "LeakyReLU" => {
            // Called `alpha` up to Keras 2.
            let slope = match config.number("alpha")? {
                None => config.number("negative_slope")?,
                slope => slope,
            };
            if let Some(slope) = slope.filter(|&slope| slope != 0.3) {
                arguments.named("negative_slope", decimal(slope));
            }
            Ok(())
        }
        "Rescaling" => {
            let scale = config.number("scale")?.ok_or_else(|| config.error("scale", "a number", None))?;
            arguments.plain(decimal(scale));
            arguments.number(config, "offset", 0.0)
        }
        "Dropout" => {
            let rate = config.number("rate")?.ok_or_else(|| config.error("rate", "a number", None))?;
            arguments.plain(decimal(rate));
            Ok(())
        }
        "BatchNormalization" => {
            channels_axis(config, *map)?;
            normalization(config, arguments)
        }
        "Concatenate" => channels_axis(config, *map),
        _ => Ok(()),
    }
}

/// What all convolutions have; `own` is read between padding and activation.
fn convolution(
    config: &mut Config<'_>,
    arguments: &mut Arguments,
    kernels: &[Kernel],
    own: impl FnOnce(&mut Config<'_>, &mut Arguments) -> Result<()>,
) -> Result<()> {
    arguments.plain(tuple(&config.needed_pair("kernel_size")?));
    arguments.pair(config, "strides", [1, 1])?;
    arguments.word(config, "padding", &["valid", "same"])?;
    arguments.pair(config, "dilation_rate", [1, 1])?;
    own(config, arguments)?;
    activation_argument(config, arguments)?;
    weights(config, arguments, kernels)
}

/// Convolutions of single channels inherit the argument in Keras 2, but have groups by themselves.
fn no_groups(config: &mut Config<'_>) -> Result<()> {
    match config.size_or("groups", 1)? {
        1 => Ok(()),
        groups => Err(config.error("groups", "1", Some(&Value::from(groups)))),
    }
}

fn activation_argument(config: &mut Config<'_>, arguments: &mut Arguments) -> Result<()> {
    let name = activation(config)?;
    if name != "linear" {
        arguments.named("activation", quoted(name));
    }
    Ok(())
}

/// Bias, initialisers and penalties of a layer with those kernels.
fn weights(config: &mut Config<'_>, arguments: &mut Arguments, kernels: &[Kernel]) -> Result<()> {
    arguments.flag(config, "use_bias", true)?;
    for kernel in kernels {
        arguments.initializer(config, kernel.initializer, "glorot_uniform")?;
    }
    arguments.initializer(config, "bias_initializer", "zeros")?;
    for kernel in kernels {
        arguments.regularizer(config, kernel.regularizer)?;
    }
    arguments.regularizer(config, "bias_regularizer")
}

fn pooling(config: &mut Config<'_>, arguments: &mut Arguments) -> Result<()> {
    let pool_size = config.pair("pool_size")?.unwrap_or([2, 2]);
    if pool_size != [2, 2] {
        arguments.plain(tuple(&pool_size));
    }
    arguments.pair(config, "strides", pool_size)?;
    arguments.word(config, "padding", &["valid", "same"])
}

/// `[[top, bottom], [left, right]]`, from 0 on; a pair or one number in the hands of a user.
fn zero_padding(config: &mut Config<'_>, arguments: &mut Arguments) -> Result<()> {
    let Some(field) = config.field("padding") else { return Ok(()) };
    let number = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok());
    let side = |value: &Value| match value {
        Value::Array(pair) => match pair.as_slice() {
            [first, second] => number(first).zip(number(second)),
            _ => None,
        },
        both => number(both).map(|size| (size, size)),
    };
    let sides = match field {
        Value::Array(sides) => match sides.as_slice() {
            [vertical, horizontal] => side(vertical).zip(side(horizontal)),
            _ => None,
        },
        all => side(all).map(|side| (side, side)),
    };
    match sides {
        Some(((1, 1), (1, 1))) => {}
        Some(((top, bottom), (left, right))) if top == bottom && left == right => {
            arguments.plain(tuple(&[top, left]));
        }
        Some(((top, bottom), (left, right))) => {
            arguments.plain(format!("({}, {})", tuple(&[top, bottom]), tuple(&[left, right])));
        }
        None => return Err(config.error("padding", "[[top, bottom], [left, right]]", Some(field))),
    }
    Ok(())
}

fn reshape(config: &mut Config<'_>, arguments: &mut Arguments, map: &mut bool) -> Result<()> {
    let field = config.field("target_shape");
    let sizes: Option<Vec<usize>> = field.and_then(Value::as_array).and_then(|list| list.iter().map(size_of).collect());
    match sizes {
        Some(sizes) if matches!(sizes.len(), 1 | 3) => {
            *map = sizes.len() == 3;
            arguments.plain(tuple(&sizes));
            Ok(())
        }
        _ => Err(config.error("target_shape", "one or three sizes from 1 on", field)),
    }
}

fn normalization(config: &mut Config<'_>, arguments: &mut Arguments) -> Result<()> {
    arguments.number(config, "momentum", 0.99)?;
    arguments.number(config, "epsilon", 0.001)?;
    arguments.flag(config, "center", true)?;
    arguments.flag(config, "scale", true)?;
    arguments.initializer(config, "beta_initializer", "zeros")?;
    arguments.initializer(config, "gamma_initializer", "ones")?;
    arguments.initializer(config, "moving_mean_initializer", "zeros")?;
    arguments.initializer(config, "moving_variance_initializer", "ones")?;
    arguments.regularizer(config, "beta_regularizer")?;
    arguments.regularizer(config, "gamma_regularizer")
}

/// The axis must be the last. Keras writes it as a number, or as a list with one, from either end.
fn channels_axis(config: &mut Config<'_>, map: bool) -> Result<()> {
    let Some(field) = config.field("axis") else { return Ok(()) };
    let axis = match field {
        Value::Array(list) if list.len() == 1 => list[0].as_i64(),
        axis => axis.as_i64(),
    };
    let last = if map { 3 } else { 1 };
    match axis {
        Some(axis) if axis == -1 || axis == last => Ok(()),
        _ => Err(config.error("axis", format!("-1 or {last}, the channels"), Some(field))),
    }
}
