//! The three forms of a summary, letter by letter: sequential networks, branches, frozen layers.

use super::Summary;
use crate::layers::activation::{Linear, Relu, Softmax};
use crate::layers::batch_normalization::BatchNormalization;
use crate::layers::composition::{Add, Merge};
use crate::layers::conv2d::Conv2D;
use crate::layers::dense::Dense;
use crate::layers::flatten::Flatten;
use crate::layers::max_pooling2d::MaxPooling2D;
use crate::layers::relu::ReLU;
use crate::layers::{Frozen, Window};
use crate::shape::size::Map;
use crate::shape::walk::{Same, Valid};
use crate::{Definition, Network};
use serde_json::{Value, json};
use typenum::{U1, U2, U3, U4, U6};

type Kernel<P> = Window<U3, U3, U1, U1, U1, U1, P>;
type Normalization = BatchNormalization<{ 0.99f64.to_bits() }, { 0.001f64.to_bits() }, true, true>;
type Capped = ReLU<{ 6.0f64.to_bits() }, 0, 0>;
type Uncapped = ReLU<{ f64::INFINITY.to_bits() }, 0, 0>;

struct Chain;

impl Definition for Chain {
    const NAME: &'static str = "Chain";
    type Input = Map<6, 6, 1>;
    type Sizes = (U6, U6, U1);
    type Layers = (
        (Frozen<Conv2D<U2, Kernel<Valid>, Relu, true>>, (Normalization, Capped)),
        ((MaxPooling2D<Window<U2, U2, U2, U2, U1, U1, Valid>>, Uncapped), (Flatten, Dense<U3, Softmax, true>)),
    );
}

/// A shortcut beside two convolutions.
struct Fork;

impl Definition for Fork {
    const NAME: &'static str = "Fork";
    type Input = Map<6, 6, 4>;
    type Sizes = (U6, U6, U4);
    type Layers =
        (Merge<Add, ((Conv2D<U4, Kernel<Same>, Relu, true>, Conv2D<U4, Kernel<Same>, Linear, true>), ())>, Capped);
}

#[test]
fn a_chain_has_the_books_three_columns() {
    let expected = "\
_________________________________________________________________
Layer (type)                 Output Shape              Param #
=================================================================
conv2d_1 (Conv2D)            (None, 4, 4, 2)           20
_________________________________________________________________
batch_normalization_1 (BatchNormalization) (None, 4, 4, 2)           8
";
    let table = Summary::of(Chain::PLAN).to_string();
    // The long name makes the first column wider by 14, and with it the lines.
    let widened = expected
        .replace(&"_".repeat(65), &"_".repeat(79))
        .replace(&"=".repeat(65), &"=".repeat(79))
        .replace("Layer (type)     ", &format!("Layer (type)     {}", " ".repeat(14)))
        .replace("conv2d_1 (Conv2D)", &format!("conv2d_1 (Conv2D){}", " ".repeat(14)));
    assert!(table.starts_with(&widened), "{table}");
    let totals = "Total params: 55\nTrainable params: 31\nNon-trainable params: 24\n";
    assert!(table.contains(totals), "{table}");
}

#[test]
fn branches_add_the_column_of_connections() {
    let expected = format!(
        "\
{under}
Layer (type)                     Output Shape          Param #     Connected to
{double}
input (InputLayer)               (None, 6, 6, 4)       0
{under}
conv2d_1 (Conv2D)                (None, 6, 6, 4)       148         input
{under}
conv2d_2 (Conv2D)                (None, 6, 6, 4)       148         conv2d_1
{under}
add_1 (Add)                      (None, 6, 6, 4)       0           conv2d_2
                                                                   input
{under}
re_lu_1 (ReLU)                   (None, 6, 6, 4)       0           add_1
{double}
Total params: 296
Trainable params: 296
Non-trainable params: 0
{under}",
        under = "_".repeat(100),
        double = "=".repeat(100)
    );
    assert_eq!(Summary::of(Fork::PLAN).to_string(), expected);
}

#[test]
fn markdown_has_a_row_a_layer_and_the_totals() {
    let expected = "\
| Layer | Type | Output shape | Params | Connected to |
|---|---|---|---:|---|
| conv2d_1 | Conv2D | (6, 6, 4) | 148 | input |
| conv2d_2 | Conv2D | (6, 6, 4) | 148 | conv2d_1 |
| add_1 | Add | (6, 6, 4) | 0 | conv2d_2, input |
| re_lu_1 | ReLU | (6, 6, 4) | 0 | add_1 |
| **Total** | | | **296** | |
| Trainable | | | 296 | |
| Non-trainable | | | 0 | |
";
    assert_eq!(Summary::of(Fork::PLAN).to_markdown(), expected);
    assert!(Summary::of(Chain::PLAN).to_markdown().contains("| Non-trainable | | | 24 |\n"));
}

fn json_of(plan: crate::plan::Plan) -> Value {
    serde_json::from_str(&Summary::of(plan).to_json()).unwrap()
}

#[test]
fn json_tells_settings_weights_and_totals() {
    let json = json_of(Chain::PLAN);
    let conv2d = json!({
        "name": "conv2d_1",
        "kind": "Conv2D",
        "settings": {
            "kernel_size": [3, 3],
            "strides": [1, 1],
            "padding": "valid",
            "dilation_rate": [1, 1],
            "filters": 2,
            "groups": 1,
            "activation": "relu",
            "use_bias": true,
        },
        "inputs": ["input"],
        "input_shapes": [[6, 6, 1]],
        "output_shape": [4, 4, 2],
        "params": 20,
        "trainable": false,
        "trainable_params": 0,
        "weights": [
            {
                "name": "kernel",
                "shape": [3, 3, 1, 2],
                "initializer": { "variance": 2.0 / 27.0, "distribution": "uniform" },
                "trainable": false,
                "l2": 0.0,
            },
            { "name": "bias", "shape": [2], "initializer": "zeros", "trainable": false, "l2": 0.0 },
        ],
    });
    assert_eq!(json["layers"][0], conv2d);
    let statistics: Vec<bool> =
        (0..4).map(|i| json["layers"][1]["weights"][i]["trainable"].as_bool().unwrap()).collect();
    assert_eq!(statistics, [true, true, false, false]);
    let pooling = json!({ "pool_size": [2, 2], "strides": [2, 2], "padding": "valid" });
    assert_eq!(json["layers"][3]["settings"], pooling);
    assert_eq!(json["layers"][2]["settings"]["max_value"], 6.0);
    assert_eq!(json["layers"][4]["settings"]["max_value"], Value::Null);
    let totals = [&json["params"], &json["trainable_params"], &json["non_trainable_params"]];
    assert_eq!(totals, [55, 31, 24]);
}

#[test]
fn json_tells_what_a_merge_takes() {
    let json = json_of(Fork::PLAN);
    assert_eq!(json["layers"][2]["inputs"], json!(["conv2d_2", "input"]));
    assert_eq!(json["layers"][2]["input_shapes"], json!([[6, 6, 4], [6, 6, 4]]));
    assert_eq!(json["output"], json!([6, 6, 4]));
}
