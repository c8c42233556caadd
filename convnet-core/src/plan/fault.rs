//! What makes a network impossible, and the sentence that says so: the second line of defence, for sizes that the
//! macro does not see (constants, const generics, other networks). Formatted in const code, so that the compiler
//! prints numbers and names.

use super::Name;
use crate::shape::{Pattern, Shape};

/// The first mistake in a network.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Name of the layer at fault.
    pub name: Name,
    /// Its number, from zero.
    pub layer: usize,
    /// What it would take.
    pub input: Shape,
    /// What is wrong.
    pub kind: FaultKind,
}

/// What can be wrong with a layer.
#[derive(Clone, Copy, Debug)]
pub enum FaultKind {
    /// More than [`super::MAX_LAYERS`] layers: so many.
    TooManyLayers(usize),
    /// An input without any element.
    ZeroInput,
    /// This argument is zero.
    ZeroSize(&'static str),
    /// Output or parameters beyond any memory.
    TooLarge,
    /// The window (with its dilation) reaches further than the map.
    WindowTooLarge {
        /// Height and width that it covers.
        reach: [usize; 2],
    },
    /// A layer for maps after a vector.
    NeedsMap,
    /// A `Dense` on a map.
    NeedsVector,
    /// A `Flatten` on a vector.
    AlreadyFlat,
    /// `softmax` on a layer that is not the last.
    SoftmaxInside,
    /// The name belongs to an earlier layer.
    NameTaken,
    /// A network used as a layer wants this shape.
    NetworkInput(Pattern),
    /// Channels or filters cannot be cut into so many groups.
    Groups {
        /// How many groups.
        groups: usize,
        /// How many filters.
        filters: usize,
    },
    /// A `Reshape` to another number of values.
    ReshapeLength(Shape),
    /// This argument is no such number.
    OutOfRange {
        /// The argument.
        argument: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Branches that cannot be merged.
    Branches {
        /// Shape behind the first branch.
        first: Shape,
        /// Shape behind the one that does not fit.
        other: Shape,
        /// That one's number, from 1.
        number: usize,
        /// Whether they are joined along the channels, and not summed.
        joined: bool,
    },
}

/// Stops the compilation if `fault` is a fault of layer `layer` (or of any layer, for `None`).
#[track_caller]
pub const fn report(network: &str, fault: &Option<Fault>, layer: Option<usize>) {
    let Some(fault) = fault else { return };
    let here = match layer {
        Some(layer) => layer == fault.layer,
        None => true,
    };
    if here {
        let message = fault.message(network);
        panic!("{}", message.as_str());
    }
}

impl Fault {
    /// The sentence, with the network's and the layer's name and the numbers.
    pub const fn message(&self, network: &str) -> Message {
        let mut to = Message::new();
        to.text("network `");
        to.text(network);
        if let FaultKind::TooManyLayers(_) = self.kind {
            to.text("`: ");
        } else {
            to.text("`, layer `");
            to.name(&self.name);
            to.text("`: ");
        }
        self.explain(&mut to);
        to
    }

    /// Whether what the layer would take is surely the network's input.
    const fn is_first(&self) -> bool {
        self.layer == 0
    }

    /// "the input is " or "the layer above gives ".
    const fn above(&self, to: &mut Message, is: &str, gives: &str) {
        to.text(if self.is_first() { "the input " } else { "the layer above " });
        to.text(if self.is_first() { is } else { gives });
        to.text(" ");
    }

    const fn explain(&self, to: &mut Message) {
        match self.kind {
            FaultKind::TooManyLayers(count) => {
                to.number(count);
                to.text(" layers are more than the ");
                to.number(super::MAX_LAYERS);
                to.text(" that a network may have");
            }
            FaultKind::ZeroInput => {
                to.text("the input shape ");
                to.shape(&self.input);
                to.text(" has no element; every size must be at least 1");
            }
            FaultKind::ZeroSize(argument) => {
                to.text("`");
                to.text(argument);
                to.text("` is 0; it must be at least 1");
            }
            FaultKind::TooLarge => {
                to.text("with an input of ");
                to.shape(&self.input);
                to.text(" its output or its parameters would not fit any memory; use smaller sizes");
            }
            FaultKind::WindowTooLarge { reach: [height, width] } => {
                to.text("a ");
                to.number(height);
                to.text("×");
                to.number(width);
                to.text(" window does not fit the ");
                to.number(self.input.height());
                to.text("×");
                to.number(self.input.width());
                to.text(if self.is_first() {
                    " input; use a smaller window or `padding = \"same\"`"
                } else {
                    " feature map of the layer above; use a smaller window, `padding = \"same\"`, or one pooling layer less"
                });
            }
            FaultKind::NeedsMap => {
                to.text("it needs a feature map (height, width, channels), but ");
                self.above(to, "is", "gives");
                to.shape(&self.input);
                to.text("; put it before `Flatten()`");
            }
            FaultKind::NeedsVector => {
                to.text("`Dense` needs a vector, but ");
                self.above(to, "is", "gives");
                to.text("the feature map ");
                to.shape(&self.input);
                to.text("; put `Flatten()` before it");
            }
            FaultKind::AlreadyFlat => {
                self.above(to, "is", "gives");
                to.text("a vector already, ");
                to.shape(&self.input);
                to.text("; remove this `Flatten()`");
            }
            FaultKind::SoftmaxInside => to.text("`softmax` belongs to the last layer only; use `relu` here"),
            FaultKind::NameTaken => to.text("an earlier layer has this name; names are the keys of saved weights"),
            FaultKind::NetworkInput(wanted) => {
                to.text("this network takes ");
                to.pattern(&wanted);
                to.text(", but ");
                self.above(to, "is", "gives");
                to.shape(&self.input);
            }
            FaultKind::Groups { groups, filters } => {
                to.text("`groups` is ");
                to.number(groups);
                to.text(", which must divide both the ");
                to.number(self.input.channels());
                to.text(if self.is_first() {
                    " channels of the input and the "
                } else {
                    " channels of the layer above and the "
                });
                to.number(filters);
                to.text(" filters");
            }
            FaultKind::ReshapeLength(target) => {
                to.text("the shape ");
                to.shape(&target);
                to.text(" has ");
                to.number(target.len());
                to.text(" values, but ");
                self.above(to, "has", "gives");
                to.number(self.input.len());
                to.text(", ");
                to.shape(&self.input);
            }
            FaultKind::OutOfRange { argument, expected } => {
                to.text("`");
                to.text(argument);
                to.text("` must be ");
                to.text(expected);
            }
            FaultKind::Branches { first, other, number, joined } => {
                to.text("branch 1 gives ");
                to.shape(&first);
                to.text(", but branch ");
                to.number(number);
                to.text(" gives ");
                to.shape(&other);
                to.text(if joined { "; all must be alike but for the channels" } else { "; all must be alike" });
            }
        }
    }
}

/// A text built in const code, of at most 512 bytes; what is longer is cut.
pub struct Message {
    bytes: [u8; 512],
    len: usize,
}

impl Message {
    pub(super) const fn new() -> Self {
        Message { bytes: [0; 512], len: 0 }
    }

    /// The text so far.
    pub const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => panic!("`text` appends whole characters only"),
        }
    }

