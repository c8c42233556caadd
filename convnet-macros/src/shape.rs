//! Shapes as far as the macro can see them, and the rules by which a layer changes one.
//!
//! The rules are those of `convnet_core::plan`; a size that the macro does not know makes what depends on it
//! unknown, too, and what is unknown is never wrong.

use crate::layer::{InputShape, Op, Padding, Size, Window};
use std::fmt;

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

/// Why a layer cannot take a shape.
pub enum Misfit {
    /// The window reaches further than the map.
    WindowTooLarge,
    /// A layer for maps on a vector.
    NeedsMap,
    /// A `Dense` on a map.
    NeedsVector,
    /// A `Flatten` on a vector.
    AlreadyFlat,
}

fn unknown() -> Dim {
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
        sizes.filter(|sizes| !sizes.is_empty()).map(|sizes| sizes.iter().product())
    }

    /// Its channels or features.
    pub fn channels(&self) -> Option<usize> {
        self.dims().last().and_then(Dim::known)
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

/// The shape behind a layer.
pub fn behind(op: &Op, above: &Shape) -> Result<Shape, Misfit> {
    match (op, above) {
        (Op::Faulty { keeps_shape: true }, _) => Ok(above.clone()),
        (Op::Faulty { .. } | Op::Network(_), _) => Ok(Shape::Unknown),
        (Op::Conv2D { filters, window, .. }, _) => slide(window, above, Some(filters.into())),
        (Op::MaxPooling2D { window }, _) => slide(window, above, None),
        (Op::Flatten, Shape::Map(_)) => Ok(Shape::Vector(flat(above))),
        (Op::Flatten, Shape::Vector(_)) => Err(Misfit::AlreadyFlat),
        (Op::Flatten, Shape::Unknown) => Ok(Shape::Vector(unknown())),
        (Op::Dense { .. }, Shape::Map(_)) => Err(Misfit::NeedsVector),
        (Op::Dense { units, .. }, _) => Ok(Shape::Vector(units.into())),
    }
}

/// The shape to go on with after a misfit: the one that the layer was meant to have.
pub fn meant(op: &Op, above: &Shape, misfit: &Misfit) -> Shape {
    match (misfit, op) {
        (Misfit::WindowTooLarge, Op::Conv2D { filters, window, .. }) => {
            slide(&window.padded(), above, Some(filters.into())).unwrap_or(Shape::Unknown)
        }
        (Misfit::WindowTooLarge, Op::MaxPooling2D { window }) => {
            slide(&window.padded(), above, None).unwrap_or(Shape::Unknown)
        }
        (Misfit::NeedsVector, Op::Dense { units, .. }) => Shape::Vector(units.into()),
        (Misfit::AlreadyFlat, _) => above.clone(),
        _ => Shape::Unknown,
    }
}

impl Window {
    /// The same window with `padding = "same"`, which fits every map.
    pub fn padded(&self) -> Window {
        Window { padding: Padding::Same, ..self.clone() }
    }

    /// How far it reaches along an axis, if that is known: `dilation · (size − 1) + 1`.
    pub fn reach(&self, axis: usize) -> Option<usize> {
        let (size, dilation) = (self.size[axis].known()?, self.dilation[axis].known());
        if size == 1 { Some(1) } else { Some(dilation? * (size - 1) + 1) }
    }

    /// Its places along an axis of the map; none if it does not fit.
    fn places(&self, axis: usize, input: &Dim) -> Option<Dim> {
        let (reach, stride) = (self.reach(axis), self.strides[axis].known());
        let steps = |room: usize| stride.map_or_else(unknown, |stride| Dim::Known(room / stride + 1));
        match (self.padding, input, reach) {
            (Padding::Same, _, _) | (Padding::Valid, _, Some(1)) if stride == Some(1) => Some(input.clone()),
            (Padding::Same, Dim::Known(input), _) => Some(steps(input - 1)),
            (Padding::Valid, Dim::Known(input), Some(reach)) if reach > *input => None,
            (Padding::Valid, Dim::Known(input), Some(reach)) => Some(steps(input - reach)),
            _ => Some(unknown()),
        }
    }
}

/// The map behind a window, with new channels or those above.
fn slide(window: &Window, above: &Shape, channels: Option<Dim>) -> Result<Shape, Misfit> {
    match above {
        Shape::Vector(_) => Err(Misfit::NeedsMap),
        Shape::Unknown => Ok(Shape::Map([unknown(), unknown(), channels.unwrap_or_else(unknown)])),
        Shape::Map([height, width, above_channels]) => match (window.places(0, height), window.places(1, width)) {
            (Some(height), Some(width)) => {
                Ok(Shape::Map([height, width, channels.unwrap_or_else(|| above_channels.clone())]))
            }
            _ => Err(Misfit::WindowTooLarge),
        },
    }
}

fn flat(above: &Shape) -> Dim {
    above.values().and_then(|values| usize::try_from(values).ok()).map_or_else(unknown, Dim::Known)
}

/// A layer's parameters, if they are known.
pub fn params(op: &Op, above: &Shape) -> Option<u128> {
    let (inputs, outputs, use_bias) = match op {
        Op::Conv2D { filters, window, use_bias, .. } => {
            let taps = window.size[0].known()? as u128 * window.size[1].known()? as u128;
            (taps.saturating_mul(above.channels()? as u128), filters.known()?, *use_bias)
        }
        Op::Dense { units, use_bias, .. } => (above.channels()? as u128, units.known()?, *use_bias),
        Op::MaxPooling2D { .. } | Op::Flatten => return Some(0),
        Op::Network(_) | Op::Faulty { .. } => return None,
    };
    let outputs = outputs as u128;
    Some(inputs.saturating_mul(outputs).saturating_add(if use_bias { outputs } else { 0 }))
}
