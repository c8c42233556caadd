//! A network as a type: what the macro defines, and the constants that follow from it.

use crate::layers::{Layers, Node};
use crate::plan::{Fault, Plan, Table, build, count, report};
use crate::shape::Shape;
use crate::shape::size::{InputShape, Phantom};
use crate::summary::Summary;

/// What `convnet!` writes for a network or a block.
///
/// What its types have to be is asked by [`Network`], and not here: a listing with a type in it that is no network is
/// then one error, on that type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a network",
    label = "not a network",
    note = "networks are the types that `convnet!` makes; a layer takes parentheses: `Flatten()`"
)]
pub trait Definition: 'static {
    /// The network's name.
    const NAME: &'static str;
    /// The input's shape, as data sets carry it in their type; with open sizes the definition is a block, which can
    /// only be a layer of a network.
    type Input;
    /// The input's sizes as a tuple of [`crate::shape::size::Size`] types; `()` for a block.
    type Sizes;
    /// The layers, a balanced tree of pairs.
    type Layers;
}

/// A network without a name of its own: what `convnet![…]` stands for where a type stands.
pub struct Sequential<Input, Sizes, Tree>(Phantom<(Input, Sizes, Tree)>);

impl<Input: 'static, Sizes: 'static, Tree: 'static> Definition for Sequential<Input, Sizes, Tree> {
    const NAME: &'static str = "sequential";
    type Input = Input;
    type Sizes = Sizes;
    type Layers = Tree;
}

/// Tables of this many layers cost the compiler nothing worth mentioning; larger networks use the large one.
pub(crate) const USUAL: usize = 48;

/// The constants of a network, for every type that `convnet!` makes.
///
/// ```
/// use convnet::prelude::*;
///
/// convnet! {
///     type Tiny = [Input(4, 4, 1), Conv2D(2, (3, 3)), Flatten(), Dense(3)];
/// }
/// const _: () = assert!(Tiny::PARAMS == 20 + 27);
/// assert_eq!(Tiny::OUTPUT, [3]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a network",
    label = "not a network",
    note = "networks are the types that `convnet!` makes from an `Input` with all its sizes; one with open sizes, as in \
            `Input(None, None, 64)`, is a block, which can be a layer of a network only"
)]
pub trait Network: Definition<Input: InputShape, Layers: Layers> {
    #[doc(hidden)]
    const TREE: &'static Node = <Self::Layers as Layers>::NODE;
    #[doc(hidden)]
    const SHAPE: Shape = <Self::Input as InputShape>::SHAPE;
    #[doc(hidden)]
    const SMALL: &'static Table<USUAL> = &build::<USUAL>(Self::SHAPE, Self::TREE);
    #[doc(hidden)]
    const LARGE: &'static Table<{ crate::plan::MAX_LAYERS }> =
        &build_large(count(Self::TREE) > USUAL, Self::SHAPE, Self::TREE);
    /// What makes this network impossible, if anything does.
    #[doc(hidden)]
    const FAULT: Option<Fault> = if count(Self::TREE) > USUAL { Self::LARGE.fault } else { Self::SMALL.fault };

    /// Everything known of the network. Fails to compile, with a sentence, where the network is impossible.
    const PLAN: Plan = {
        report(Self::NAME, &Self::FAULT, None);
        let large = count(Self::TREE) > USUAL;
        let layers = if large {
            Self::LARGE.layers.split_at(Self::LARGE.len).0
        } else {
            Self::SMALL.layers.split_at(Self::SMALL.len).0
        };
        let (output, params, trainable_params) = if large {
            (Self::LARGE.output, Self::LARGE.params, Self::LARGE.trainable_params)
        } else {
            (Self::SMALL.output, Self::SMALL.params, Self::SMALL.trainable_params)
        };
        Plan { network: Self::NAME, input: Self::SHAPE, output, layers, params, trainable_params }
    };

    /// Number of parameters.
    const PARAMS: usize = Self::PLAN.params;
    /// How many of them training changes.
    const TRAINABLE_PARAMS: usize = Self::PLAN.trainable_params;
    /// How many of them training leaves alone.
    const NON_TRAINABLE_PARAMS: usize = Self::PARAMS - Self::TRAINABLE_PARAMS;
    /// Sizes of one input, channels last: `[28, 28, 1]`.
    const INPUT: &'static [usize] = Self::PLAN.input.sizes();
    /// Sizes of one output: `[10]`.
    const OUTPUT: &'static [usize] = Self::PLAN.output.sizes();

    /// The table of layers that the book prints.
    fn summary() -> Summary {
        Summary::of(Self::PLAN)
    }
}

// What a type lacks to be a network is nothing that its user wrote.
#[diagnostic::do_not_recommend]
impl<D: Definition<Input: InputShape, Layers: Layers>> Network for D {}

/// The large table, left empty (which costs nothing) for a network that fits the usual one.
const fn build_large<const CAPACITY: usize>(needed: bool, input: Shape, tree: &Node) -> Table<CAPACITY> {
    if needed { build(input, tree) } else { build(input, &Node::Empty) }
}
