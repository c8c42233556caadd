//! Where buffers lie in one piece of memory: those that are never needed at the same time share places.

/// Tensors begin at multiples of so many bytes: what a GPU's memory transactions and vector loads like.
pub(super) const ALIGN: usize = 256;

/// Memory that is needed from one launch to another, both included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer {
    pub bytes: usize,
    pub first: usize,
    pub last: usize,
}

impl Buffer {
    fn meets(&self, other: &Buffer) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// The first byte of each buffer, and how many bytes there have to be. The largest choose first, and each takes the
/// lowest gap that it fits into.
pub(super) fn place(buffers: &[Buffer]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&number| (std::cmp::Reverse(buffers[number].bytes), number));
    let mut places = vec![0; buffers.len()];
    // Those that have places, by their places.
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for number in order {
        let buffer = &buffers[number];
        let mut at = 0;
        for &other in placed.iter().filter(|&&other| buffers[other].meets(buffer)) {
            if at + buffer.bytes <= places[other] {
                break;
            }
            at = at.max((places[other] + buffers[other].bytes).next_multiple_of(ALIGN));
        }
        places[number] = at;
        let rank = placed.partition_point(|&other| places[other] <= at);
        placed.insert(rank, number);
        total = total.max(at + buffer.bytes);
    }
    (places, total.next_multiple_of(ALIGN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn what_lives_at_the_same_time_has_places_of_its_own() {
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..200 {
            let buffer = |_| {
                let first = random.random_range(0..20);
                Buffer { bytes: random.random_range(1..5000), first, last: first + random.random_range(0..6) }
            };
            let buffers: Vec<Buffer> = (0..30).map(buffer).collect();
            let (places, total) = place(&buffers);
            for (i, a) in buffers.iter().enumerate() {
                assert!(places[i].is_multiple_of(ALIGN) && places[i] + a.bytes <= total);
                for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                    let apart = places[i] + a.bytes <= places[j] || places[j] + b.bytes <= places[i];
                    assert!(apart || !a.meets(b), "{a:?} at {} and {b:?} at {}", places[i], places[j]);
                }
            }
        }
    }

    #[test]
    fn a_chain_needs_room_for_two() {
        let chain: Vec<Buffer> = (0..10).map(|i| Buffer { bytes: 1024, first: i, last: i + 1 }).collect();
        assert_eq!(place(&chain).1, 2048);
    }
}
