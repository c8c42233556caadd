//! Models as Keras saved them become the listings that they are.
//!
//! Each listing of tests/fixtures/from_keras is held to the letter against what `from_keras` writes, and compiled: its
//! network must be the one of tests/fixtures/layer_nets.rs that the model was made from, or have as many parameters as
//! Keras counted.

#![expect(unused_macros, reason = "the networks are compared one by one, since not all have a file")]

use convnet::prelude::*;
use convnet::summary::Summary;
use convnet::{Error, from_keras};
use serde_json::{Value, json};

include!("fixtures/layer_nets.rs");

/// The networks of the listings, one module each: its name is the file's.
macro_rules! listings {
    ($($file:ident $network:ident)*) => {
        $(mod $file {
            use convnet::prelude::*;

            include!(concat!("fixtures/from_keras/", stringify!($file), ".rs"));

            pub fn summary() -> convnet::summary::Summary {
                $network::summary()
            }
        })*
    };
}

listings! {
    layer01 Layer01
    layer13 Layer13
    layer15 Layer15
    layer16 Layer16
    layer20 Layer20
    layer22 Layer22
    layer23 Layer23
    layer25 Layer25
    layer28 Layer28
    layer32 Layer32
    layer34 Layer34
    layer36 Layer36
    digits Net
    digits_keras2 Net
    regularized Net
    functional Net
    layers AllLayers
    residual SmallResnet
}

fn fixture(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The listing of a model, which must be the one in the repository.
fn check_listing(folder: &str, name: &str) {
    let listing = from_keras(&fixture(&format!("{folder}/{name}.json"))).unwrap();
    assert_eq!(listing, fixture(&format!("from_keras/{name}.rs")), "{name}");
}

/// All that is known of a network but for its own name.
fn contents(summary: Summary) -> Value {
    let mut json: Value = serde_json::from_str(&summary.to_json()).unwrap();
    json["name"] = Value::Null;
    json
}

#[test]
fn the_fixtures_networks_come_back() {
    macro_rules! check {
        ($($file:ident $network:ty;)*) => {$(
            check_listing("keras", stringify!($file));
            assert_eq!(contents($file::summary()), contents(<$network>::summary()), stringify!($file));
        )*};
    }
    check! {
        layer01 Layer01;
        layer13 Layer13;
        layer15 Layer15;
        layer16 Layer16;
        layer20 Layer20;
        layer22 Layer22;
        layer23 Layer23;
        layer25 Layer25;
        layer28 Layer28;
        layer32 Layer32;
        layer34 Layer34;
        layer36 Layer36;
    }
}

/// Trainable parameters and others, as Keras counts them.
#[test]
fn other_models_have_as_many_parameters_as_in_keras() {
    let check = |folder: &str, name: &str, summary: Summary, params: [usize; 2]| {
        check_listing(folder, name);
        let json = contents(summary);
        assert_eq!([&json["trainable_params"], &json["non_trainable_params"]], params, "{name}");
    };
    check("keras", "digits", digits::summary(), [93_322, 0]);
    check("keras", "digits_keras2", digits_keras2::summary(), [93_322, 0]);
    check("keras", "functional", functional::summary(), [1258, 0]);
    check("from_keras", "layers", layers::summary(), [3032, 128]);
    check("from_keras", "residual", residual::summary(), [20_242, 96]);
}

#[test]
fn penalties_come_along() {
    check_listing("keras", "regularized");
    let mut penalties = Vec::new();
    for layer in contents(regularized::summary())["layers"].as_array().unwrap() {
        for weight in layer["weights"].as_array().unwrap().iter().filter(|weight| weight["l2"] != 0.0) {
            let (layer, name) = (layer["name"].as_str().unwrap(), weight["name"].as_str().unwrap());
            penalties.push((format!("{layer}/{name}"), weight["l2"].as_f64().unwrap()));
        }
    }
    let expected = [
        ("conv2d_1/kernel", 0.001),
        ("depthwise_conv2d_1/kernel", 0.01),
        ("separable_conv2d_1/pointwise_kernel", 0.02),
        ("dense_1/bias", 0.5),
    ];
    assert_eq!(penalties, expected.map(|(key, l2)| (key.to_owned(), l2)));
}

#[test]
fn a_layer_that_is_not_there_is_named() {
    let error = from_keras(&fixture("keras/unsupported.json")).unwrap_err();
    let Error::Data { what, expected, found } = &error else { panic!("{error}") };
    assert_eq!((what.as_str(), found.as_str()), ("conv2d_transpose, class_name", "\"Conv2DTranspose\""));
    assert!(expected.starts_with("one of Conv2D, "), "{expected}");
}

/// The pointers of all values in a tree.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| pointers(value, &format!("{at}/{key}"), all)),
        Value::Array(list) => list.iter().enumerate().for_each(|(i, value)| pointers(value, &format!("{at}/{i}"), all)),
        _ => {}
    }
}

/// Whatever stands in place of a value, the answer is a listing or an error about the data.
#[test]
fn mutilated_models_are_errors() {
    let replacements = [Value::Null, json!(-1), json!(1e300), json!("x"), json!([]), json!([[0, 3], 1]), json!({})];
    for path in ["keras/digits_keras2.json", "keras/functional.json", "from_keras/residual.json"] {
        let model: Value = serde_json::from_str(&fixture(path)).unwrap();
        let mut all = Vec::new();
        pointers(&model, "", &mut all);
        let mut refused = 0;
        for (i, pointer) in all.iter().enumerate() {
            for replacement in [&replacements[i % replacements.len()], &replacements[(i / 7) % replacements.len()]] {
                let mut mutilated = model.clone();
                *mutilated.pointer_mut(pointer).unwrap() = replacement.clone();
                match from_keras(&mutilated.to_string()) {
                    Ok(listing) => assert!(listing.starts_with("convnet! {"), "{path}{pointer}"),
                    Err(Error::Data { .. }) => refused += 1,
                    Err(other) => panic!("{path}{pointer}: {other}"),
                }
            }
        }
        assert!(refused > all.len() / 4, "{path}: {refused} of {}", all.len());
    }
}

#[test]
fn models_that_break_off_are_errors() {
    let text = fixture("keras/digits.json");
    let end = text.trim_end().len();
    for length in (0..end).step_by(13) {
        let error = from_keras(&text[..length]).unwrap_err();
        assert!(error.to_string().starts_with("the model: expected JSON, found "), "{error}");
    }
}
