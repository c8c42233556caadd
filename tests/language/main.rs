//! What a listing may say, in all its spellings, and that the types it becomes and the plan agree; `every_layer` has
//! the layers and their settings, `composition` branches, repetitions, blocks and frozen parts, `architectures` the
//! parameters of networks that Keras has counted, too.

mod architectures;
mod composition;
mod every_layer;

use convnet::layers::Op;
use convnet::plan::Plan;
use convnet::prelude::*;
use convnet::shape::walk::{Digits as SizesDigits, Walk};
use convnet::{Definition, layers::Activation, shape::Padding};

/// The sizes that the trait solver computed.
trait TypeShape {
    fn sizes() -> Vec<usize>;
}

impl<N: typenum::Unsigned> TypeShape for (N,) {
    fn sizes() -> Vec<usize> {
        vec![N::USIZE]
    }
}

impl<H: typenum::Unsigned, W: typenum::Unsigned, C: typenum::Unsigned> TypeShape for (H, W, C) {
    fn sizes() -> Vec<usize> {
        vec![H::USIZE, W::USIZE, C::USIZE]
    }
}

/// The plan, once the way of the shape through the types has been held against it.
fn plan<N>() -> Plan
where
    N: Network,
    N::Sizes: SizesDigits,
    N::Layers: Walk<<N::Sizes as SizesDigits>::Digits>,
    <N::Layers as Walk<<N::Sizes as SizesDigits>::Digits>>::Out: TypeShape,
{
    let walked = <N::Layers as Walk<<N::Sizes as SizesDigits>::Digits>>::Out::sizes();
    assert_eq!(walked, N::OUTPUT, "{}: the types and the plan disagree", N::NAME);
    N::PLAN
}

/// Names, shapes and parameters of the layers, as the summary has them.
fn rows(plan: &Plan) -> Vec<(String, Vec<usize>, usize)> {
    plan.layers.iter().map(|layer| (layer.name.to_string(), layer.output.sizes().to_vec(), layer.params())).collect()
}

/// What the layers of two plans do.
fn same_layers(a: &Plan, b: &Plan) {
    let ops = |plan: &Plan| plan.layers.iter().map(|layer| layer.op).collect::<Vec<Op>>();
    assert_eq!(a.input, b.input);
    assert_eq!(ops(a), ops(b));
    assert_eq!(rows(a), rows(b));
}

mod sizes {
    pub const CLASSES: usize = 10;
    pub const EDGE: usize = 28;
}

const FILTERS: usize = 32;

convnet! {
    /// Listing 5.1.
    pub type Base = [
        Conv2D(32, (3, 3), activation = "relu", input_shape = (28, 28, 1)),
        MaxPooling2D((2, 2)),
        Conv2D(64, (3, 3), activation = "relu"),
        MaxPooling2D((2, 2)),
        Conv2D(64, (3, 3), activation = "relu"),
    ];

    /// Listings 5.1 and 5.2.
    pub(crate) type Digits = [
        Base,
        Flatten(),
        Dense(64, activation = "relu"),
        Dense(10, activation = "softmax"),
    ];

    #[derive(Clone, Debug)]
    type Keywords = [
        Input(shape = (28, 28, 1)),
        Conv2D(filters = 32, kernel_size = (3, 3), strides = (1, 1), padding = "valid", dilation_rate = (1, 1),
            groups = 1, activation = "relu", use_bias = true, data_format = "channels_last"),
        MaxPooling2D(pool_size = (2, 2), strides = None, padding = "valid"),
        Conv2D(64, kernel_size = 3, activation = "relu"),
        MaxPooling2D(pool_size = 2),
        Conv2D(filters = 64, kernel_size = 3, activation = "relu"),
        Flatten(),
        Dense(units = 64, activation = "relu", use_bias = true),
        Dense(units = 10, activation = "softmax"),
    ];

    type Positional = [
        Input((28, 28, 1)),
        Conv2D(32, 3, 1, "valid", None, 1, 1, "relu", true),
        MaxPooling2D(2, 2, "valid"),
        Conv2D(64, 3, (1, 1), "valid", None, (1, 1), 1, "relu"),
        MaxPooling2D(),
        Conv2D(64, (3, 3), 1, activation = "relu"),
        Flatten(),
        Dense(64, "relu", true),
        Dense(10, "softmax",),
    ];

    type Constants = [
        Input(sizes::EDGE, { sizes::EDGE }, 1),
        Conv2D(FILTERS, (3, 4 - 1), activation = "relu"),
        MaxPooling2D(FILTERS / 16),
        Conv2D(2 * FILTERS, 3, activation = "relu"),
        MaxPooling2D(),
        Conv2D((2 * 32), 3, activation = "relu"),
        Flatten(),
        Dense(usize::pow(8, 2), activation = "relu"),
        Dense({ sizes::CLASSES }, activation = "softmax"),
    ];
}

