//! Branches in the dry run, and what to say of those that do not fit.

use super::{Stop, Walk, messages::trail_from};
use crate::error::Complaint;
use crate::layer::{Layer, Merging, Op};
use crate::shape::{Params, Shape, merged, pad, through};
use proc_macro2::TokenStream;

/// Where a branch ends.
struct End<'a> {
    layers: &'a [Layer],
    stops: Vec<Stop>,
    shape: Shape,
    tensor: usize,
}

impl Walk<'_> {
    /// Walks through the branches, then merges them.
    pub fn merge(&mut self, layer: &Layer, merging: Merging, branches: &[Vec<Layer>]) {
        let (fork, tensor) = (self.shape.clone(), self.tensor);
        let (stem, complaints) = (self.path.len(), self.errors.count());
        let mut ends = Vec::new();
        for branch in branches {
            (self.shape, self.tensor) = (fork.clone(), tensor);
            self.layers(branch, false);
            let stops = self.path.split_off(stem);
            ends.push(End { layers: branch, stops, shape: self.shape.clone(), tensor: self.tensor });
        }
        if self.too_many {
            return;
        }
        self.shape = fork.clone();
        self.check_count(layer);
        let name = self.name(layer);
        let shapes: Vec<Shape> = ends.iter().map(|end| end.shape.clone()).collect();
        // What to go on with: maps and vectors together leave nothing to be sure of.
        let alike = shapes.windows(2).all(|pair| pair[0].dims().len() == pair[1].dims().len());
        let longest = ends.iter().filter(|_| alike).max_by_key(|end| end.stops.len());
        let longest = || longest.map_or(Shape::Unknown, |end| end.shape.clone());
        let shape = merged(merging, &shapes).unwrap_or_else(|other| {
            // A mistake within a branch has been complained about, and this may follow from it.
            if self.errors.count() == complaints {
                let complaint = self.misfit_of_branches(layer, merging, &fork, &ends, other);
                self.complain(layer, &TokenStream::new(), complaint);
            }
            longest()
        });
        self.shape = shape;
        self.check_volume(layer, None);
        let inputs = ends.iter().map(|end| end.tensor).collect();
        self.arrive(name, layer.op.kind(), Some(Params::default()), inputs);
    }

    fn misfit_of_branches(
        &self,
        layer: &Layer,
        merging: Merging,
        fork: &Shape,
        ends: &[End],
        other: usize,
    ) -> Complaint {
        let (first, differs) = (&ends[0], &ends[other]);
        let number = other + 1;
        let sentence = format!(
            "{}: branch 1 gives {}, but branch {number} gives {}",
            self.label(layer.op.kind()),
            first.shape,
            differs.shape
        );
        let start = match self.path.last() {
            Some(stop) => format!("{} {}", stop.name, stop.shape),
            None => fork.to_string(),
        };
        let line = |number: usize, end: &End| {
            let nothing = if end.stops.is_empty() { " (no layer)" } else { "" };
            format!("branch {number}: {}{nothing}", trail_from(start.clone(), &end.stops))
        };
        Complaint::new(sentence)
            .trail(&line(1, first))
            .trail(&line(number, differs))
            .help(remedy(merging, fork, first, differs))
    }
}

/// What makes two branches fit.
fn remedy(merging: Merging, fork: &Shape, first: &End, other: &End) -> String {
    let joined = match merging {
        Merging::Add => "all must be alike",
        Merging::Concatenate => "all must be alike but for the channels",
    };
    let (Shape::Map(a), Shape::Map(b)) = (&first.shape, &other.shape) else {
        return match (&first.shape, &other.shape) {
            (Shape::Vector(_), Shape::Vector(_)) => {
                format!(
                    "{joined}: end both branches in the same number of units, as in `Dense({})`",
                    first.shape.dims()[0]
                )
            }
            _ => format!("{joined}: `Flatten()` or `GlobalAveragePooling2D()` makes a vector of a map"),
        };
    };
    let apart = |axis: usize| a[axis].known().is_some() && b[axis].known().is_some() && a[axis] != b[axis];
    let shortcut = [first, other].into_iter().find(|end| end.layers.is_empty());
    let main = [first, other].into_iter().find(|end| !end.layers.is_empty()).unwrap_or(first);
    let channels = &main.shape.dims()[2];
    if !apart(0) && !apart(1) {
        return match shortcut {
            Some(_) => format!("a convolution of 1×1 on the shortcut changes its channels: `[Conv2D({channels}, 1)]`"),
            None => format!("{joined}: give the last layers of both the same number of filters"),
        };
    }
    let padded = [first, other].map(|end| through(&with_padding(end.layers), fork).unwrap_or(Shape::Unknown));
    let fits = merged(merging, &padded).is_ok() && padded.iter().all(|shape| *shape != Shape::Unknown);
    let changed = padded[0] != first.shape || padded[1] != other.shape;
    if fits {
        return format!("{joined}: `padding = \"same\"` keeps height and width");
    }
    let [padded_map, other_map] = &padded;
    if let (Shape::Map([a, b, c]), Shape::Map([x, y, z]), Some(_)) = (padded_map, other_map, shortcut)
        && (a, b) == (x, y)
        && c != z
    {
        return format!(
            "`padding = \"same\"` keeps height and width, and `[Conv2D({channels}, 1)]` on the shortcut fits"
        );
    }
    let also = if changed { ", and `padding = \"same\"` in the other branch" } else { "" };
    let longer = if std::ptr::eq(main, first) { &padded[0] } else { &padded[1] };
    match (shortcut, strides(fork, longer)) {
        (Some(_), Some(strides)) => {
            let filters = if merging == Merging::Add { channels } else { &fork.dims()[2] };
            format!("give the shortcut the same strides: `[Conv2D({filters}, 1, strides = {strides})]`{also}")
        }
        _ => format!("{joined}: use the same strides, and `padding = \"same\"`, in both branches"),
    }
}

/// The strides that lead from one map to another, if one number does for both axes.
fn strides(from: &Shape, to: &Shape) -> Option<usize> {
    let (Shape::Map([height, width, _]), Shape::Map([rows, columns, _])) = (from, to) else { return None };
    let (height, width, rows, columns) = (height.known()?, width.known()?, rows.known()?, columns.known()?);
    (2..=8).find(|strides| (height - 1) / strides + 1 == rows && (width - 1) / strides + 1 == columns)
}

/// The same layers with `padding = "same"` in all their windows.
fn with_padding(layers: &[Layer]) -> Vec<Layer> {
    let mut layers = layers.to_vec();
    for layer in &mut layers {
        match &mut layer.op {
            Op::Merge { branches, .. } => {
                for branch in branches {
                    *branch = with_padding(branch);
                }
            }
            Op::Repeat { layers, .. } => *layers = with_padding(layers),
            op => pad(op),
        }
    }
    layers
}
