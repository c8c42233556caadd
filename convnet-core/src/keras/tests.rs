//! Each layer and each way to write it, and what is refused. Whole models as Keras wrote them are in
//! tests/from_keras.rs.

use super::from_keras;
use serde_json::{Value, json};

/// The lines of the layers behind an input of 8×8×4, or what the error says.
fn layers(layers: &[Value]) -> Result<Vec<String>, String> {
    let mut all = vec![json!({
        "class_name": "InputLayer",
        "config": { "batch_shape": [null, 8, 8, 4], "name": "input_layer" },
    })];
    all.extend_from_slice(layers);
    let model = json!({ "class_name": "Sequential", "config": { "name": "sequential", "layers": all } });
    let text = from_keras(&model.to_string()).map_err(|error| error.to_string())?;
    let lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    assert_eq!(lines[..3], ["convnet! {", "type Net = [", "Input(8, 8, 4),"]);
    assert_eq!(lines[lines.len() - 2..], ["];", "}"]);
    Ok(lines[3..lines.len() - 2].to_vec())
}

fn named(class: &str, name: &str, mut config: Value) -> Value {
    config["name"] = json!(name);
    json!({ "class_name": class, "config": config })
}

fn line(class: &str, config: Value) -> String {
    let lines = layers(&[named(class, "own", config)]).unwrap();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let stripped = line.replace(", name = \"own\"),", ")").replace("name = \"own\"),", ")");
    assert_ne!(stripped, *line);
    stripped
}

fn error(class: &str, config: Value) -> String {
    layers(&[named(class, "own", config)]).unwrap_err()
}

#[test]
fn a_name_of_the_language_is_not_taken_for_a_type() {
    for (name, expected) in [("l2", "Net"), ("fit_3", "Net"), ("repeat", "Net"), ("dense", "DenseNet"), ("l3", "L3")] {
        let model = json!({ "class_name": "Sequential", "config": { "name": name, "layers": [
            { "class_name": "InputLayer", "config": { "batch_shape": [null, 3], "name": "i" } },
        ] } });
        let listing = from_keras(&model.to_string()).unwrap();
        assert!(listing.contains(&format!("type {expected} = ")), "{name}: {listing}");
    }
}

#[test]
fn only_what_is_not_usual_is_written() {
    let usual = json!({
        "trainable": true, "dtype": "float32", "filters": 32, "kernel_size": [3, 3], "strides": [1, 1],
        "padding": "valid", "data_format": "channels_last", "dilation_rate": [1, 1], "groups": 1,
        "activation": "linear", "use_bias": true,
        "kernel_initializer": { "class_name": "GlorotUniform", "config": { "seed": null } },
        "bias_initializer": { "class_name": "Zeros", "config": {} },
        "kernel_regularizer": null, "bias_regularizer": null, "activity_regularizer": null,
        "kernel_constraint": null, "bias_constraint": null,
    });
    assert_eq!(line("Conv2D", usual), "Conv2D(32, (3, 3))");
    let all = json!({
        "trainable": false, "filters": 32, "kernel_size": [3, 5], "strides": [2, 1], "padding": "same",
        "dilation_rate": [1, 2], "groups": 2, "activation": "relu", "use_bias": false,
        "kernel_initializer": { "class_name": "HeNormal", "config": { "seed": 7 } },
        "bias_initializer": "ones",
        "kernel_regularizer": { "class_name": "L2", "config": { "l2": 0.001 } },
        "bias_regularizer": { "class_name": "L1L2", "config": { "l1": 0.0, "l2": 0.009999999776482582 } },
    });
    assert_eq!(
        layers(&[named("Conv2D", "first", all)]).unwrap(),
        ["Conv2D(32, (3, 5), strides = (2, 1), padding = \"same\", dilation_rate = (1, 2), groups = 2, \
          activation = \"relu\", use_bias = false, kernel_initializer = \"he_normal\", bias_initializer = \"ones\", \
          kernel_regularizer = L2(0.001), bias_regularizer = L2(0.01), name = \"first\", trainable = false),"]
    );
}