convnet! {
    type Sizes<const EDGE: usize, const CLASSES: usize = 10> = [
        Input(EDGE, EDGE, 1),
        Conv2D(FILTERS, 3, activation = "relu"),
        MaxPooling2D(),
        Conv2D(64, 3, activation = "relu"),
        MaxPooling2D(),
        Conv2D(64, 3, activation = "relu"),
        Flatten(),
        Dense(64, activation = "relu"),
        Dense(CLASSES, activation = "softmax"),
    ];
}

#[test]
fn every_spelling_is_the_same_network() {
    let digits = plan::<Digits>();
    same_layers(&plan::<Keywords>(), &digits);
    same_layers(&plan::<Positional>(), &digits);
    same_layers(&plan::<Constants>(), &digits);
    same_layers(&plan::<Sizes<28>>(), &digits);
    type InAType = convnet![Base, Flatten(), Dense(64, activation = "relu"), Dense(10, activation = "softmax")];
    same_layers(&plan::<InAType>(), &digits);
    type Angled = convnet!(<Digits>);
    same_layers(&plan::<Angled>(), &digits);
}

#[test]
fn listing_5_1_and_5_2_have_the_shapes_and_parameters_of_the_book() {
    let expected = [
        ("conv2d_1", vec![26, 26, 32], 320),
        ("max_pooling2d_1", vec![13, 13, 32], 0),
        ("conv2d_2", vec![11, 11, 64], 18496),
        ("max_pooling2d_2", vec![5, 5, 64], 0),
        ("conv2d_3", vec![3, 3, 64], 36928),
        ("flatten_1", vec![576], 0),
        ("dense_1", vec![64], 36928),
        ("dense_2", vec![10], 650),
    ];
    let expected = expected.map(|(name, shape, params)| (name.to_string(), shape, params));
    assert_eq!(rows(&plan::<Base>()), expected[..5]);
    assert_eq!(rows(&plan::<Digits>()), expected);
    assert_eq!((Base::PARAMS, Digits::PARAMS), (55_744, 93_322));
    assert_eq!((Digits::NAME, Digits::INPUT, Digits::OUTPUT), ("Digits", &[28, 28, 1][..], &[10][..]));
}

/// The book's table of listing 5.1, with its first column as wide as its longest name.
const SUMMARY_5_1: &str = "\
___________________________________________________________________
Layer (type)                   Output Shape              Param #
===================================================================
conv2d_1 (Conv2D)              (None, 26, 26, 32)        320
___________________________________________________________________
max_pooling2d_1 (MaxPooling2D) (None, 13, 13, 32)        0
___________________________________________________________________
conv2d_2 (Conv2D)              (None, 11, 11, 64)        18496
___________________________________________________________________
max_pooling2d_2 (MaxPooling2D) (None, 5, 5, 64)          0
___________________________________________________________________
conv2d_3 (Conv2D)              (None, 3, 3, 64)          36928
===================================================================
Total params: 55,744
Trainable params: 55,744
Non-trainable params: 0
___________________________________________________________________";