    pub(super) const fn text(&mut self, text: &str) {
        let text = text.as_bytes();
        let mut end = text.len();
        let room = self.bytes.len() - self.len;
        if end > room {
            end = room;
            // Back to the start of the character that does not fit.
            while end > 0 && text[end] & 0b1100_0000 == 0b1000_0000 {
                end -= 1;
            }
        }
        let mut i = 0;
        while i < end {
            self.bytes[self.len] = text[i];
            self.len += 1;
            i += 1;
        }
    }

    pub(super) const fn number(&mut self, number: usize) {
        if number >= 10 {
            self.number(number / 10);
        }
        let digit = [b'0' + (number % 10) as u8];
        if let Ok(digit) = std::str::from_utf8(&digit) {
            self.text(digit);
        }
    }

    const fn name(&mut self, name: &Name) {
        match name {
            Name::Given(name) => self.text(name),
            Name::Counted(stem, number) => {
                self.text(stem);
                self.text("_");
                self.number(*number);
            }
        }
    }

    const fn pattern(&mut self, pattern: &Pattern) {
        self.text("(");
        let sizes = pattern.sizes();
        let mut i = 0;
        while i < sizes.len() {
            if i > 0 {
                self.text(", ");
            }
            match sizes[i] {
                Some(size) => self.number(size),
                None => self.text("None"),
            }
            i += 1;
        }
        self.text(")");
    }

    const fn shape(&mut self, shape: &Shape) {
        self.text("(");
        let sizes = shape.sizes();
        let mut i = 0;
        while i < sizes.len() {
            if i > 0 {
                self.text(", ");
            }
            self.number(sizes[i]);
            i += 1;
        }
        self.text(")");
    }
}
