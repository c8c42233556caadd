//! What is said of mistakes, where the words depend on what was computed.

use crate::expansion;
use proc_macro2::{TokenStream, TokenTree};

/// The texts of all `compile_error!`s.
fn texts(tokens: TokenStream) -> Vec<String> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut all = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        let complains = i >= 2 && tokens[i - 2].to_string() == "compile_error";
        match syn::parse2::<syn::LitStr>(group.stream()) {
            Ok(text) if complains => all.push(text.value()),
            _ => all.extend(texts(group.stream())),
        }
    }
    all
}

/// What the macro says of these layers behind `Input(28, 28, 1)`.
fn said(layers: &str) -> String {
    texts(expansion(format!("Input(28, 28, 1), {layers}").parse().expect("tokens"))).join("\n\n")
}

#[test]
fn branches_that_do_not_fit_are_shown_with_their_ways() {
    assert_eq!(
        said("Conv2D(8, 3, padding = \"same\"), Add([Conv2D(8, 3), Conv2D(8, 3)], [])"),
        "Add: branch 1 gives (24, 24, 8), but branch 2 gives (28, 28, 8)\n\
         branch 1: conv2d_1 (28, 28, 8) → conv2d_2 (26, 26, 8) → conv2d_3 (24, 24, 8)\n\
         branch 2: conv2d_1 (28, 28, 8) (no layer)\n\
         help: all must be alike: `padding = \"same\"` keeps height and width"
    );
    let help = |layers: &str| said(layers).rsplit_once("help: ").map(|(_, help)| help.to_string()).unwrap_or_default();
    assert_eq!(
        help("Add([Conv2D(8, 3, strides = 2, padding = \"same\")], [])"),
        "give the shortcut the same strides: `[Conv2D(8, 1, strides = 2)]`"
    );
    assert_eq!(
        help("Add([], [Conv2D(8, 3, padding = \"same\")])"),
        "a convolution of 1×1 on the shortcut changes its channels: `[Conv2D(8, 1)]`"
    );
    assert_eq!(
        help("Add([Conv2D(8, 1)], [Conv2D(4, 1)])"),
        "all must be alike: give the last layers of both the same number of filters"
    );
    assert_eq!(
        help("Concatenate([Conv2D(8, 1)], [Flatten()])"),
        "all must be alike but for the channels: `Flatten()` or `GlobalAveragePooling2D()` makes a vector of a map"
    );
}

#[test]
fn rounds_are_told_apart() {
    assert_eq!(
        said("Repeat(5, [Conv2D(8, 7)]), Flatten(), Dense(2)"),
        "Conv2D in round 5 of `Repeat`: a 7×7 window does not fit the 4×4 feature map of the layer above\n\
         (28, 28, 1) → conv2d_1 (22, 22, 8) → conv2d_2 (16, 16, 8) → conv2d_3 (10, 10, 8) → conv2d_4 (4, 4, 8)\n\
         help: use a window of at most 4×4 or `padding = \"same\"`"
    );
    assert_eq!(
        said("Repeat(3, [Conv2D(1, 3, name = \"conv\")])"),
        "Conv2D: the name \"conv\" would be given 3 times by `Repeat`\n\
         help: leave it out: layers without a name are counted"
    );
}

#[test]
fn numbers_are_worked_out() {
    assert_eq!(
        said("Reshape((7, -1, 16))"),
        "Reshape: a size cannot be left to be computed\nhelp: write 7 instead of -1"
    );
    assert_eq!(said("Reshape((7, 7, 15))"), "Reshape: (7, 7, 15) has 735 values, but the input has 784, (28, 28, 1)");
    assert_eq!(
        said("Conv2D(6, 1), Conv2D(8, 3, groups = 4)"),
        "Conv2D: `groups` is 4, which must divide both the 6 channels of the layer above and the 8 filters\n\
         (28, 28, 1) → conv2d_1 (28, 28, 6)\nhelp: there can be 1 or 2 groups"
    );
    assert_eq!(
        said("Flatten(), Dropout(50)"),
        "Dropout: `rate` is 50; it must be a share from 0 up to, but not including, 1\nhelp: did you mean 0.5?"
    );
    assert_eq!(
        said("GlobalAveragePooling2D(), Flatten()"),
        "Flatten: the `GlobalAveragePooling2D` above gives a vector already, (1)\n\
         (28, 28, 1) → global_average_pooling2d_1 (1)\nhelp: remove this `Flatten()`"
    );
    assert_eq!(
        said("GlobalAveragePooling2D(), Conv2D(8, 1)"),
        "Conv2D: needs a feature map (height, width, channels), but the layer above gives the vector (1)\n\
         (28, 28, 1) → global_average_pooling2d_1 (1)\nhelp: put the `Conv2D` before `GlobalAveragePooling2D()`"
    );
}