/// The end of its table once the classifier stands on it.
const SUMMARY_5_2_END: &str = "
___________________________________________________________________
flatten_1 (Flatten)            (None, 576)               0
___________________________________________________________________
dense_1 (Dense)                (None, 64)                36928
___________________________________________________________________
dense_2 (Dense)                (None, 10)                650
===================================================================
Total params: 93,322
Trainable params: 93,322
Non-trainable params: 0
___________________________________________________________________";

#[test]
fn the_summary_is_the_books_table() {
    assert_eq!(Base::summary().to_string(), SUMMARY_5_1);
    let (layers, _) = SUMMARY_5_1.rsplit_once("\n====").expect("a line above the totals");
    assert_eq!(Digits::summary().to_string(), format!("{layers}{SUMMARY_5_2_END}"));
}

convnet! {
    type Settings = [
        Input(30, 40, 3),
        Conv2D(8, (3, 5), strides = (2, 3), padding = "same", activation = "tanh", use_bias = false, name = "größe"),
        Conv2D(6, (2, 3), dilation_rate = (2, 1), activation = "sigmoid"),
        MaxPooling2D((2, 3), strides = (1, 2), padding = "same", name = "pool"),
        Conv2D(4, 1, activation = None),
        Flatten(name = "a_name_of_exactly_sixty_four_bytes_which_is_the_longest_possible"),
        Dense(5, use_bias = false, activation = "linear"),
        Dense(1, activation = "sigmoid", name = "out"),
    ];

    type Vectors = [Input(784), Dense(512, "relu"), Dense(10, "softmax")];
    type VectorShape = [Dense(512, activation = "relu", input_shape = (28 * 28,)), Dense(10, activation = "softmax")];
    type VectorNumber = [Dense(512, activation = "relu", input_shape = 784), Dense(10, activation = "softmax")];
    type Large = [Input(5000), Dense(4097), Dense(100_000, use_bias = false)];
}

#[test]
fn settings_reach_the_plan() {
    let plan = plan::<Settings>();
    let Op::Conv2D(first) = plan.layers[0].op else { panic!("a convolution") };
    assert_eq!((first.vertical.window, first.vertical.stride, first.vertical.dilation), (3, 2, 1));
    assert_eq!((first.horizontal.window, first.horizontal.stride, first.vertical.padding), (5, 3, Padding::Same));
    assert_eq!((first.filters, first.activation, first.use_bias), (8, Activation::Tanh, false));
    let Op::Conv2D(second) = plan.layers[1].op else { panic!("a convolution") };
    assert_eq!((second.vertical.dilation, second.horizontal.dilation, second.use_bias), (2, 1, true));
    let expected = [
        ("größe", vec![15, 14, 8], 3 * 5 * 3 * 8),
        ("conv2d_1", vec![13, 12, 6], 2 * 3 * 8 * 6 + 6),
        ("pool", vec![13, 6, 6], 0),
        ("conv2d_2", vec![13, 6, 4], 6 * 4 + 4),
        ("a_name_of_exactly_sixty_four_bytes_which_is_the_longest_possible", vec![312], 0),
        ("dense_1", vec![5], 312 * 5),
        ("out", vec![1], 6),
    ];
    assert_eq!(rows(&plan), expected.map(|(name, shape, params)| (name.to_string(), shape, params)));
}

#[test]
fn vectors_are_inputs_too() {
    let vectors = plan::<Vectors>();
    assert_eq!(Vectors::INPUT, [784]);
    assert_eq!(Vectors::PARAMS, 784 * 512 + 512 + 5130);
    same_layers(&plan::<VectorShape>(), &vectors);
    same_layers(&plan::<VectorNumber>(), &vectors);
    assert_eq!(plan::<Large>().params, 5001 * 4097 + 4097 * 100_000);
}

mod elsewhere {
    use convnet::prelude::*;