#[test]
fn every_layer_has_its_line() {
    let cases = [
        (
            "DepthwiseConv2D",
            json!({ "kernel_size": 3, "depth_multiplier": 2, "groups": 1 }),
            "DepthwiseConv2D((3, 3), depth_multiplier = 2)",
        ),
        (
            "DepthwiseConv2D",
            json!({ "kernel_size": [1, 2], "depthwise_initializer": "he_uniform" }),
            "DepthwiseConv2D((1, 2), depthwise_initializer = \"he_uniform\")",
        ),
        (
            "SeparableConv2D",
            json!({
                "filters": 8, "kernel_size": [3, 3], "depth_multiplier": 1, "kernel_initializer": "he_normal",
                "pointwise_regularizer": "l2",
            }),
            "SeparableConv2D(8, (3, 3), pointwise_regularizer = L2(0.01))",
        ),
        ("MaxPooling2D", json!({ "pool_size": [2, 2], "strides": [2, 2], "padding": "valid" }), "MaxPooling2D()"),
        (
            "AveragePooling2D",
            json!({ "pool_size": [3, 3], "strides": [2, 2], "padding": "same" }),
            "AveragePooling2D((3, 3), strides = (2, 2), padding = \"same\")",
        ),
        ("GlobalAveragePooling2D", json!({ "keepdims": false }), "GlobalAveragePooling2D()"),
        ("GlobalMaxPooling2D", json!({ "keepdims": true }), "GlobalMaxPooling2D(keepdims = true)"),
        ("ZeroPadding2D", json!({ "padding": [[1, 1], [1, 1]] }), "ZeroPadding2D()"),
        ("ZeroPadding2D", json!({ "padding": [[3, 3], [0, 0]] }), "ZeroPadding2D((3, 0))"),
        ("ZeroPadding2D", json!({ "padding": [[0, 1], [2, 3]] }), "ZeroPadding2D(((0, 1), (2, 3)))"),
        ("UpSampling2D", json!({ "size": [2, 2], "interpolation": "nearest" }), "UpSampling2D()"),
        (
            "UpSampling2D",
            json!({ "size": [2, 3], "interpolation": "bilinear" }),
            "UpSampling2D((2, 3), interpolation = \"bilinear\")",
        ),
        ("Flatten", json!({ "data_format": "channels_last" }), "Flatten()"),
        ("Reshape", json!({ "target_shape": [16, 16, 1] }), "Reshape((16, 16, 1))"),
        ("Reshape", json!({ "target_shape": [256] }), "Reshape((256,))"),
        ("Dense", json!({ "units": 10, "activation": "softmax" }), "Dense(10, activation = \"softmax\")"),
        ("Activation", json!({ "activation": "tanh" }), "Activation(\"tanh\")"),
        ("Softmax", json!({ "axis": -1 }), "Softmax()"),
        ("ReLU", json!({ "max_value": null, "negative_slope": 0.0, "threshold": 0.0 }), "ReLU()"),
        (
            "ReLU",
            json!({ "max_value": 6, "negative_slope": 0.10000000149011612, "threshold": 1 }),
            "ReLU(max_value = 6.0, negative_slope = 0.1, threshold = 1.0)",
        ),
        ("LeakyReLU", json!({ "alpha": 0.30000001192092896 }), "LeakyReLU()"),
        ("LeakyReLU", json!({ "negative_slope": 0.2 }), "LeakyReLU(negative_slope = 0.2)"),
        (
            "Rescaling",
            json!({ "scale": 0.00392156862745098, "offset": -1 }),
            "Rescaling(0.00392156862745098, offset = -1.0)",
        ),
        ("Dropout", json!({ "rate": 0.5, "seed": 3, "noise_shape": null }), "Dropout(0.5)"),
        ("BatchNormalization", json!({ "axis": [3], "momentum": 0.99, "epsilon": 0.001 }), "BatchNormalization()"),
        (
            "BatchNormalization",
            json!({
                "axis": -1, "momentum": 0.9, "epsilon": 1e-5, "center": false, "scale": false, "renorm": false,
                "gamma_initializer": "zeros",
            }),
            "BatchNormalization(momentum = 0.9, epsilon = 1e-5, center = false, scale = false, \
             gamma_initializer = \"zeros\")",
        ),
    ];
    for (class, config, expected) in cases {
        assert_eq!(line(class, config), expected);
    }
}

