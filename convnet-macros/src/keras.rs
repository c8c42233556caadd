//! Keras's layers and their parameters, as far as a listing may name them: a new layer begins with a row here.

/// Keras's parameters of a layer, in its order, all of which can be given by position; the first `required` have no
/// default. What there is besides by name stands in [`COMMON`].
pub struct Signature {
    /// The layer.
    pub layer: &'static str,
    /// Its parameters.
    pub parameters: &'static [&'static str],
    /// How many, the first ones, have no default.
    pub required: usize,
    /// Its weights by role, as the names of their initialisers and regularisers begin.
    pub weights: &'static [&'static str],
    /// How it may be written.
    pub example: &'static str,
}

const fn row(
    layer: &'static str,
    required: usize,
    parameters: &'static [&'static str],
    weights: &'static [&'static str],
    example: &'static str,
) -> Signature {
    Signature { layer, parameters, required, weights, example }
}

/// Parameters of every layer, by name only.
pub const COMMON: [&str; 3] = ["name", "trainable", "input_shape"];

const POOLING: &[&str] = &["pool_size", "strides", "padding", "data_format"];
const GLOBAL: &[&str] = &["data_format", "keepdims"];

/// The layers but for those with a grammar of their own: `Input`, `Add`, `Concatenate`, `Repeat`.
pub const SIGNATURES: [Signature; 19] = [
    row(
        "Conv2D",
        2,
        &[
            "filters",
            "kernel_size",
            "strides",
            "padding",
            "data_format",
            "dilation_rate",
            "groups",
            "activation",
            "use_bias",
            "kernel_initializer",
            "bias_initializer",
            "kernel_regularizer",
            "bias_regularizer",
            "activity_regularizer",
            "kernel_constraint",
            "bias_constraint",
        ],
        &["kernel", "bias"],
        "Conv2D(32, (3, 3))",
    ),
    row(
        "DepthwiseConv2D",
        1,
        &[
            "kernel_size",
            "strides",
            "padding",
            "depth_multiplier",
            "data_format",
            "dilation_rate",
            "activation",
            "use_bias",
            "depthwise_initializer",
            "bias_initializer",
            "depthwise_regularizer",
            "bias_regularizer",
            "activity_regularizer",
            "depthwise_constraint",
            "bias_constraint",
        ],
        &["depthwise", "bias"],
        "DepthwiseConv2D((3, 3))",
    ),
    row(
        "SeparableConv2D",
        2,
        &[
            "filters",
            "kernel_size",
            "strides",
            "padding",
            "data_format",
            "dilation_rate",
            "depth_multiplier",
            "activation",
            "use_bias",
            "depthwise_initializer",
            "pointwise_initializer",
            "bias_initializer",
            "depthwise_regularizer",
            "pointwise_regularizer",
            "bias_regularizer",
            "activity_regularizer",
            "depthwise_constraint",
            "pointwise_constraint",
            "bias_constraint",
        ],
        &["depthwise", "pointwise", "bias"],
        "SeparableConv2D(32, (3, 3))",
    ),
    row("MaxPooling2D", 0, POOLING, &[], "MaxPooling2D((2, 2))"),
    row("AveragePooling2D", 0, POOLING, &[], "AveragePooling2D((2, 2))"),
    row("GlobalAveragePooling2D", 0, GLOBAL, &[], "GlobalAveragePooling2D()"),
    row("GlobalMaxPooling2D", 0, GLOBAL, &[], "GlobalMaxPooling2D()"),
    row("ZeroPadding2D", 0, &["padding", "data_format"], &[], "ZeroPadding2D((1, 1))"),
    row("UpSampling2D", 0, &["size", "data_format", "interpolation"], &[], "UpSampling2D((2, 2))"),
    row("Flatten", 0, &["data_format"], &[], "Flatten()"),
    row("Reshape", 1, &["target_shape"], &[], "Reshape((7, 7, 64))"),
    row(
        "Dense",
        1,
        &[
            "units",
            "activation",
            "use_bias",
            "kernel_initializer",
            "bias_initializer",
            "kernel_regularizer",
            "bias_regularizer",
            "activity_regularizer",
            "kernel_constraint",
            "bias_constraint",
            "lora_rank",
            "lora_alpha",
            "quantization_config",
        ],
        &["kernel", "bias"],
        "Dense(10)",
    ),
    row("Rescaling", 1, &["scale", "offset"], &[], "Rescaling(1.0 / 255.0)"),
    row("Dropout", 1, &["rate", "noise_shape", "seed"], &[], "Dropout(0.5)"),
    row(
        "BatchNormalization",
        0,
        &[
            "axis",
            "momentum",
            "epsilon",
            "center",
            "scale",
            "beta_initializer",
            "gamma_initializer",
            "moving_mean_initializer",
            "moving_variance_initializer",
            "beta_regularizer",
            "gamma_regularizer",
            "beta_constraint",
            "gamma_constraint",
            "renorm",
            "renorm_clipping",
            "renorm_momentum",
            "synchronized",
        ],
        &["gamma", "beta", "moving_mean", "moving_variance"],
        "BatchNormalization()",
    ),
    row("Activation", 1, &["activation"], &[], "Activation(\"relu\")"),
    row("ReLU", 0, &["max_value", "negative_slope", "threshold"], &[], "ReLU()"),
    row("LeakyReLU", 0, &["negative_slope"], &[], "LeakyReLU(0.1)"),
    row("Softmax", 0, &["axis"], &[], "Softmax()"),
];