    convnet! {
        /// Maps of any number of channels, for the classifiers of others.
        pub type Maps<const CHANNELS: usize> = [Input(8, 8, 3), Conv2D(CHANNELS, 3, padding = "same"), MaxPooling2D()];
        /// A head.
        pub type Head = [Input(4, 4, 6), Flatten(), Dense(2, activation = "softmax")];
        /// A block: a quarter of each map.
        pub type Halves = [Input(None, None, None), MaxPooling2D()];
        /// A block: a vector of each map.
        pub type Flat = [Input(None, None, None), Flatten()];
    }
}

convnet! {
    type Stacked = [elsewhere::Maps<6>, elsewhere::Head];
    type Fitted = [Input(10, 10, 1), Conv2D(3, 3), elsewhere::Maps<{ 2 + 4 }>, Conv2D(1, 1)];
}

#[test]
fn networks_are_layers_of_networks() {
    let expected = [
        ("conv2d_1", vec![8, 8, 6], 168),
        ("max_pooling2d_1", vec![4, 4, 6], 0),
        ("flatten_1", vec![96], 0),
        ("dense_1", vec![2], 194),
    ];
    assert_eq!(rows(&plan::<Stacked>()), expected.map(|(name, shape, params)| (name.to_string(), shape, params)));
    type Nameless = convnet![elsewhere::Maps<6>, Flatten(), Dense(2, activation = "softmax")];
    same_layers(&plan::<Nameless>(), &plan::<Stacked>());
    assert_eq!(Nameless::NAME, "sequential");
    let fitted = rows(&plan::<Fitted>());
    assert_eq!(fitted[1], ("conv2d_2".to_string(), vec![8, 8, 6], 168));
    assert_eq!(fitted[3], ("conv2d_3".to_string(), vec![4, 4, 1], 7));
}

/// A listing where a type stands sees the const generics of the function around it.
fn params_with<const CLASSES: usize>() -> usize {
    <convnet![Input(28, 28, 1), Flatten(), Dense(CLASSES, activation = "softmax")]>::PARAMS
}

#[test]
fn const_generics_around_a_type() {
    assert_eq!(params_with::<10>(), 7850);
    assert_eq!(params_with::<2>(), 1570);
}

#[test]
fn items_stand_in_functions_too() {
    const HIDDEN: usize = 16;
    convnet! { type Local = [Input(4), Dense(HIDDEN), Dense(1)]; }
    assert_eq!(plan::<Local>().params, 80 + 17);
}

convnet! {
    #[cfg(test)]
    type Chosen = [Input(4), Dense(sizes::CLASSES)];
    #[cfg(not(test))]
    type Chosen = [Input(4), Dense(2 * sizes::CLASSES)];
}

#[test]
fn conditions_hold_for_all_of_an_item() {
    assert_eq!(Chosen::OUTPUT, [10]);
}

const HUGE: usize = 0xfedc_ba98;

convnet! {
    type Huge = [Input(3), Dense(HUGE, use_bias = false), Dense(1, use_bias = false)];
}

#[test]
fn a_constant_may_have_32_bits() {
    assert_eq!(Huge::PARAMS, 4 * HUGE);
}

macro_rules! classifier {
    ($name:ident, $units:expr, $activation:literal) => {
        convnet! { type $name = [Input(4), Dense($units, activation = $activation)]; }
    };
}

classifier!(FromAMacro, 3 + 4, "relu");

#[test]
fn a_listing_may_come_from_another_macro() {
    assert_eq!(plan::<FromAMacro>().params, 35);
}

