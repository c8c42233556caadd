//! What expansions of `convnet!` call: faults raised where they belong, and a place for complaints within a type.
//!
//! The macro writes one item a layer, placed on that layer, for networks with sizes that it does not see. Only the
//! item of the layer at fault says something. Panics point to the caller, which is the listing.

use crate::layers::{Layers, Node};
use crate::plan::{Fault, FaultKind, report};
use crate::shape::walk::Walk;

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
    if !matches!(fault, Some(Fault { kind: FaultKind::ZeroInput, .. })) {
        report(network, fault, Some(layer));
    }
}

/// Stops the compilation if a network used as a layer, `count` layers from `from` on, is at fault here; says nothing
/// if it is at fault by itself (`inner`), which is raised where it is defined.
#[track_caller]
pub const fn report_network(network: &str, fault: &Option<Fault>, from: usize, count: usize, inner: &Option<Fault>) {
    if let Some(Fault { layer, .. }) = fault
        && inner.is_none()
        && from <= *layer
        && (*layer < from + count || *layer == from)
    {
        report_layer(network, fault, *layer);
    }
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
