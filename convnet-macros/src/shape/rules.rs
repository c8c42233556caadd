//! How layers change shapes: the rules of `convnet_core::plan`.

use super::{Dim, Shape, unknown};
use crate::layer::{Layer, Merging, Op, Padding, Size, Window};

/// Why a layer cannot take a shape.
#[derive(Clone, Copy, PartialEq)]
pub enum Misfit {
    /// The window reaches further than the map.
    WindowTooLarge,
    /// A layer for maps on a vector.
    NeedsMap,
    /// A `Dense` on a map.
    NeedsVector,
    /// A `Flatten` on a vector.
    AlreadyFlat,
    /// Channels or filters that cannot be cut into these groups.
    Groups,
    /// Another number of values.
    Reshape,
    /// A size that is left to be computed.
    Inferred,
    /// Branches that cannot be merged, or a network that wants another shape.
    Inside,
}

/// The shape behind a layer without others within.
pub fn behind(op: &Op, above: &Shape) -> Result<Shape, Misfit> {
    match (op, above) {
        (Op::Conv2D { filters, groups, window, .. }, _) => {
            let divides = |size: Option<usize>| match (groups.known(), size) {
                (Some(groups), Some(size)) => size.is_multiple_of(groups),
                _ => true,
            };
            let map = matches!(above, Shape::Map(_));
            if map && !(divides(filters.known()) && divides(above.channels())) {
                return Err(Misfit::Groups);
            }
            slide(window, above, Some(filters.into()))
        }
        (Op::DepthwiseConv2D { multiplier, window, .. }, _) => {
            let channels = match above {
                Shape::Map([.., channels]) => times(channels, multiplier),
                _ => unknown(),
            };
            slide(window, above, Some(channels))
        }
        (Op::SeparableConv2D { filters, window, .. }, _) => slide(window, above, Some(filters.into())),
        (Op::MaxPooling2D { window } | Op::AveragePooling2D { window }, _) => slide(window, above, None),
        (Op::GlobalAveragePooling2D { keepdims } | Op::GlobalMaxPooling2D { keepdims }, _) => {
            let [_, _, channels] = map(above)?;
            let one = || Dim::Known(1);
            Ok(if *keepdims { Shape::Map([one(), one(), channels]) } else { Shape::Vector(channels) })
        }
        (Op::ZeroPadding2D { sides: [top, bottom, left, right] }, _) => {
            let [height, width, channels] = map(above)?;
            Ok(Shape::Map([wider(&height, top, bottom), wider(&width, left, right), channels]))
        }
        (Op::UpSampling2D { factors: [rows, columns], .. }, _) => {
            let [height, width, channels] = map(above)?;
            Ok(Shape::Map([times(&height, rows), times(&width, columns), channels]))
        }
        (Op::Flatten, Shape::Map(_)) => Ok(Shape::Vector(flat(above))),
        (Op::Flatten, Shape::Vector(_)) => Err(Misfit::AlreadyFlat),
        (Op::Flatten, Shape::Unknown) => Ok(Shape::Vector(unknown())),
        (Op::Reshape { inferred: Some(_), .. }, _) => Err(Misfit::Inferred),
        (Op::Reshape { target, .. }, _) => {
            let target = Shape::from(target);
            match (target.values(), above.values()) {
                (Some(wanted), Some(there)) if wanted != there => Err(Misfit::Reshape),
                _ => Ok(target),
            }
        }
        (Op::Dense { .. }, Shape::Map(_)) => Err(Misfit::NeedsVector),
        (Op::Dense { units, .. }, _) => Ok(Shape::Vector(units.into())),
        (Op::Activation(_) | Op::Softmax | Op::ReLU { .. } | Op::LeakyReLU { .. }, _) => Ok(above.clone()),
        (Op::Rescaling { .. } | Op::Dropout { .. } | Op::BatchNormalization { .. }, _) => Ok(above.clone()),
        (Op::Faulty { keeps_shape: true }, _) => Ok(above.clone()),
        (Op::Faulty { .. } | Op::Network { .. } | Op::Merge { .. } | Op::Repeat { .. }, _) => Ok(Shape::Unknown),
    }
}