/// The layers that hold listings, or shapes, and how they may be written.
pub const SPECIAL: [(&str, &str); 4] = [
    ("Input", "Input(28, 28, 1)"),
    ("Add", "Add([Conv2D(64, 3, padding = \"same\")], [])"),
    ("Concatenate", "Concatenate([Conv2D(64, 1)], [MaxPooling2D(3, strides = 1, padding = \"same\")])"),
    ("Repeat", "Repeat(3, [Conv2D(64, 3, padding = \"same\")])"),
];

/// Parameters that Keras's layers have and ours take at their defaults only, and what helps.
pub const NOT_YET: [(&str, &str); 17] = [
    ("activity_regularizer", ""),
    ("kernel_constraint", ""),
    ("bias_constraint", ""),
    ("depthwise_constraint", ""),
    ("pointwise_constraint", ""),
    ("beta_constraint", ""),
    ("gamma_constraint", ""),
    ("lora_rank", ""),
    ("lora_alpha", ""),
    ("quantization_config", "all numbers are `f32`; leave it out"),
    ("renorm", ""),
    ("renorm_clipping", ""),
    ("renorm_momentum", ""),
    ("noise_shape", ""),
    ("seed", "all randomness follows from the model's seed: `Model::compile(…).seed(42)`"),
    ("synchronized", "there is one device only; leave it out"),
    ("dtype", "all numbers are `f32`; leave it out"),
];

/// Parameters of older Kerases and of PyTorch, and ours.
pub const RENAMED: [(&str, &str); 14] = [
    ("nb_filter", "filters"),
    ("out_channels", "filters"),
    ("subsample", "strides"),
    ("border_mode", "padding"),
    ("init", "kernel_initializer"),
    ("W_regularizer", "kernel_regularizer"),
    ("weight_decay", "kernel_regularizer"),
    ("bias", "use_bias"),
    ("output_dim", "units"),
    ("out_features", "units"),
    ("input_dim", "input_shape"),
    ("alpha", "negative_slope"),
    ("p", "rate"),
    ("eps", "epsilon"),
];

/// The names of all layers.
pub fn layers() -> impl Iterator<Item = &'static str> {
    let [input, merges @ ..] = SPECIAL.map(|(layer, _)| layer);
    std::iter::once(input).chain(SIGNATURES.iter().map(|signature| signature.layer)).chain(merges)
}

/// How a layer may be written.
pub fn example(layer: &str) -> Option<&'static str> {
    let special = SPECIAL.iter().find(|(special, _)| *special == layer).map(|(_, example)| *example);
    special.or_else(|| SIGNATURES.iter().find(|row| row.layer == layer).map(|row| row.example))
}

