//! What a gradient with respect to a network's outputs means for its weights and inputs.

/// The vector-Jacobian product, with moving statistics and without dropout.
#[derive(Clone, Debug, PartialEq)]
pub struct PullBack {
    /// The network's outputs, one row an image.
    pub outputs: Vec<f32>,
    /// Gradient with respect to all parameters, in the order of the flat buffer.
    pub d_weights: Vec<f32>,
    /// Gradient with respect to the inputs.
    pub d_input: Vec<f32>,
}