/// The shape to go on with after a misfit: the one that the layer was meant to have.
pub fn meant(op: &Op, above: &Shape, misfit: Misfit) -> Shape {
    match (misfit, op) {
        (Misfit::WindowTooLarge, _) => {
            let mut padded = op.clone();
            pad(&mut padded);
            behind(&padded, above).unwrap_or(Shape::Unknown)
        }
        (Misfit::Groups, Op::Conv2D { filters, window, .. }) => {
            let filters = Dim::from(filters);
            slide(window, above, Some(filters.clone()))
                .or_else(|_| slide(&padded(window), above, Some(filters)))
                .unwrap_or(Shape::Unknown)
        }
        (Misfit::NeedsVector, Op::Dense { units, .. }) => Shape::Vector(units.into()),
        (Misfit::AlreadyFlat, _) => above.clone(),
        (Misfit::Reshape, Op::Reshape { target, .. }) => target.into(),
        (Misfit::Inferred, Op::Reshape { target, inferred: Some(place), .. }) => {
            let mut target = target.clone();
            if let (Some(size), Some(number)) = (target.sizes_mut().get_mut(*place), remaining(op, above)) {
                *size = Size::Known(number);
            }
            Shape::from(&target)
        }
        _ => Shape::Unknown,
    }
}

/// The size that a -1 in a `Reshape` stands for, if that is known.
pub fn remaining(op: &Op, above: &Shape) -> Option<usize> {
    let Op::Reshape { target, inferred: Some(place), .. } = op else { return None };
    let others = target.sizes().iter().enumerate().filter(|(other, _)| other != place);
    let taken = others.map(|(_, size)| size.known()).try_fold(1u128, |taken, size| Some(taken * size? as u128))?;
    let values = above.values().filter(|values| values.is_multiple_of(taken))?;
    usize::try_from(values / taken).ok()
}

/// Gives a layer's window `padding = "same"`, which fits every map.
pub fn pad(op: &mut Op) {
    match op {
        Op::Conv2D { window, .. } | Op::DepthwiseConv2D { window, .. } | Op::SeparableConv2D { window, .. } => {
            *window = padded(window);
        }
        Op::MaxPooling2D { window } | Op::AveragePooling2D { window } => *window = padded(window),
        _ => {}
    }
}

fn padded(window: &Window) -> Window {
    Window { padding: Padding::Same, ..window.clone() }
}

/// The shape behind a merge; for branches that do not fit, the number of the one that differs from the first.
pub fn merged(merging: Merging, ends: &[Shape]) -> Result<Shape, usize> {
    let Some(first) = ends.first() else { return Ok(Shape::Unknown) };
    let compared: Vec<Shape> = match merging {
        Merging::Add => ends.to_vec(),
        Merging::Concatenate => ends.iter().map(but_channels).collect(),
    };
    let mut all = compared[0].clone();
    for (i, end) in compared.iter().enumerate().skip(1) {
        if compared[0].differs(end) {
            return Err(i);
        }
        all = all.meet(end);
    }
    if merging == Merging::Add {
        return Ok(all);
    }
    let channels: Option<usize> =
        ends.iter().map(Shape::channels).try_fold(0usize, |sum, channels| Some(sum.saturating_add(channels?)));
    let channels = channels.map_or_else(unknown, Dim::Known);
    Ok(match (all, first) {
        (Shape::Map([height, width, _]), _) => Shape::Map([height, width, channels]),
        (Shape::Vector(_), _) => Shape::Vector(channels),
        (Shape::Unknown, _) => Shape::Unknown,
    })
}

fn but_channels(shape: &Shape) -> Shape {
    match shape {
        Shape::Map([height, width, _]) => Shape::Map([height.clone(), width.clone(), unknown()]),
        Shape::Vector(_) => Shape::Vector(unknown()),
        Shape::Unknown => Shape::Unknown,
    }
}

/// The shape behind a `Repeat` of an unknown number, from those around its first round.
pub fn repeated(before: &Shape, behind: &Shape) -> Shape {
    let same = |a: &Dim, b: &Dim| if a == b { a.clone() } else { unknown() };
    match (before, behind) {
        (Shape::Map([a, b, c]), Shape::Map([x, y, z])) => Shape::Map([same(a, x), same(b, y), same(c, z)]),
        (Shape::Vector(a), Shape::Vector(b)) => Shape::Vector(same(a, b)),
        _ => Shape::Unknown,
    }
}

