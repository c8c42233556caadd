//! How products are cut: what was measured on this machine, and else what the model of [`super::tiles`] says.
//!
//! The model knows no GPU from within. Where the machine can tell the time, the ways that the model thinks best are tried
//! when a product is first needed, and the fastest is kept on disk, by GPU and driver: as long as it is, a network
//! computes the same bits every time it runs there. `exact` models do without, and compute the same bits on all GPUs of
//! one kind.

use super::tiles::{Tiles, ways};
use crate::engine::Precision;
use std::collections::HashMap;

/// Tiles, and the parts that sums are made in.
pub(super) type Way = (Tiles, usize);

/// The sizes that tiles are chosen by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Rows and columns of the product's result and the length of its sums.
    pub product: [usize; 3],
    pub groups: usize,
    pub precision: Precision,
    pub multiprocessors: usize,
}

impl Sizes {
    /// Those worth a try, the one that the model likes best first.
    pub fn ways(&self) -> Vec<Way> {
        let Sizes { product: [m, n, k], groups, precision, multiprocessors } = *self;
        ways(m, n, k, groups, precision, multiprocessors)
    }
}

/// What was found so far, by the name of the product.
#[derive(Debug, Default)]
pub(super) struct Choices(HashMap<String, Way>);

impl Choices {
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn add(&mut self, name: String, way: Way) {
        self.0.insert(name, way);
    }

    /// How the product of this name and these sizes is cut.
    pub fn way(&self, name: &str, sizes: &Sizes) -> Way {
        match self.0.get(name) {
            Some(way) => *way,
            None => sizes.ways()[0],
        }
    }
}

/// A way as it is kept on disk.
pub(super) fn to_text((tiles, splits): &Way) -> String {
    format!("{} {} {} {} {splits}", tiles.m, tiles.n, tiles.k, tiles.threads)
}

/// The one among `ways` that the text says; a file of another program's, or of a model since changed, says none.
pub(super) fn from_text(text: &[u8], ways: &[Way]) -> Option<Way> {
    ways.iter().copied().find(|way| to_text(way).as_bytes() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes =
        Sizes { product: [64 * 121, 64, 288], groups: 1, precision: Precision::Tf32, multiprocessors: 132 };

    #[test]
    fn ways_are_found_again_in_their_text() {
        let ways = SIZES.ways();
        assert!(ways.len() > 2, "{ways:?}");
        for way in &ways {
            assert_eq!(from_text(to_text(way).as_bytes(), &ways), Some(*way));
        }
        for other in ["", "128 128 16 256", "7 7 7 7 7", "128 128 16 256 1 "] {
            assert_eq!(from_text(other.as_bytes(), &ways), None, "{other:?}");
        }
    }

    #[test]
    fn what_was_measured_goes_before_the_model() {
        let (mut choices, ways) = (Choices::default(), SIZES.ways());
        assert_eq!(choices.way("a", &SIZES), ways[0]);
        choices.add("a".to_owned(), ways[1]);
        assert!(choices.has("a") && !choices.has("b"));
        assert_eq!([choices.way("a", &SIZES), choices.way("b", &SIZES)], [ways[1], ways[0]]);
    }
}
