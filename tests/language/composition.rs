//! Branches, repetitions, blocks, networks within networks, frozen parts.

use super::{Base, elsewhere, expected, rows_of};
use convnet::prelude::*;

convnet! {
    /// A residual block of any size.
    type Residual<const CHANNELS: usize> = [
        Input(None, None, CHANNELS),
        Add([
            Conv2D(CHANNELS, 3, padding = "same", use_bias = false),
            BatchNormalization(),
            ReLU(),
            Conv2D(CHANNELS, 3, padding = "same", use_bias = false),
            BatchNormalization(),
        ], []),
        ReLU(),
    ];

    /// Half the height and width.
    type Down = [
        Input(None, None, None),
        Concatenate(
            [Conv2D(8, 3, strides = 2, padding = "same")],
            [MaxPooling2D(2, padding = "same")],
            name = "half",
        ),
    ];

    type Residuals = [
        Input(16, 12, 3),
        Conv2D(8, 3, padding = "same", name = "stem"),
        Residual<8>,
        Repeat(2, [Residual<8>(trainable = false), Dropout(0.1)]),
        Down,
        Residual<16>,
        GlobalAveragePooling2D(),
        Dense(5, activation = "softmax"),
    ];

    type Nested = [
        Input(8, 8, 2),
        Repeat(2, [
            Add(
                [Repeat(2, [Conv2D(2, 3, padding = "same")]), Concatenate([Conv2D(1, 1)], [Conv2D(1, 1)])],
                [],
                [Conv2D(2, 1, trainable = false)],
            ),
        ]),
        Flatten(),
    ];
}

#[test]
fn branches_and_blocks_are_laid_out_in_the_order_of_the_listing() {
    let block = |conv: usize| {
        let params = 3 * 3 * 8 * 8;
        let row = |kind: &str, number: usize, params: usize| (format!("{kind}_{number}"), vec![16, 12, 8], params);
        vec![
            row("conv2d", 2 * conv - 1, params),
            row("batch_normalization", 2 * conv - 1, 32),
            row("re_lu", 2 * conv - 1, 0),
            row("conv2d", 2 * conv, params),
            row("batch_normalization", 2 * conv, 32),
            row("add", conv, 0),
            row("re_lu", 2 * conv, 0),
        ]
    };
    let rows = rows_of::<Residuals>();
    let mut wanted = expected([("stem", &[16, 12, 8], 3 * 3 * 3 * 8 + 8)]);
    wanted.extend(block(1));
    for round in [1, 2] {
        wanted.extend(block(1 + round));
        wanted.push((format!("dropout_{round}"), vec![16, 12, 8], 0));
    }
    wanted.extend(expected([
        ("conv2d_7", &[8, 6, 8], 3 * 3 * 8 * 8 + 8),
        ("max_pooling2d_1", &[8, 6, 8], 0),
        ("half", &[8, 6, 16], 0),
    ]));
    assert_eq!(rows[..wanted.len()], wanted);
    assert_eq!(rows.last(), Some(&("dense_1".to_string(), vec![5], 85)));

    let plan = Residuals::PLAN;
    let half = plan.layers.iter().position(|layer| layer.name.to_string() == "half").expect("the merge");
    assert_eq!(plan.layers[half].inputs(), [half - 1, half]);
    let frozen: usize = plan.layers[8..24].iter().map(|layer| layer.params()).sum();
    let moving = 2 * 16 + 2 * 32;
    assert_eq!(Residuals::NON_TRAINABLE_PARAMS, frozen + moving);
}

#[test]
fn branches_and_repetitions_nest() {
    let names: Vec<String> = rows_of::<Nested>().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(
        names,
        [
            "conv2d_1",
            "conv2d_2",
            "conv2d_3",
            "conv2d_4",
            "concatenate_1",
            "conv2d_5",
            "add_1", //
            "conv2d_6",
            "conv2d_7",
            "conv2d_8",
            "conv2d_9",
            "concatenate_2",
            "conv2d_10",
            "add_2", //
            "flatten_1",
        ]
    );
    assert_eq!(Nested::NON_TRAINABLE_PARAMS, 2 * 6);
    let add = Nested::PLAN.layers[6];
    assert_eq!(add.inputs(), [5, 0, 6]);
}

#[test]
fn a_block_takes_maps_of_many_sizes() {
    type Small = convnet![Input(4, 4, 8), Residual<8>];
    type Large = convnet![Input(64, 32, 8), Residual<8>];
    type Named = convnet![Input(9, 9, 3), Down, Flatten()];
    assert_eq!((Small::OUTPUT, Large::OUTPUT), (&[4, 4, 8][..], &[64, 32, 8][..]));
    assert_eq!(Small::PARAMS, Large::PARAMS);
    assert_eq!(Named::OUTPUT, [5 * 5 * 11]);
}

convnet! {
    type Classifier<const CLASSES: usize> = [elsewhere::Maps<6>(trainable = false), Flatten(), Dense(CLASSES)];
    type AnySize<const EDGE: usize> = [
        Input(EDGE, EDGE, 3),
        Repeat(2, [Conv2D(8, 3), elsewhere::Halves]),
        GlobalAveragePooling2D(),
        Dense(2),
    ];
    type Rounds<const N: usize> = [Input(4), Repeat(N, [Dense(4, activation = "relu")]), Dense(1)];
    type FrozenHead = [Base(trainable = false), elsewhere::Flat(trainable = true), Dense(10, trainable = false)];
}

const ROUNDS: usize = 3;

#[test]
fn const_generics_reach_every_layer() {
    assert_eq!((Classifier::<7>::PARAMS, Classifier::<7>::TRAINABLE_PARAMS), (168 + 97 * 7, 97 * 7));
    assert_eq!(rows_of::<AnySize<30>>()[3], ("max_pooling2d_2".to_string(), vec![6, 6, 8], 0));
    assert_eq!(AnySize::<30>::PARAMS, AnySize::<50>::PARAMS);
    assert_eq!(Rounds::<5>::PARAMS, 5 * 20 + 5);
    type Constant = convnet![Input(4), Repeat({ ROUNDS }, [Dense(4)]), Dense(1)];
    assert_eq!(Constant::PARAMS, 3 * 20 + 5);
}

#[test]
fn frozen_networks_keep_their_weights() {
    assert_eq!(FrozenHead::TRAINABLE_PARAMS, 0);
    assert_eq!(FrozenHead::PARAMS, 55_744 + 5770);
    type InAType = convnet![Base(trainable = false), Flatten(), Dense(10, activation = "softmax")];
    assert_eq!((InAType::PARAMS, InAType::TRAINABLE_PARAMS), (61_514, 5770));
    assert!(!InAType::PLAN.layers[0].trainable && InAType::PLAN.layers[6].trainable);
    let summary = InAType::summary().to_string();
    assert!(summary.contains("Trainable params: 5,770\nNon-trainable params: 55,744"), "{summary}");
}
