//! What a network is made of, for people and for programs: the table that the book prints ([`Summary`]'s `Display`),
//! a table for a README ([`Summary::to_markdown`]), and JSON for other tools ([`Summary::to_json`]).
//!
//! All three read the [`Plan`] and nothing else. Where the network branches, the tables say which layers each layer
//! takes its tensors from; where it does not, that would only repeat the order of the rows.

mod json;
mod markdown;
mod settings;
mod text;

use crate::plan::{LayerPlan, Plan};

/// Prints the layers of a plan with their shapes and parameters. `None` stands for the batch.
///
/// Columns are as wide as Keras's unless a name needs more; Keras cuts it.
///
/// ```
/// use convnet::prelude::*;
///
/// convnet! {
///     type Tiny = [Input(4, 4, 1), Conv2D(2, (3, 3)), Flatten(), Dense(3)];
/// }
/// let table = Tiny::summary().to_string();
/// assert!(table.contains("conv2d_1 (Conv2D)            (None, 2, 2, 2)           20\n"));
/// assert!(table.contains("Total params: 47\n"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    plan: Plan,
}

impl Summary {
    /// The summary of a plan.
    pub const fn of(plan: Plan) -> Self {
        Summary { plan }
    }

    /// The table in Markdown, as a README can hold it, with the totals in its last rows. Shapes are those of one
    /// image.
    ///
    /// ```
    /// use convnet::prelude::*;
    ///
    /// convnet! {
    ///     type Tiny = [Input(4, 4, 1), Flatten(), Dense(3)];
    /// }
    /// assert_eq!(Tiny::summary().to_markdown(), "\
    /// | Layer | Type | Output shape | Params |
    /// |---|---|---|---:|
    /// | flatten_1 | Flatten | (16) | 0 |
    /// | dense_1 | Dense | (3) | 51 |
    /// | **Total** | | | **51** |
    /// | Trainable | | | 51 |
    /// | Non-trainable | | | 0 |
    /// ");
    /// ```
    pub fn to_markdown(&self) -> String {
        markdown::table(&self.plan)
    }

    /// All that the plan knows as indented JSON: for each layer `name`, `kind`, `settings` (Keras's argument names),
    /// `inputs` (names of layers, `input` for the network's), `input_shapes`, `output_shape`, `params`,
    /// `trainable_params` and `weights` with their shapes and initialisers; then the totals. Shapes are those of one
    /// image, channels last.
    ///
    /// ```
    /// use convnet::prelude::*;
    ///
    /// convnet! {
    ///     type Tiny = [Input(4, 4, 1), Conv2D(2, (3, 3), activation = "relu"), Flatten(), Dense(3)];
    /// }
    /// let json: serde_json::Value = serde_json::from_str(&Tiny::summary().to_json()).unwrap();
    /// assert_eq!(json["layers"][0]["settings"]["activation"], "relu");
    /// assert_eq!(json["layers"][2]["weights"][0]["shape"], serde_json::json!([8, 3]));
    /// assert_eq!(json["params"], 47);
    /// ```
    pub fn to_json(&self) -> String {
        json::text(&self.plan)
    }
}

/// What the network's input is called where layers are named.
const INPUT: &str = "input";

/// Whether any layer takes something else than the output of the one before it.
fn branches(plan: &Plan) -> bool {
    plan.layers.iter().enumerate().any(|(i, layer)| layer.inputs() != [i])
}

/// The names of the layers whose outputs a layer takes.
fn connections(plan: &Plan, layer: &LayerPlan) -> Vec<String> {
    let name = |&tensor: &usize| match tensor {
        0 => INPUT.to_owned(),
        tensor => plan.layers[tensor - 1].name.to_string(),
    };
    layer.inputs().iter().map(name).collect()
}

/// `93,322`
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests;
