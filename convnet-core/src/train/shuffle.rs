//! The order in which an epoch visits the images.

use super::random::{Purpose, Stream};

/// Fills `order` with `0..order.len()` in the order of epoch `epoch` (from 0), which depends on nothing but the
/// length, the seed and the epoch: a training that is taken up again goes on as if it had not been left.
///
/// Fisher and Yates's shuffle as Durstenfeld (1964) wrote it: from the last place i down to the first but one, the
/// image there changes places with the one at [`Stream::below`]`(i + 1)`, drawn from stream `epoch` of
/// [`Purpose::Shuffle`]. Whatever engine does the same visits the images in the same order.
pub fn shuffle(order: &mut [u32], seed: u64, epoch: u64) {
    for (place, image) in order.iter_mut().zip(0..) {
        *place = image;
    }
    let mut stream = Stream::new(seed, Purpose::Shuffle, epoch);
    for i in (1..order.len()).rev() {
        order.swap(i, stream.below(i as u32 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shuffled(len: usize, seed: u64, epoch: u64) -> Vec<u32> {
        let mut order = vec![77; len];
        shuffle(&mut order, seed, epoch);
        order
    }

    #[test]
    fn every_image_comes_once() {
        for len in [0, 1, 2, 1000] {
            let mut order = shuffled(len, 3, 0);
            order.sort_unstable();
            assert!(order.into_iter().eq(0..len as u32));
        }
    }

    #[test]
    fn seed_and_epoch_change_the_order_and_nothing_else_does() {
        let first = shuffled(1000, 3, 0);
        assert_eq!(first, shuffled(1000, 3, 0));
        assert_ne!(first, shuffled(1000, 3, 1));
        assert_ne!(first, shuffled(1000, 4, 0));
        // The promise of `random`: these never change.
        assert_eq!(shuffled(10, 42, 0), PROMISED);
    }

    const PROMISED: [u32; 10] = [9, 7, 6, 3, 2, 5, 1, 4, 8, 0];

    #[test]
    fn every_order_is_equally_likely() {
        let mut counts = std::collections::HashMap::new();
        for epoch in 0..24_000 {
            *counts.entry(shuffled(4, 9, epoch)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