/// What other libraries, and older Kerases, call our layers.
pub const SYNONYMS: [(&str, &str); 36] = [
    ("InputLayer", "Input"),
    ("Conv", "Conv2D"),
    ("Convolution2D", "Conv2D"),
    ("DepthwiseConvolution2D", "DepthwiseConv2D"),
    ("SeparableConvolution2D", "SeparableConv2D"),
    ("MaxPool", "MaxPooling2D"),
    ("MaxPool2D", "MaxPooling2D"),
    ("MaxPool2d", "MaxPooling2D"),
    ("AvgPool", "AveragePooling2D"),
    ("AvgPool2D", "AveragePooling2D"),
    ("AvgPool2d", "AveragePooling2D"),
    ("AveragePool2D", "AveragePooling2D"),
    ("GlobalAvgPool2D", "GlobalAveragePooling2D"),
    ("GlobalAveragePool2D", "GlobalAveragePooling2D"),
    ("AdaptiveAvgPool2d", "GlobalAveragePooling2D"),
    ("GlobalMaxPool2D", "GlobalMaxPooling2D"),
    ("AdaptiveMaxPool2d", "GlobalMaxPooling2D"),
    ("ZeroPad2d", "ZeroPadding2D"),
    ("Upsample", "UpSampling2D"),
    ("UpsamplingNearest2d", "UpSampling2D"),
    ("UpsamplingBilinear2d", "UpSampling2D"),
    ("View", "Reshape"),
    ("Unflatten", "Reshape"),
    ("Linear", "Dense"),
    ("FullyConnected", "Dense"),
    ("Rescale", "Rescaling"),
    ("Dropout1d", "Dropout"),
    ("Dropout2d", "Dropout"),
    ("BatchNorm", "BatchNormalization"),
    ("BatchNorm1d", "BatchNormalization"),
    ("BatchNorm2d", "BatchNormalization"),
    ("Relu", "ReLU"),
    ("LeakyRelu", "LeakyReLU"),
    ("Sum", "Add"),
    ("Concat", "Concatenate"),
    ("Cat", "Concatenate"),
];

/// Layers of Keras that there are not here, and whether the shape behind one is that above it.
pub const NO_LAYERS_YET: [(&str, bool); 33] = [
    ("ActivityRegularization", true),
    ("ELU", true),
    ("GaussianDropout", true),
    ("GaussianNoise", true),
    ("GroupNormalization", true),
    ("LayerNormalization", true),
    ("Masking", true),
    ("Normalization", true),
    ("PReLU", true),
    ("RandomFlip", true),
    ("RandomRotation", true),
    ("RandomZoom", true),
    ("SpatialDropout2D", true),
    ("Average", false),
    ("Conv1D", false),
    ("Conv2DTranspose", false),
    ("Conv3D", false),
    ("Cropping2D", false),
    ("Dot", false),
    ("Embedding", false),
    ("GRU", false),
    ("GlobalAveragePooling1D", false),
    ("LSTM", false),
    ("Lambda", false),
    ("MaxPooling1D", false),
    ("Maximum", false),
    ("Minimum", false),
    ("Multiply", false),
    ("MultiHeadAttention", false),
    ("Permute", false),
    ("RepeatVector", false),
    ("Resizing", false),
    ("Subtract", false),
];

/// What helps where such a layer was written, if something does.
pub const INSTEAD: [(&str, &str); 17] = [
    ("ActivityRegularization", "penalties are on weights: `kernel_regularizer = L2(0.001)`"),
    ("ELU", "there are `ReLU()` and `LeakyReLU(0.1)`"),
    ("GaussianDropout", "there is `Dropout(0.5)`"),
    ("GaussianNoise", "there is `Dropout(0.5)`"),
    ("GroupNormalization", "there is `BatchNormalization()`"),
    ("LayerNormalization", "there is `BatchNormalization()`"),
    ("Normalization", "there is `Rescaling(1.0 / 255.0)`, with one scale and one offset for all channels"),
    ("PReLU", "there are `ReLU()` and `LeakyReLU(0.1)`"),
    ("RandomFlip", "change the images before they become an `ImageSet`"),
    ("RandomRotation", "change the images before they become an `ImageSet`"),
    ("RandomZoom", "change the images before they become an `ImageSet`"),
    ("Resizing", "give images of the right size; `UpSampling2D(2)` enlarges maps"),
    ("SpatialDropout2D", "there is `Dropout(0.5)`"),
    ("Average", "there are `Add` and `Concatenate`"),
    ("Conv1D", "write it as `Conv2D(32, (1, 3))` behind an `Input(1, n, channels)`"),
    ("Conv2DTranspose", "write `UpSampling2D(2)` and a `Conv2D` with `padding = \"same\"`"),
    ("Multiply", "there are `Add` and `Concatenate`"),
];
