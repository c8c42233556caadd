//! What becomes of a listing while it is typed.

use crate::expansion;
use proc_macro2::{Group, TokenStream, TokenTree};

const ITEM: &str = r#"
    /// Docs.
    #[derive(Clone)]
    pub(crate) type Net<const CLASSES: usize> = [
        Input(28, 28, 1),
        Conv2D(32, (3, 3), activation = "relu", name = "first"),
        MaxPooling2D(2, strides = None),
        Base,
        other::Base<3>,
        Add([Conv2D(4, 3, padding = "same", kernel_regularizer = L2(0.1))], [Repeat(2, [Residual, ReLU(max_value = 6.0)])], name = "sum"),
        Concatenate([], [other::Base<3>(trainable = false)], axis = -1),
        ZeroPadding2D(((1, 0), (0, 1))),
        Flatten(),
        Dropout(0.5),
        Dense(2 * K, use_bias = false),
        Dense(CLASSES, activation = "softmax"),
    ];
    type Residual = [Input(None, None, 32), Add([SeparableConv2D(32, 3, padding = "same")], [])];
    type Base = [Conv2D(32, 3, input_shape = (13, 13, 32)), MaxPooling2D()];
"#;

const LISTING: &str = r#"Input(28, 28, 1), Conv2D(32, (3, 3), activation = "relu"),
    Base(trainable = false), Repeat(2, [Add([BatchNormalization(epsilon = 1e-3)], [], trainable = false)]), Reshape((-1,)),
    Dense(CLASSES)"#;

/// Every way to take one token out of these, or all that follow it.
fn mutilations(tokens: TokenStream) -> Vec<TokenStream> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut all = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        all.push(tokens[..i].iter().cloned().collect());
        all.push(tokens[..i].iter().chain(&tokens[i + 1..]).cloned().collect());
        if let TokenTree::Group(group) = token {
            for inner in mutilations(group.stream()) {
                let group = TokenTree::Group(Group::new(group.delimiter(), inner));
                all.push(tokens[..i].iter().chain([&group]).chain(&tokens[i + 1..]).cloned().collect());
            }
        }
    }
    all
}

#[test]
fn a_half_typed_listing_still_expands() {
    let cases = mutilations(ITEM.parse().expect("tokens"));
    assert!(cases.len() > 200);
    for tokens in cases {
        let text = tokens.to_string();
        let expanded = expansion(tokens);
        let items = syn::parse2::<syn::File>(expanded.clone()).is_ok_and(|file| !file.items.is_empty());
        let ty = syn::parse2::<syn::Type>(expanded.clone()).is_ok();
        assert!(items || ty, "{text}\n{expanded}");
    }
    for tokens in mutilations(LISTING.parse().expect("tokens")) {
        let text = tokens.to_string();
        let expanded = expansion(tokens);
        assert!(syn::parse2::<syn::Type>(expanded.clone()).is_ok(), "{text}\n{expanded}");
    }
}