#[test]
fn settings_take_keras_spellings() {
    let sound = [
        "Conv2D(8, 3, kernel_initializer = HeNormal(), kernel_regularizer = regularizers.l2(0.001))",
        "Conv2D(8, 3, kernel_initializer = \"HeNormal\", bias_initializer = None, kernel_regularizer = \"l2\")",
        "Conv2D(8, 3, kernel_regularizer = L2(l2 = 1e-4), activity_regularizer = None, data_format = None)",
        "BatchNormalization(-1, 0.9, 1e-5, true, true, \"zeros\", \"ones\", \"zeros\", \"ones\")",
        "DepthwiseConv2D(3, 1, \"same\", 2, None, 1, \"relu\", false, \"he_uniform\", \"zeros\", L2())",
        "ReLU(6), LeakyReLU(negative_slope = 0.1), Rescaling(1. / 127.5, offset = -1)",
        "ZeroPadding2D(3), ZeroPadding2D((1, 0)), ZeroPadding2D(((0, 1), (2, 3)))",
        "UpSampling2D(2, interpolation = \"bilinear\"), Reshape(3136)",
    ];
    for layers in sound {
        assert_eq!(said(layers), "", "{layers}");
    }
    assert_eq!(
        said("Conv2D(8, 3, kernel_regularizer = \"l1\", kernel_initializer = \"xavier_uniform\")"),
        "Conv2D: unknown initializer \"xavier_uniform\"\nhelp: did you mean `\"glorot_uniform\"`?\n\n\
         Conv2D: the regularizer `l1` is not supported yet\n\
         help: there is L2: write `kernel_regularizer = L2(0.001)`"
    );
    assert_eq!(
        said("BatchNormalization(axis = 1, epsilon = 0)"),
        "BatchNormalization: `axis` is always the last one, -1\nhelp: leave `axis` out\n\n\
         BatchNormalization: `epsilon` is 0; it must be a number above 0"
    );
}

#[test]
fn listings_within_layers_are_asked_for() {
    let first = |layers: &str| said(layers).lines().next().unwrap_or_default().to_string();
    assert_eq!(first("Add([Conv2D(1, 1)])"), "Add: one branch has nothing to be merged with");
    assert_eq!(first("Add()"), "Add: the branches are missing");
    assert_eq!(first("Concatenate(3, [], [])"), "Concatenate: a branch is a listing in square brackets");
    let nine = "[], ".repeat(9);
    assert_eq!(first(&format!("Add({nine})")), "Add: 9 branches are more than the 8 that can be merged");
    assert_eq!(first("Repeat(3, [])"), "Repeat: the listing is empty");
    assert_eq!(first("Repeat([ReLU()])"), "Repeat: the number of repetitions is missing");
    assert_eq!(first("Repeat(0, [ReLU()])"), "Repeat: `n` is 0; it must be at least 1");
    assert_eq!(first("Repeat([ReLU()], 2)"), "Repeat: the number stands in front of the listing");
    assert_eq!(
        first("Add([Input(28, 28, 1)], [])"),
        "Input: a listing in Add begins with the tensor above it; remove this input"
    );
}

#[test]
fn blocks_are_layers_of_networks() {
    let said = |items: &str| texts(expansion(items.parse().expect("tokens"))).join("\n\n");
    let block = "type Block = [Input(None, None, 4), Add([Conv2D(4, 3, padding = \"same\")], [])];";
    assert_eq!(
        said(&format!("{block} type Net = [Input(8, 8, 4), Repeat(3, [Block]), Block(trainable = false)];")),
        ""
    );
    assert_eq!(
        said(&format!("{block} type Net = [Block, Flatten()];")),
        "`Block` is a block, which takes (None, None, 4): the input's shape is missing\n\
         help: begin with `Input(28, 28, 4)`"
    );
    assert_eq!(
        said(&format!("{block} type Net = [Input(8, 8, 3), Block, Flatten()];")),
        "`Block` takes (None, None, 4), but the input is (8, 8, 3)"
    );
    assert_eq!(
        said("type Block = [Input(None, None, 4), Conv2D(4, 5)]; type Net = [Input(4, 8, 4), Block, Flatten()];"),
        "Conv2D of `Block`: a 5×5 window does not fit the 4×8 input\n\
         help: use a window of at most 4×8 or `padding = \"same\"`"
    );
    let generic = "type Block<const F: usize = 4> = [Input(None, None, F), Repeat(2, [Conv2D(F, 3)])];";
    let with = |layer: &str| {
        said(&format!(
            "{generic} type Outer<const G: usize> = [Input(None, None, G), Block<G>]; \
        type Net = [Input(7, 8, 4), {layer}, Flatten()];"
        ))
    };
    for sound in ["Block<4>", "Block", "Outer<4>", "Block<{ FOUR }>", "Conv2D(3, 3), Outer<3>"] {
        assert_eq!(with(sound), "", "{sound}");
    }
    assert_eq!(with("Block<5>"), "`Block<5>` takes (None, None, 5), but the input is (7, 8, 4)");
    assert_eq!(
        with("Conv2D(3, 4), Outer<3>"),
        "Conv2D of `Outer<3>` in round 2 of `Repeat`: a 3×3 window does not fit the 2×3 feature map of the layer above\n\
         (7, 8, 4) → conv2d_1 (4, 5, 3) → conv2d_2 (2, 3, 3)\n\
         help: use a window of at most 2×3 or `padding = \"same\"`"
    );
}