#[test]
fn names_that_keras_made_up_are_left_out() {
    let pool = |name| named("MaxPooling2D", name, json!({}));
    let lines = layers(&["max_pooling2d", "max_pooling2d_12", "max_pooling2d_", "block1_pool"].map(pool)).unwrap();
    let expected = [
        "MaxPooling2D(),",
        "MaxPooling2D(),",
        "MaxPooling2D(name = \"max_pooling2d_\"),",
        "MaxPooling2D(name = \"block1_pool\"),",
    ];
    assert_eq!(lines, expected);
    assert_eq!(layers(&[named("Flatten", "a \"b\"", json!({}))]).unwrap(), ["Flatten(name = \"a \\\"b\\\"\"),"]);
}

#[test]
fn variance_scaling_is_one_of_the_named_initialisers() {
    let of = |scale, mode, distribution| {
        let config = json!({ "scale": scale, "mode": mode, "distribution": distribution, "seed": null });
        json!({ "units": 1, "kernel_initializer": { "class_name": "VarianceScaling", "config": config } })
    };
    assert_eq!(line("Dense", of(1.0, "fan_avg", "uniform")), "Dense(1)");
    let he = "Dense(1, kernel_initializer = \"he_normal\")";
    assert_eq!(line("Dense", of(2.0, "fan_in", "truncated_normal")), he);
    let lecun = "Dense(1, kernel_initializer = \"lecun_uniform\")";
    assert_eq!(line("Dense", of(1.0, "fan_in", "uniform")), lecun);
    assert!(error("Dense", of(3.0, "fan_in", "uniform")).starts_with("own (Dense), kernel_initializer: expected \"gl"));
}

#[test]
fn an_error_names_layer_field_expected_and_found() {
    let cases = [
        ("LSTM", json!({ "units": 3 }), "own, class_name: expected one of Conv2D, DepthwiseConv2D"),
        (
            "Dense",
            json!({ "units": 3, "activation": "gelu" }),
            "own (Dense), activation: expected \"linear\", \"relu\", \"sigmoid\", \"tanh\" or \"softmax\", found \"gelu\"",
        ),
        ("Dense", json!({}), "own (Dense), units: expected a whole number from 1 on, found nothing"),
        ("Dense", json!({ "units": -3 }), "own (Dense), units: expected a whole number from 1 on, found -3"),
        ("Dense", json!({ "units": 3, "use_bias": 1 }), "own (Dense), use_bias: expected true or false, found 1"),
        ("Conv2D", json!({ "filters": 3, "kernel_size": [3, 3, 3] }), "own (Conv2D), kernel_size: expected one or two"),
        (
            "Flatten",
            json!({ "data_format": "channels_first" }),
            "own (Flatten), data_format: expected \"channels_last\", found \"channels_first\"",
        ),
        (
            "Dense",
            json!({ "units": 3, "kernel_regularizer": { "class_name": "L1", "config": { "l1": 0.01 } } }),
            "own (Dense), kernel_regularizer: expected L2 and nothing else, found {",
        ),
        (
            "Dense",
            json!({ "units": 3, "kernel_regularizer": {
            "class_name": "L1L2", "config": { "l1": 0.1, "l2": 0.1 } } }),
            "own (Dense), kernel_regularizer: expected L2 and nothing else",
        ),
        (
            "Dense",
            json!({ "units": 3, "kernel_constraint": { "class_name": "NonNeg" } }),
            "own (Dense), kernel_constraint: expected no such argument, or null, found {",
        ),
        (
            "Flatten",
            json!({ "unheard_of": 7 }),
            "own (Flatten), unheard_of: expected no such argument, or null, found 7",
        ),
        ("Reshape", json!({ "target_shape": [-1, 3, 3] }), "own (Reshape), target_shape: expected one or three sizes"),
        (
            "BatchNormalization",
            json!({ "axis": 1 }),
            "own (BatchNormalization), axis: expected -1 or 3, the channels, found 1",
        ),
        ("ZeroPadding2D", json!({ "padding": [[1, 1], [-1, 1]] }), "own (ZeroPadding2D), padding: expected [[top"),
        (
            "DepthwiseConv2D",
            json!({ "kernel_size": 3, "groups": 2 }),
            "own (DepthwiseConv2D), groups: expected 1, found 2",
        ),
        ("Dropout", json!({ "rate": "half" }), "own (Dropout), rate: expected a number, found \"half\""),
    ];
    for (class, config, expected) in cases {
        let found = error(class, config);
        assert!(found.starts_with(expected), "{found}\n  is not\n{expected}");
    }
}