convnet! {
    /// The convolutional base of VGG16 (Simonyan & Zisserman 2014), with its names, on the book's 150 × 150 images.
    type Vgg16 = [
        Input(150, 150, 3),
        Conv2D(64, (3, 3), activation = "relu", padding = "same", name = "block1_conv1"),
        Conv2D(64, (3, 3), activation = "relu", padding = "same", name = "block1_conv2"),
        MaxPooling2D((2, 2), strides = (2, 2), name = "block1_pool"),
        Conv2D(128, (3, 3), activation = "relu", padding = "same", name = "block2_conv1"),
        Conv2D(128, (3, 3), activation = "relu", padding = "same", name = "block2_conv2"),
        MaxPooling2D((2, 2), strides = (2, 2), name = "block2_pool"),
        Conv2D(256, (3, 3), activation = "relu", padding = "same", name = "block3_conv1"),
        Conv2D(256, (3, 3), activation = "relu", padding = "same", name = "block3_conv2"),
        Conv2D(256, (3, 3), activation = "relu", padding = "same", name = "block3_conv3"),
        MaxPooling2D((2, 2), strides = (2, 2), name = "block3_pool"),
        Conv2D(512, (3, 3), activation = "relu", padding = "same", name = "block4_conv1"),
        Conv2D(512, (3, 3), activation = "relu", padding = "same", name = "block4_conv2"),
        Conv2D(512, (3, 3), activation = "relu", padding = "same", name = "block4_conv3"),
        MaxPooling2D((2, 2), strides = (2, 2), name = "block4_pool"),
        Conv2D(512, (3, 3), activation = "relu", padding = "same", name = "block5_conv1"),
        Conv2D(512, (3, 3), activation = "relu", padding = "same", name = "block5_conv2"),
        Conv2D(512, (3, 3), activation = "relu", padding = "same", name = "block5_conv3"),
        MaxPooling2D((2, 2), strides = (2, 2), name = "block5_pool"),
    ];

    type CatsAndDogs = [Vgg16, Flatten(), Dense(256, activation = "relu"), Dense(1, activation = "sigmoid")];
}

const _: () = assert!(Vgg16::PARAMS == 14_714_688);

#[test]
fn vgg16_has_its_parameters() {
    let plan = plan::<CatsAndDogs>();
    assert_eq!(Vgg16::OUTPUT, [4, 4, 512]);
    assert_eq!(plan.layers[17].name.to_string(), "block5_pool");
    assert_eq!(plan.params, 14_714_688 + 8192 * 256 + 256 + 257);
}

/// Rows of a network whose layers need not be known to the trait solver.
fn rows_of<N: Network>() -> Vec<(String, Vec<usize>, usize)> {
    rows(&N::PLAN)
}

fn expected<const N: usize>(rows: [(&str, &[usize], usize); N]) -> Vec<(String, Vec<usize>, usize)> {
    rows.map(|(name, shape, params)| (name.to_string(), shape.to_vec(), params)).to_vec()
}

/// As many layers as a network may have, without names and behind a named one.
mod as_large_as_may_be {
    use convnet::layers::activation::Linear;
    use convnet::layers::conv2d::Conv2D;
    use convnet::layers::{Layers, Named, Window};
    use convnet::shape::size::{Letters, Map};
    use convnet::shape::walk::Valid;
    use convnet::{Network, Sequential};
    use typenum::{U1, U2};

    type Point = Conv2D<U2, Window<U1, U1, U1, U1, U1, U1, Valid>, Linear, true>;
    type Twice<T> = (T, T);
    type Sixteen<T> = Twice<Twice<Twice<Twice<T>>>>;
    type Net<Tree> = Sequential<Map<3, 3, 2>, (), Tree>;

    fn params<Tree: Layers>() -> usize {
        const { Net::<Tree>::PLAN.params }
    }

    #[test]
    fn the_plan_of_1024_layers_is_computed() {
        assert_eq!(params::<Twice<Twice<Sixteen<Sixteen<Point>>>>>(), 1024 * 6);
        type First = Named<Point, Letters<1, { (b'a' as u128) << 120 }, 0, 0, 0>>;
        assert_eq!(params::<(First, (Sixteen<Sixteen<Point>>, Twice<Sixteen<Sixteen<Point>>>))>(), 769 * 6);
    }
}
