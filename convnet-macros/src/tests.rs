//! Tests across the phases: the dry run against the plan of `convnet-core`, what becomes of mutilated listings, and
//! the documentation of an item.

use crate::check::{Checked, KnownNetworks, check};
use crate::error::Errors;
use crate::parse::{Invocation, invocation};
use crate::value::Scope;
use crate::{assemble, expansion};
use convnet_core::layers::{Activation, LayerSpec, Node, Op, conv2d, dense, max_pooling2d};
use convnet_core::plan::{Table, build};
use convnet_core::shape::{Axis, Padding, Shape};
use proc_macro2::{Group, TokenStream, TokenTree};
use quote::ToTokens;

/// The dry run of a listing, and how many complaints it had.
fn dry_run(listing: &str) -> (Checked, usize) {
    let errors = Errors::new();
    let tokens: TokenStream = listing.parse().expect("tokens");
    let Invocation::Type(lines) = invocation(tokens, &errors) else { panic!("a listing where a type stands") };
    let model = assemble::assemble(&lines, &Scope::Type, &errors);
    let checked = check(&model, &KnownNetworks::new(), &errors);
    (checked, errors.finish().len())
}

/// Knuth's generator: the same networks in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A small size, now and then zero.
    fn size(&mut self) -> usize {
        if self.below(60) == 0 { 0 } else { self.pick(&[1, 2, 2, 3, 3, 5]) }
    }

    fn activation(&mut self) -> Activation {
        use Activation::*;
        self.pick(&[Linear, Relu, Sigmoid, Tanh, Relu, Relu, Softmax])
    }

    fn axis(&mut self, padding: Padding, dilated: bool) -> Axis {
        let dilation = if dilated { self.pick(&[1, 1, 1, 2, 3]) } else { 1 };
        Axis {
            window: self.size(),
            stride: if self.below(60) == 0 { 0 } else { self.pick(&[1, 1, 2, 3]) },
            dilation,
            padding,
        }
    }

    fn op(&mut self) -> Op {
        let padding = self.pick(&[Padding::Valid, Padding::Valid, Padding::Same]);
        match self.below(8) {
            0..3 => Op::Conv2D(conv2d::Spec {
                filters: self.size(),
                vertical: self.axis(padding, true),
                horizontal: self.axis(padding, true),
                groups: 1,
                activation: self.activation(),
                use_bias: self.below(2) == 0,
            }),
            3 => {
                let (vertical, horizontal) = (self.axis(padding, false), self.axis(padding, false));
                Op::MaxPooling2D(max_pooling2d::Spec { vertical, horizontal })
            }
            4..6 => Op::Flatten,
            _ => Op::Dense(dense::Spec {
                units: self.size(),
                activation: self.activation(),
                use_bias: self.below(2) == 0,
            }),
        }
    }

    fn layer(&mut self) -> LayerSpec {
        let name = self.pick(&[None, None, None, None, Some("a"), Some("b"), Some("c"), Some("conv2d_1"), Some("é")]);
        LayerSpec { name, ..LayerSpec::of(self.op()) }
    }
}

/// A layer as a listing has it.
fn written(layer: &LayerSpec) -> String {
    let pair = |vertical: usize, horizontal: usize| format!("({vertical}, {horizontal})");
    let window = |[vertical, horizontal]: [Axis; 2]| {
        let padding = if vertical.padding == Padding::Same { "same" } else { "valid" };
        let strides = pair(vertical.stride, horizontal.stride);
        format!("{}, {strides}, \"{padding}\"", pair(vertical.window, horizontal.window))
    };
    let arguments = match layer.op {
        Op::Conv2D(conv2d::Spec { filters, vertical, horizontal, activation, use_bias, .. }) => {
            let dilation = pair(vertical.dilation, horizontal.dilation);
            let window = window([vertical, horizontal]);
            let activation = activation.name();
            format!("{filters}, {window}, None, {dilation}, activation = \"{activation}\", use_bias = {use_bias}, ")
        }
        Op::MaxPooling2D(max_pooling2d::Spec { vertical, horizontal }) => window([vertical, horizontal]) + ", ",
        Op::Flatten => String::new(),
        Op::Dense(dense::Spec { units, activation, use_bias }) => {
            format!("{units}, \"{}\", {use_bias}, ", activation.name())
        }
        op => unreachable!("{op:?} is not drawn"),
    };
    let name = layer.name.map_or(String::new(), |name| format!("name = {name:?}"));
    format!("{}({arguments}{name})", layer.op.kind())
}

#[test]
fn the_dry_run_and_the_plan_judge_alike() {
    let mut random = Random(5);
    let (mut sound, mut faulty) = (0, 0);
    for _ in 0..5_000 {
        let [height, width, channels] =
            [0; 3].map(|_| if random.below(60) == 0 { 0 } else { random.pick(&[28, 28, 21, 12, 9, 7, 1]) });
        let layers: Vec<LayerSpec> = (0..1 + random.below(6)).map(|_| random.layer()).collect();
        let listing: Vec<String> = layers.iter().map(written).collect();
        let listing = format!("Input({height}, {width}, {channels}), {}", listing.join(", "));

        let tree = layers.into_iter().fold(Node::Empty, |above, layer| {
            Node::Pair(Box::leak(Box::new(above)), Box::leak(Box::new(Node::Layer(layer))))
        });
        let table: Table<8> = build(Shape::map(height, width, channels), &tree);
        let (checked, complaints) = dry_run(&listing);

        assert_eq!(complaints > 0, table.fault.is_some(), "{listing}: {:?}, {complaints} complaints", table.fault);
        if complaints == 0 {
            let planned = table.layers[..table.len].iter();
            let planned: Vec<_> = planned
                .map(|layer| (layer.name.to_string(), layer.output.to_string(), Some(layer.params() as u128)))
                .collect();
            let seen: Vec<_> =
                checked.rows.iter().map(|row| (row.name.clone(), row.shape.to_string(), row.params)).collect();
            assert_eq!(seen, planned, "{listing}");
        }
        if complaints == 0 { sound += 1 } else { faulty += 1 }
    }
    assert!(sound > 500 && faulty > 500, "{sound} sound and {faulty} faulty networks are too few of one kind");
}

const ITEM: &str = r#"
    /// Docs.
    #[derive(Clone)]
    pub(crate) type Net<const CLASSES: usize> = [
        Input(28, 28, 1),
        Conv2D(32, (3, 3), activation = "relu", name = "first"),
        MaxPooling2D(2, strides = None),
        Base,
        other::Base<3>,
        Flatten(),
        Dense(2 * K, use_bias = false),
        Dense(CLASSES, activation = "softmax"),
    ];
    type Base = [Conv2D(32, 3, input_shape = (13, 13, 32)), MaxPooling2D()];
"#;

const LISTING: &str = r#"Input(28, 28, 1), Conv2D(32, (3, 3), activation = "relu"), Base, Flatten(), Dense(CLASSES)"#;

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

#[test]
fn more_than_1024_layers_are_too_many() {
    let listing = |layers: usize| format!("Input(4), {}", "Dense(4), ".repeat(layers));
    assert_eq!(dry_run(&listing(1024)).1, 0);
    assert_eq!(dry_run(&listing(1025)).1, 1);
}

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
