//! Shapes as far as the macro can see them, and the rules (`rules`) by which a layer changes one.
//!
//! A size that the macro does not know makes what depends on it unknown, too, and what is unknown is never wrong.

use crate::layer::{InputShape, Size};
use std::fmt;

mod params;
mod rules;

pub use params::{Params, params};
pub use rules::{Misfit, behind, meant, merged, pad, remaining, repeated, through};

/// One size of a shape.
#[derive(Clone, PartialEq)]
pub enum Dim {
    /// The number.
    Known(usize),
    /// What the listing says of it; `?` if nothing.
    Open(String),
}

/// The shape between two layers.
#[derive(Clone, PartialEq)]
pub enum Shape {
    /// Height, width, channels.
    Map([Dim; 3]),
    /// Features.
    Vector(Dim),
    /// Behind a network or a layer that the macro does not know.
    Unknown,
}

/// A size of which nothing is known.
pub fn unknown() -> Dim {
    Dim::Open("?".to_string())
}

impl From<&Size> for Dim {
    fn from(size: &Size) -> Self {
        match size {
            Size::Known(number) => Dim::Known(*number),
            other => Dim::Open(other.text()),
        }
    }
}

impl From<&InputShape> for Shape {
    fn from(input: &InputShape) -> Self {
        match input {
            InputShape::Map(sizes) => Shape::Map(sizes.each_ref().map(Dim::from)),
            InputShape::Vector(size) => Shape::Vector(size.into()),
            InputShape::Faulty => Shape::Unknown,
        }
    }
}

impl Dim {
    /// The number, if it is known.
    pub fn known(&self) -> Option<usize> {
        match self {
            Dim::Known(number) => Some(*number),
            Dim::Open(_) => None,
        }
    }
}

impl Shape {
    /// Its sizes; none if nothing is known of it.
    pub fn dims(&self) -> &[Dim] {
        match self {
            Shape::Map(dims) => dims,
            Shape::Vector(dim) => std::slice::from_ref(dim),
            Shape::Unknown => &[],
        }
    }

    /// How many values it has, if all its sizes are known.
    pub fn values(&self) -> Option<u128> {
        let sizes: Option<Vec<u128>> = self.dims().iter().map(|dim| dim.known().map(|size| size as u128)).collect();
        let product = |sizes: Vec<u128>| sizes.into_iter().fold(1, u128::saturating_mul);
        sizes.filter(|sizes| !sizes.is_empty()).map(product)
    }

    /// Whether some of its sizes are not known.
    pub fn has_open(&self) -> bool {
        self.dims().iter().any(|dim| dim.known().is_none())
    }

    /// Its channels or features.
    pub fn channels(&self) -> Option<usize> {
        self.dims().last().and_then(Dim::known)
    }

    /// What is known of either, if they are the same shape; `other` where they cannot be.
    pub fn meet(&self, other: &Shape) -> Shape {
        let both = |a: &Dim, b: &Dim| if a.known().is_some() { a.clone() } else { b.clone() };
        match (self, other) {
            _ if self.differs(other) => other.clone(),
            (Shape::Map([a, b, c]), Shape::Map([x, y, z])) => Shape::Map([both(a, x), both(b, y), both(c, z)]),
            (Shape::Vector(a), Shape::Vector(b)) => Shape::Vector(both(a, b)),
            (Shape::Unknown, known) | (known, _) => known.clone(),
        }
    }

    /// Whether this cannot be that, whatever the open sizes are.
    pub fn differs(&self, other: &Shape) -> bool {
        let (ours, theirs) = (self.dims(), other.dims());
        let apart = |(a, b): (&Dim, &Dim)| matches!((a, b), (Dim::Known(a), Dim::Known(b)) if a != b);
        !ours.is_empty() && !theirs.is_empty() && (ours.len() != theirs.len() || ours.iter().zip(theirs).any(apart))
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Known(number) => number.fmt(f),
            Dim::Open(text) => text.fmt(f),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.dims().iter().map(Dim::to_string).collect();
        if dims.is_empty() { write!(f, "(?)") } else { write!(f, "({})", dims.join(", ")) }
    }
}