/// Behind a `Flatten` the channels are axis 1.
#[test]
fn the_axis_of_the_channels_follows_the_shape() {
    let normalization = |axis: i64| named("BatchNormalization", "batch_normalization", json!({ "axis": axis }));
    let flatten = named("Flatten", "flatten", json!({}));
    assert_eq!(layers(&[flatten.clone(), normalization(1)]).unwrap(), ["Flatten(),", "BatchNormalization(),"]);
    assert!(layers(&[flatten, normalization(3)]).is_err());
}

#[test]
fn a_model_inside_becomes_a_type_of_its_own() {
    let base = json!({ "class_name": "Sequential", "config": { "name": "conv_base", "layers": [
        { "class_name": "InputLayer", "config": { "batch_shape": [null, null, null, 4], "name": "i" } },
        { "class_name": "Conv2D", "config": {
            "name": "conv2d", "filters": 2, "kernel_size": [3, 3], "trainable": false } },
        { "class_name": "GlobalMaxPooling2D", "config": { "name": "pool", "trainable": false } },
    ] } });
    let model = json!({ "class_name": "Sequential", "config": { "name": "sequential_1", "layers": [
        { "class_name": "InputLayer", "config": { "batch_shape": [null, 8, 8, 4], "name": "i" } },
        base,
        { "class_name": "Dense", "config": { "name": "dense", "units": 1, "activation": "sigmoid" } },
    ] } });
    let expected = "\
convnet! {
    type ConvBase = [
        Input(None, None, 4),
        Conv2D(2, (3, 3)),
        GlobalMaxPooling2D(name = \"pool\"),
    ];

    type Net = [
        Input(8, 8, 4),
        ConvBase(trainable = false),
        Dense(1, activation = \"sigmoid\"),
    ];
}
";
    assert_eq!(from_keras(&model.to_string()).unwrap(), expected);
}

/// A functional model in Keras 2's form: names, classes, settings, and the layers whose outputs each takes.
fn functional(layers: &[(&str, &str, Value, &[&str])], output: &str) -> Result<String, String> {
    let input = json!({
        "class_name": "InputLayer", "name": "x", "inbound_nodes": [],
        "config": { "batch_input_shape": [null, 8, 8, 4], "name": "x" },
    });
    let entry = |(name, class, config, inputs): &(&str, &str, Value, &[&str])| {
        let node: Vec<Value> = inputs.iter().map(|input| json!([input, 0, 0, {}])).collect();
        json!({ "class_name": class, "name": name, "config": config, "inbound_nodes": [node] })
    };
    let all: Vec<Value> = std::iter::once(input).chain(layers.iter().map(entry)).collect();
    let model = json!({ "class_name": "Model", "config": {
        "name": "two_ways", "layers": all, "input_layers": [["x", 0, 0]], "output_layers": [[output, 0, 0]],
    } });
    from_keras(&model.to_string()).map_err(|error| error.to_string())
}

#[test]
fn branches_nest() {
    let relu = || json!({ "activation": "relu" });
    let text = functional(
        &[
            ("activation", "Activation", relu(), &["x"]),
            ("activation_1", "Activation", relu(), &["activation"]),
            ("activation_2", "Activation", relu(), &["activation"]),
            ("add", "Add", json!({}), &["activation_1", "activation_2", "activation"]),
            ("joined", "Concatenate", json!({ "axis": 3 }), &["x", "add"]),
            ("flatten", "Flatten", json!({}), &["joined"]),
        ],
        "flatten",
    );
    let expected = "\
convnet! {
    type TwoWays = [
        Input(8, 8, 4),
        Concatenate([], [
            Activation(\"relu\"),
            Add([
                Activation(\"relu\"),
            ], [
                Activation(\"relu\"),
            ], []),
        ], name = \"joined\"),
        Flatten(),
    ];
}
";
    assert_eq!(text.unwrap(), expected);
}

#[test]
fn graphs_that_are_no_listing_are_errors() {
    let relu = || json!({ "activation": "relu" });
    // The second layer's output goes into both merges, which are not in each other.
    let crossed = functional(
        &[
            ("a", "Activation", relu(), &["x"]),
            ("b", "Activation", relu(), &["x"]),
            ("c", "Add", json!({}), &["a", "b"]),
            ("d", "Add", json!({}), &["b", "c"]),
        ],
        "d",
    );
    assert!(crossed.unwrap_err().contains("inbound_nodes: expected one place in the listing"));
    let dead = functional(&[("a", "Flatten", json!({}), &["x"]), ("b", "Flatten", json!({}), &["x"])], "b");
    assert!(dead.unwrap_err().starts_with("a (Flatten), inbound_nodes: expected a way from here"));
    let later = functional(&[("a", "Flatten", json!({}), &["b"]), ("b", "Flatten", json!({}), &["x"])], "b");
    assert!(later.unwrap_err().starts_with("a (Flatten), inbound_nodes: expected the outputs of layers before it"));
    let unary = functional(&[("a", "Flatten", json!({}), &["x", "x"])], "a");
    assert_eq!(unary.unwrap_err(), "a (Flatten), inbound_nodes: expected one tensor, found 2");
    let other = functional(&[("a", "Multiply", json!({}), &["x", "x"])], "a");
    assert!(other.unwrap_err().starts_with("a, class_name: expected one of Conv2D"));
    let lonely = functional(&[("a", "Add", json!({}), &["x"])], "a");
    assert_eq!(lonely.unwrap_err(), "a (Add), inbound_nodes: expected 2 to 8 tensors, found 1");
    assert!(functional(&[], "y").unwrap_err().contains("output_layers: expected a layer of the model"));
}

/// A long ladder of merges in merges must neither overflow the stack nor take forever.
#[test]
fn deep_graphs_end() {
    let names: Vec<String> = (0..3000).map(|i| format!("add{i}")).collect();
    let inputs: Vec<[&str; 2]> =
        (0..names.len()).map(|i| if i == 0 { ["x", "x"] } else { ["x", &names[i - 1]] }).collect();
    let layers: Vec<(&str, &str, Value, &[&str])> =
        (0..names.len()).map(|i| (names[i].as_str(), "Add", json!({}), &inputs[i][..])).collect();
    let error = functional(&layers, "add2999").unwrap_err();
    assert!(error.contains("at most 32 merges in each other"), "{error}");
    let brackets = "[".repeat(100_000);
    assert!(from_keras(&brackets).is_err());
}

#[test]
fn text_that_is_no_model_is_an_error() {
    for text in
        ["", "null", "[]", "{}", "{\"class_name\": \"Sequential\"}", "{\"class_name\": \"Dense\", \"config\": {}}"]
    {
        assert!(from_keras(text).unwrap_err().to_string().starts_with("the model"), "{text}");
    }
    let no_input =
        json!({ "class_name": "Sequential", "config": { "layers": [named("Flatten", "flatten", json!({}))] } });
    assert!(
        from_keras(&no_input.to_string()).unwrap_err().to_string().starts_with("the model, input: expected an Inp")
    );
    let empty = json!({ "class_name": "Sequential", "config": [] });
    assert!(from_keras(&empty.to_string()).is_err());
}
