//! The summary in an item's documentation.

use crate::expansion;
use quote::ToTokens;

/// The documentation of an expansion's only struct.
fn documentation(listing: &str) -> String {
    let file: syn::File = syn::parse2(expansion(listing.parse().expect("tokens"))).expect("items");
    let attributes = file.items.into_iter().find_map(|item| match item {
        syn::Item::Struct(item) => Some(item.attrs),
        _ => None,
    });
    let lines = attributes.expect("a struct").into_iter().filter_map(|attribute| match attribute.meta {
        syn::Meta::NameValue(doc) => match doc.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            other => panic!("{}", other.to_token_stream()),
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn an_item_is_documented_with_its_summary() {
    let documentation = documentation(
        r#"
        /// A first network.
        type Small = [Input(6, 6, 1), Conv2D(2, 3), MaxPooling2D(2), Flatten(), Dense(400, name = "out")];
        "#,
    );
    let expected = " A first network.


```text
___________________________________________________________________
Layer (type)                   Output Shape              Param #
===================================================================
conv2d_1 (Conv2D)              (None, 4, 4, 2)           20
___________________________________________________________________
max_pooling2d_1 (MaxPooling2D) (None, 2, 2, 2)           0
___________________________________________________________________
flatten_1 (Flatten)            (None, 8)                 0
___________________________________________________________________
out (Dense)                    (None, 400)               3600
===================================================================
Total params: 3,620
Trainable params: 3,620
Non-trainable params: 0
___________________________________________________________________
```";
    assert_eq!(documentation, expected);
}

#[test]
fn branches_are_documented_with_what_each_layer_takes() {
    let documentation = documentation(
        "type Block<const C: usize> = [Input(None, None, C), Add([Conv2D(C, 3, padding = \"same\")], []), ReLU()];",
    );
    let rows: Vec<&str> = documentation.lines().filter(|line| !line.starts_with(['_', '='])).collect();
    let expected = [
        "Layer (type)                     Output Shape          Param #     Connected to",
        "input (InputLayer)               (None, None, None, C) 0",
        "conv2d_1 (Conv2D)                (None, None, None, C) ?           input",
        "add_1 (Add)                      (None, None, None, C) 0           conv2d_1",
        "                                                                   input",
        "re_lu_1 (ReLU)                   (None, None, None, C) 0           add_1",
    ];
    assert_eq!(rows[3..9], expected, "{documentation}");
}

#[test]
fn a_summary_with_open_sizes_shows_their_text() {
    let documentation = documentation(
        r#"type Open<const K: usize> = [
            Input(6, EDGE, 1), Conv2D(2 * sizes::FEW, 1), Conv2D(3, 2), other::Base<K>, Conv2D(K, 3), Dense(K),
        ];"#,
    );
    // `Dense` on a map is a fault, and a network with a fault has no summary.
    assert_eq!(documentation, "");
    let documentation = self::documentation(
        r#"type Open<const K: usize> = [
            Input(6, EDGE, 1), Conv2D(2 * sizes::FEW, 1), Conv2D(3, 2), other::Base<K>, Flatten(), Dense(K),
        ];"#,
    );
    let rows: Vec<&str> = documentation.lines().filter(|line| line.contains("None")).collect();
    let expected = [
        "conv2d_1 (Conv2D)            (None, 6, EDGE, 2 * sizes::FEW) ?",
        "conv2d_2 (Conv2D)            (None, 5, ?, 3)                 ?",
        "other::Base<K> (network)     (None)                          ?",
        "flatten_? (Flatten)          (None, ?)                       0",
        "dense_? (Dense)              (None, K)                       ?",
    ];
    assert_eq!(rows, expected);
    assert!(!documentation.contains("Total params"));
}
