//! The settings of a layer under Keras's argument names.

use crate::layers::Op;
use crate::layers::up_sampling2d::Interpolation;
use crate::shape::{Axis, Padding};
use serde_json::{Map, Value, json};

/// All settings that a layer has, defaults among them. A `max_value` of none is `null`.
pub(super) fn settings(op: &Op) -> Value {
    match op {
        Op::Conv2D(spec) => with(
            window("kernel_size", &spec.vertical, &spec.horizontal),
            json!({
                "filters": spec.filters,
                "groups": spec.groups,
                "activation": spec.activation.name(),
                "use_bias": spec.use_bias,
            }),
        ),
        Op::DepthwiseConv2D(spec) => with(
            window("kernel_size", &spec.vertical, &spec.horizontal),
            json!({
                "depth_multiplier": spec.depth_multiplier,
                "activation": spec.activation.name(),
                "use_bias": spec.use_bias,
            }),
        ),
        Op::SeparableConv2D(spec) => with(
            window("kernel_size", &spec.vertical, &spec.horizontal),
            json!({
                "filters": spec.filters,
                "depth_multiplier": spec.depth_multiplier,
                "activation": spec.activation.name(),
                "use_bias": spec.use_bias,
            }),
        ),
        Op::MaxPooling2D(spec) | Op::AveragePooling2D(spec) => {
            let mut window = window("pool_size", &spec.vertical, &spec.horizontal);
            // Pooling has no such argument.
            window.shift_remove("dilation_rate");
            Value::Object(window)
        }
        Op::GlobalAveragePooling2D(spec) | Op::GlobalMaxPooling2D(spec) => json!({ "keepdims": spec.keepdims }),
        Op::ZeroPadding2D(spec) => json!({ "padding": [[spec.top, spec.bottom], [spec.left, spec.right]] }),
        Op::UpSampling2D(spec) => json!({
            "size": [spec.rows, spec.columns],
            "interpolation": match spec.interpolation {
                Interpolation::Nearest => "nearest",
                Interpolation::Bilinear => "bilinear",
            },
        }),
        Op::Reshape(target) => json!({ "target_shape": target.sizes() }),
        Op::Dense(spec) => {
            json!({ "units": spec.units, "activation": spec.activation.name(), "use_bias": spec.use_bias })
        }
        Op::Activation(activation) => json!({ "activation": activation.name() }),
        Op::ReLU(spec) => json!({
            "max_value": spec.max_value.is_finite().then_some(spec.max_value),
            "negative_slope": spec.negative_slope,
            "threshold": spec.threshold,
        }),
        Op::LeakyReLU(spec) => json!({ "negative_slope": spec.negative_slope }),
        Op::Rescaling(spec) => json!({ "scale": spec.scale, "offset": spec.offset }),
        Op::Dropout(spec) => json!({ "rate": spec.rate }),
        Op::BatchNormalization(spec) => json!({
            "momentum": spec.momentum,
            "epsilon": spec.epsilon,
            "center": spec.center,
            "scale": spec.scale,
        }),
        Op::Flatten | Op::Softmax | Op::Add | Op::Concatenate => json!({}),
    }
}

/// How a window slides.
fn window(argument: &str, vertical: &Axis, horizontal: &Axis) -> Map<String, Value> {
    let padding = match vertical.padding {
        Padding::Valid => "valid",
        Padding::Same => "same",
    };
    let mut window = Map::new();
    window.insert(argument.to_owned(), json!([vertical.window, horizontal.window]));
    window.insert("strides".to_owned(), json!([vertical.stride, horizontal.stride]));
    window.insert("padding".to_owned(), json!(padding));
    window.insert("dilation_rate".to_owned(), json!([vertical.dilation, horizontal.dilation]));
    window
}

/// The settings of a window, then others.
fn with(mut window: Map<String, Value>, others: Value) -> Value {
    if let Value::Object(others) = others {
        window.extend(others);
    }
    Value::Object(window)
}
