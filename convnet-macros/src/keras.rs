//! Keras's layers and their parameters, as far as a listing may name them: a new layer begins with a row here.

/// Keras's parameters of a layer, in its order; positions count the first `positional`, `required` have no default.
pub struct Signature {
    /// The layer.
    pub layer: &'static str,
    /// Its parameters, those that can be given by position first.
    pub parameters: &'static [&'static str],
    /// How many can be given by position.
    pub positional: usize,
    /// How many, the first ones, have no default.
    pub required: usize,
}

/// The layers but for `Input`, which has its own grammar.
pub const SIGNATURES: [Signature; 4] = [
    Signature {
        layer: "Conv2D",
        parameters: &[
            "filters",
            "kernel_size",
            "strides",
            "padding",
            "data_format",
            "dilation_rate",
            "groups",
            "activation",
            "use_bias",
            "name",
            "input_shape",
        ],
        positional: 9,
        required: 2,
    },
    Signature {
        layer: "MaxPooling2D",
        parameters: &["pool_size", "strides", "padding", "data_format", "name", "input_shape"],
        positional: 4,
        required: 0,
    },
    Signature { layer: "Flatten", parameters: &["data_format", "name", "input_shape"], positional: 1, required: 0 },
    Signature {
        layer: "Dense",
        parameters: &["units", "activation", "use_bias", "name", "input_shape"],
        positional: 3,
        required: 1,
    },
];

/// Parameters that Keras's layers have and ours do not.
pub const NOT_YET: [&str; 8] = [
    "kernel_initializer",
    "bias_initializer",
    "kernel_regularizer",
    "bias_regularizer",
    "activity_regularizer",
    "kernel_constraint",
    "bias_constraint",
    "trainable",
];

/// All layers.
pub const LAYERS: [&str; 5] = ["Input", "Conv2D", "MaxPooling2D", "Flatten", "Dense"];

/// What other libraries, and older Kerases, call our layers.
pub const SYNONYMS: [(&str, &str); 8] = [
    ("InputLayer", "Input"),
    ("Conv", "Conv2D"),
    ("Convolution2D", "Conv2D"),
    ("MaxPool", "MaxPooling2D"),
    ("MaxPool2D", "MaxPooling2D"),
    ("MaxPool2d", "MaxPooling2D"),
    ("Linear", "Dense"),
    ("FullyConnected", "Dense"),
];

/// Layers of Keras that there are not here, and whether the shape behind one is that above it.
pub const NO_LAYERS_YET: [(&str, bool); 24] = [
    ("Activation", true),
    ("BatchNormalization", true),
    ("Dropout", true),
    ("GaussianNoise", true),
    ("LayerNormalization", true),
    ("LeakyReLU", true),
    ("ReLU", true),
    ("Rescaling", true),
    ("Softmax", true),
    ("SpatialDropout2D", true),
    ("Add", false),
    ("AveragePooling2D", false),
    ("Concatenate", false),
    ("Conv1D", false),
    ("Conv2DTranspose", false),
    ("Conv3D", false),
    ("DepthwiseConv2D", false),
    ("Embedding", false),
    ("GlobalAveragePooling2D", false),
    ("GlobalMaxPooling2D", false),
    ("Reshape", false),
    ("SeparableConv2D", false),
    ("UpSampling2D", false),
    ("ZeroPadding2D", false),
];