/// The shape behind layers, those within layers among them.
pub fn through(layers: &[Layer], above: &Shape) -> Result<Shape, Misfit> {
    let mut shape = above.clone();
    for layer in layers {
        shape = match &layer.op {
            Op::Merge { merging, branches } => {
                let ends: Result<Vec<Shape>, Misfit> = branches.iter().map(|branch| through(branch, &shape)).collect();
                merged(*merging, &ends?).map_err(|_| Misfit::Inside)?
            }
            Op::Repeat { times, layers } => repeatedly(times, layers, &shape)?,
            Op::Network { known: Some(known), .. } => {
                let input = Shape::from(&known.input);
                if shape.differs(&input) {
                    return Err(Misfit::Inside);
                }
                through(&known.layers, &shape.meet(&input))?
            }
            op => behind(op, &shape)?,
        };
    }
    Ok(shape)
}

fn repeatedly(times: &Size, layers: &[Layer], above: &Shape) -> Result<Shape, Misfit> {
    let mut shape = through(layers, above)?;
    let Some(times) = times.known() else { return Ok(repeated(above, &shape)) };
    // Where a round changes nothing, none does; and the plan has no room for more rounds than these.
    for _ in 1..times.min(crate::check::MAX_LAYERS) {
        let next = through(layers, &shape)?;
        if next == shape {
            break;
        }
        shape = next;
    }
    Ok(shape)
}

impl Window {
    /// How far it reaches along an axis, if that is known: `dilation · (size − 1) + 1`.
    pub fn reach(&self, axis: usize) -> Option<usize> {
        let (size, dilation) = (self.size[axis].known()?, self.dilation[axis].known());
        if size == 1 { Some(1) } else { Some(dilation?.saturating_mul(size - 1).saturating_add(1)) }
    }

    /// Its places along an axis of the map; none if it does not fit.
    fn places(&self, axis: usize, input: &Dim) -> Option<Dim> {
        let (reach, stride) = (self.reach(axis), self.strides[axis].known());
        let steps = |room: usize| stride.map_or_else(unknown, |stride| Dim::Known(room / stride + 1));
        match (self.padding, input, reach) {
            (Padding::Same, _, _) | (Padding::Valid, _, Some(1)) if stride == Some(1) => Some(input.clone()),
            (Padding::Same, Dim::Known(input), _) => Some(steps(input.saturating_sub(1))),
            (Padding::Valid, Dim::Known(input), Some(reach)) if reach > *input => None,
            (Padding::Valid, Dim::Known(input), Some(reach)) => Some(steps(input - reach)),
            _ => Some(unknown()),
        }
    }
}

/// The map behind a window, with new channels or those above.
fn slide(window: &Window, above: &Shape, channels: Option<Dim>) -> Result<Shape, Misfit> {
    let [height, width, above_channels] = map(above)?;
    match (window.places(0, &height), window.places(1, &width)) {
        (Some(height), Some(width)) => Ok(Shape::Map([height, width, channels.unwrap_or(above_channels)])),
        _ => Err(Misfit::WindowTooLarge),
    }
}

/// The sizes of a map.
fn map(above: &Shape) -> Result<[Dim; 3], Misfit> {
    match above {
        Shape::Map(dims) => Ok(dims.clone()),
        Shape::Unknown => Ok([unknown(), unknown(), unknown()]),
        Shape::Vector(_) => Err(Misfit::NeedsMap),
    }
}

fn times(dim: &Dim, factor: &Size) -> Dim {
    match (dim, factor.known()) {
        (Dim::Known(dim), Some(factor)) => Dim::Known(dim.saturating_mul(factor)),
        (_, Some(1)) => dim.clone(),
        _ => unknown(),
    }
}

fn wider(dim: &Dim, before: &Size, behind: &Size) -> Dim {
    match (dim, before.known(), behind.known()) {
        (Dim::Known(dim), Some(before), Some(behind)) => Dim::Known(dim.saturating_add(before).saturating_add(behind)),
        (_, Some(0), Some(0)) => dim.clone(),
        _ => unknown(),
    }
}

fn flat(above: &Shape) -> Dim {
    above.values().and_then(|values| usize::try_from(values).ok()).map_or_else(unknown, Dim::Known)
}
