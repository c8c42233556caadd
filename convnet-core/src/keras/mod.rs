//! Listings from Keras: a model's configuration, as `model.to_json()` writes it and a `.keras` file holds it, as the
//! text of a `convnet!` item.
//!
//! [`from_keras`] reads JSON of Keras 3 and of Keras 2 back to 2.0.8. [`model`] finds the layers of a `Sequential`
//! model, [`graph`] those of a functional one and how its branches nest, [`layers`] reads one layer's configuration
//! through [`config`], which knows what it has looked at: an argument that nobody asked about is an error, not a
//! silent difference. [`arguments`] reads the kinds of values that many layers share; [`listing`] prints.

mod arguments;
mod config;
mod graph;
mod layers;
mod listing;
mod model;

use crate::Result;

/// The listing of a Keras model: the text of a `convnet! { type … }` item, one line a layer, with the arguments that
/// are not the defaults. Names are kept where the user gave them; Keras's own (`conv2d_7`) give way to ours, which
/// start at one. Models inside of the model become items of their own, before it.
///
/// `json` is what `model.to_json()` returns, or the `config.json` of a `.keras` file. What has no meaning here (types
/// of numbers, seeds, how the model was compiled) is passed over.
///
/// ```
/// let json = r#"{"class_name": "Sequential", "config": {"name": "digits", "layers": [
///     {"class_name": "InputLayer", "config": {"batch_shape": [null, 28, 28, 1], "name": "input_layer"}},
///     {"class_name": "Conv2D", "config": {"name": "conv2d_4", "filters": 32, "kernel_size": [3, 3],
///         "activation": "relu"}},
///     {"class_name": "Flatten", "config": {"name": "flatten_2"}},
///     {"class_name": "Dense", "config": {"name": "classes", "units": 10, "activation": "softmax"}}
/// ]}}"#;
/// assert_eq!(convnet::from_keras(json)?, r#"convnet! {
///     type Digits = [
///         Input(28, 28, 1),
///         Conv2D(32, (3, 3), activation = "relu"),
///         Flatten(),
///         Dense(10, activation = "softmax", name = "classes"),
///     ];
/// }
/// "#);
/// # Ok::<(), convnet::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Data`] names the layer and the field: for text that is no such configuration, a layer or a value
/// that the language does not have (another activation, `channels_first`, L1), and for a functional model with several
/// inputs or outputs, layers used twice, or branches that do not begin from one tensor and end in one merge.
pub fn from_keras(json: &str) -> Result<String> {
    let networks = model::read(json)?;
    Ok(listing::item(&networks))
}

#[cfg(test)]
mod tests;
