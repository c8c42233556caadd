//! What expansions of `convnet!` call: faults raised where they belong, and a place for complaints within a type.
//!
//! The macro writes one item a layer, placed on that layer, for networks with sizes that it does not see. Only the
//! item of the layer at fault says something. Panics point to the caller, which is the listing.

use crate::layers::{Layers, Node};
use crate::network::{Definition, Network, USUAL};
use crate::plan::{Fault, FaultKind, MAX_LAYERS, build, count, report};
use crate::shape::Shape;
use crate::shape::size::{InputPattern, InputShape};
use crate::shape::walk::Walk;
use std::marker::PhantomData;

pub use typenum;

/// Stops the compilation if the network's input is at fault.
#[track_caller]
pub const fn report_input(network: &str, fault: &Option<Fault>) {
    if let Some(Fault { kind: FaultKind::ZeroInput, .. }) = fault {
        report(network, fault, None);
    }
}

/// Stops the compilation if layer `layer` is at fault.
#[track_caller]
pub const fn report_layer(network: &str, fault: &Option<Fault>, layer: usize) {
    let elsewhere = match fault {
        Some(Fault { kind: FaultKind::ZeroInput, .. }) => true,
        Some(fault) => is_of_repeat(fault),
        None => true,
    };
    if !elsewhere {
        report(network, fault, Some(layer));
    }
}

/// Stops the compilation if a network or block used as a layer, `count` layers from `from` on, is at fault here; says
/// nothing if it is at fault by itself (`inner`), which is raised where it is defined.
#[track_caller]
pub const fn report_network(network: &str, fault: &Option<Fault>, from: usize, count: usize, inner: &Option<Fault>) {
    if let Some(Fault { layer, .. }) = fault
        && inner.is_none()
        && from <= *layer
        && (*layer < from + count || *layer == from)
        && !matches!(fault, Some(Fault { kind: FaultKind::ZeroInput, .. }))
    {
        report(network, fault, Some(*layer));
    }
}

/// Stops the compilation if a repetition of `count` layers, the first of them number `from`, is at fault in a later
/// round than the first (which is raised on its layers), or because `times` is 0.
#[track_caller]
pub const fn report_repeat(network: &str, fault: &Option<Fault>, from: usize, count: usize, times: usize) {
    if let Some(found) = fault {
        let end = from.saturating_add(count.saturating_mul(times));
        let later = from + count <= found.layer && found.layer < end && !is_of_repeat(found);
        if later || times == 0 && found.layer == from && is_of_repeat(found) {
            report(network, fault, Some(found.layer));
        }
    }
}

/// Whether a repetition of no round is at fault.
const fn is_of_repeat(fault: &Fault) -> bool {
    matches!(fault, Fault { kind: FaultKind::ZeroSize(argument), .. } if argument.len() == 1)
}

/// What the macro asks of a network or block that is a layer of another.
pub trait Part: Definition<Input: InputPattern, Layers: Layers> {
    /// How many layers it has.
    const COUNT: usize = count(<Self::Layers as Layers>::NODE);
    /// What makes it impossible by itself; a block is judged where it is used.
    const OWN_FAULT: Option<Fault> = {
        let pattern = <Self::Input as InputPattern>::PATTERN;
        match *pattern.sizes() {
            [Some(height), Some(width), Some(channels)] => {
                fault_of(Shape::map(height, width, channels), <Self::Layers as Layers>::NODE)
            }
            [Some(features)] => fault_of(Shape::vector(features), <Self::Layers as Layers>::NODE),
            _ => None,
        }
    };
}

impl<D: Definition<Input: InputPattern, Layers: Layers>> Part for D {}

/// A network as the first layer of another, which brings its input along; a block does not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a network",
    label = "not a network",
    note = "networks are the types that `convnet!` makes; a layer takes parentheses, `Flatten()`, and a block, whose \
            `Input` has open sizes, stands behind an input: `[Input(28, 28, 1), Block, …]`"
)]
pub trait Whole {
    /// What data sets carry in their type.
    type Input;
    /// The sizes as types.
    type Sizes;
}

#[diagnostic::do_not_recommend]
impl<D: Definition<Input: InputShape>> Whole for D {
    type Input = D::Input;
    type Sizes = D::Sizes;
}

/// Reads the constants of a type that may turn out to be no network: then there are those of [`Nothing`].
///
/// A type that is no network is reported where the listing names it. The items that raise faults go through this, so
/// that they do not report it again: constants of an inherent implementation are preferred, where its bounds hold.
pub struct Perhaps<N>(PhantomData<N>);

impl<N: Network> Perhaps<N> {
    /// What makes the network impossible.
    pub const FAULT: Option<Fault> = N::FAULT;
}

/// [`Perhaps`] for a network or block used as a layer.
pub struct PerhapsPart<N>(PhantomData<N>);

impl<N: Part> PerhapsPart<N> {
    /// How many layers it has.
    pub const COUNT: usize = N::COUNT;
    /// What makes it impossible by itself.
    pub const OWN_FAULT: Option<Fault> = N::OWN_FAULT;
}

/// What there is to say of a type that is no network.
pub trait Nothing {
    /// No fault.
    const FAULT: Option<Fault> = None;
    /// No layer.
    const COUNT: usize = 0;
    /// No fault.
    const OWN_FAULT: Option<Fault> = None;
}

impl<N> Nothing for Perhaps<N> {}
impl<N> Nothing for PerhapsPart<N> {}

const fn fault_of(input: Shape, layers: &Node) -> Option<Fault> {
    if count(layers) > USUAL { build::<MAX_LAYERS>(input, layers).fault } else { build::<USUAL>(input, layers).fault }
}

/// The bits of a number, which is how it stands in a layer's type.
pub const fn bits(number: f64) -> u64 {
    number.to_bits()
}

/// The highest of the eight hexadecimal digits of a constant size; stops the compilation if it has more than eight.
#[track_caller]
pub const fn top_digit(size: usize) -> usize {
    assert!(size >> 28 < 16, "a size of a layer must be below 2^32");
    size >> 28
}

/// Carries the macro's complaints within a type: a layer that does nothing.
pub struct Mistakes<const COUNT: usize>;

impl<const COUNT: usize> Layers for Mistakes<COUNT> {
    const NODE: &'static Node = &Node::Empty;
}

impl<In, const COUNT: usize> Walk<In> for Mistakes<COUNT> {
    type Out = In;
}