#[test]
fn keras_habits_are_one_complaint_each() {
    assert_eq!(
        said("Conv2D((3, 3), 32), Flatten()"),
        "Conv2D: `filters` stand in front of `kernel_size`\nhelp: write `Conv2D(32, (3, 3))`"
    );
    assert_eq!(
        said("Reshape(14, 14, 4), Conv2D(8, 3)"),
        "Reshape: the shape is a single argument\nhelp: write `Reshape((14, 14, 4))`"
    );
    let called = "a layer is not called on tensors: it takes what stands above it\n\
                  help: write the layers one below the other; branches stand in `Add([…], […])`";
    assert_eq!(said("Conv2D(8, 3)(x), Flatten()"), called);
    assert_eq!(said("Add()([x, y]), Flatten()"), called);
    assert_eq!(said("Add([ReLU()] []), Flatten()"), "Add: a `,` is missing between two arguments");
    assert_eq!(
        said("Flatten(), Dense(4, activation = tf.nn.relu)"),
        "Dense: `activation` must be `\"linear\"`, `\"relu\"`, `\"sigmoid\"`, `\"tanh\"` or `\"softmax\"`, not \
         `tf . nn . relu`\nhelp: write `activation = \"relu\"`"
    );
    assert_eq!(
        said("Activation(\"relu6\"), Flatten()"),
        "Activation: the activation \"relu6\" is not supported yet\n\
         help: there is a layer of its own: `ReLU(max_value = 6.0)`"
    );
    assert_eq!(
        said("Add([Conv2D(8, 3)], [])"),
        "Add: branch 1 gives (26, 26, 8), but branch 2 gives (28, 28, 1)\n\
         branch 1: (28, 28, 1) → conv2d_1 (26, 26, 8)\n\
         branch 2: (28, 28, 1) (no layer)\n\
         help: `padding = \"same\"` keeps height and width, and `[Conv2D(8, 1)]` on the shortcut fits"
    );
}

#[test]
fn what_does_not_fit_in_a_further_round_is_said_once() {
    let said = said("Repeat(5, [Conv2D(8, 3), MaxPooling2D()]), Flatten()");
    assert!(said.starts_with("Conv2D in round 4 of `Repeat`: a 3×3 window"), "{said}");
    assert!(!said.contains("\n\n"), "{said}");
}

/// What the macro says of these items.
fn said_of_items(items: &str) -> String {
    texts(expansion(items.parse().expect("tokens"))).join("\n\n")
}

#[test]
fn networks_that_cannot_be_layers_are_told_on_their_names() {
    assert_eq!(
        said_of_items("type A = [Input(4), A, Dense(2)];"),
        "`A` cannot be a layer of itself\nhelp: layers that come several times stand in `Repeat(3, […])`"
    );
    assert_eq!(
        said_of_items("type R<const C: usize> = [Input(None, None, C), ReLU()]; type A = [Input(4, 4, 1), R(1)];"),
        "`R`: the sizes of a network stand in angle brackets\nhelp: write `R<1>`"
    );
    let private =
        "type Part = [Input(None), Dense(4)]; pub type Whole = [Input(4), Repeat(2, [Part]), Dense(4), Part];";
    assert_eq!(
        said_of_items(private),
        "`Part` is private, but a layer of `Whole`, which is `pub`\nhelp: write `pub type Part`"
    );
    assert_eq!(said_of_items(&private.replacen("type", "pub type", 1)), "");
    assert_eq!(said_of_items(&private.replace("pub ", "")), "");
}

#[test]
fn a_type_parameter_was_meant_as_a_size() {
    let items = "type R<C> = [Input(None, None, C), ReLU()]; type A = [Input(4, 4, 1), R<1>];";
    assert_eq!(said_of_items(items), "a network has no type parameters, only sizes: `const C: usize`");
    let expanded = expansion(items.parse().expect("tokens")).to_string();
    assert!(expanded.contains("struct R < const C : usize >"), "{expanded}");
}
