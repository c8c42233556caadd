//! Which tiles a product is cut into, and into how many parts its sums.
//!
//! A product of m × k by k × n numbers is made by blocks of `kernels/product_tiles.cuh`, each on one multiprocessor.
//! Large tiles fetch each number less often; small ones, and parts of k ("splits"), give work to all multiprocessors
//! where there are few sums. [`ways`] has them in the order of what a small model of the device says they take. Its clock
//! cycles are those of an H100; only their proportions matter. Which is fastest is measured where it can be:
//! [`super::choices`].

use crate::engine::Precision;

/// The size of a block's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiles {
    /// Rows of the sums a block makes.
    pub m: usize,
    /// Their columns.
    pub n: usize,
    /// Numbers of k that it multiplies between two barriers.
    pub k: usize,
    pub threads: u32,
}

/// Tiles that the kernels know (the table in `product_tiles.cuh` has more), for single precision and TF32. For
/// bfloat16 k is 32 throughout: its numbers take half the room.
const KNOWN: [(usize, usize, usize, u32); 7] = [
    (128, 128, 16, 256),
    (128, 128, 16, 128),
    (128, 64, 16, 256),
    (128, 32, 16, 128),
    (64, 64, 32, 128),
    (64, 32, 32, 128),
    (32, 32, 32, 128),
];

/// Most parts of a sum, and most sums of all parts together: they cost memory.
const MOST_SPLITS: usize = 256;
const MOST_PARTIAL_SUMS: usize = 1 << 25;

/// Most numbers of k in a part where it may be split. One run of sums loses digits as it grows, the more so by tensor
/// cores, which cut off what does not fit: half of 2⁻²⁴ of the sum each eight numbers.
const LONGEST: usize = 1 << 15;

/// Cycles between two kernels of which one needs the other.
const LAUNCH: f64 = 2000.0;

/// Cycles of a block beside its steps: addresses, the first wait for memory, the sums' way there.
const BLOCK: f64 = 1500.0;

/// Cycles that a wait for memory takes, and two barriers' distance at least.
const LATENCY: f64 = 700.0;
const BARRIER: f64 = 150.0;

/// Bytes that a multiprocessor gets in a cycle from the second-level cache, and from memory behind it.
const CACHE_BYTES: f64 = 32.0;
const MEMORY_BYTES: f64 = 16.0;

/// Most blocks of a grid along z: groups × splits.
const GRID_Z: usize = 65_535;

/// Threads of these kernels that the registers of a multiprocessor suffice for.
const RESIDENT: u32 = 512;

/// Sums of a thread from which on it needs twice the registers; single precision has no room for so many.
const MANY_SUMS: usize = 128;

/// Ways that take more than this times as long as the best are not worth a try.
const WORSE: f64 = 2.5;

impl Tiles {
    /// Sums of a thread.
    fn sums(self) -> usize {
        self.m * self.n / self.threads as usize
    }

    /// Blocks that a multiprocessor is to have registers for: two and more hide each other's waits.
    pub fn resident(self) -> u32 {
        let threads = if self.sums() < MANY_SUMS { RESIDENT } else { RESIDENT / 2 };
        threads / self.threads
    }
}

/// Tiles with a number of parts of k, for `groups` products of m × k by k × n numbers each, on a device with so many
/// multiprocessors: for each size of tiles the parts that are best for it, the fastest first. No part is empty.
pub(super) fn ways(
    m: usize,
    n: usize,
    k: usize,
    groups: usize,
    precision: Precision,
    multiprocessors: usize,
) -> Vec<(Tiles, usize)> {
    let product = Product { m, n, k, groups, precision, multiprocessors };
    let of = |(m, n, k, threads)| Tiles { m, n, k: if precision == Precision::Bf16 { 32 } else { k }, threads };
    let known = KNOWN.into_iter().map(of).filter(|tiles| precision != Precision::F32 || tiles.sums() < MANY_SUMS);
    let best = |tiles: Tiles| {
        let timed = product.splits(tiles).map(|splits| (product.cycles(tiles, splits), (tiles, splits)));
        // Of equals the first: the fewest parts.
        timed.reduce(|best, next| if next.0 < best.0 { next } else { best })
    };
    let mut ways: Vec<_> = known.filter_map(best).collect();
    // Of equals the first: the largest tiles.
    ways.sort_by(|a, b| a.0.total_cmp(&b.0));
    let most = WORSE * ways.first().map_or(0.0, |way| way.0);
    ways.into_iter().take_while(|way| way.0 <= most).map(|way| way.1).collect()
}

/// What is to be computed, and where.
struct Product {
    m: usize,
    n: usize,
    k: usize,
    groups: usize,
    precision: Precision,
    multiprocessors: usize,
}

impl Product {
    /// Numbers of parts worth a look: the least that have parts of each length.
    fn splits(&self, tiles: Tiles) -> impl Iterator<Item = usize> + use<> {
        let steps = self.k.div_ceil(tiles.k).max(1);
        let sums = (self.m * self.n * self.groups).max(1);
        let room = (MOST_PARTIAL_SUMS / sums).min(GRID_Z / self.groups.max(1)).clamp(1, MOST_SPLITS);
        let most = room.min(steps);
        let least = self.k.div_ceil(LONGEST).clamp(1, most);
        // A part has a whole number of steps, so that some numbers of parts would leave the last ones without any.
        let whole = move |splits: usize| steps.div_ceil(steps.div_ceil(splits));
        (least..=most).map(whole)
    }

    /// About how long it takes.
    fn cycles(&self, tiles: Tiles, splits: usize) -> f64 {
        let blocks = self.m.div_ceil(tiles.m) * self.n.div_ceil(tiles.n) * self.groups * splits;
        let steps = self.k.div_ceil(tiles.k).div_ceil(splits) as f64;
        let step = self.step(tiles);
        // A multiprocessor that has several blocks does one's work while others wait; a single one waits itself.
        let each = blocks.div_ceil(self.multiprocessors);
        let waves = each.div_ceil(tiles.resident() as usize) as f64;
        let alone = (LATENCY / ahead(tiles)).max(BARRIER + 1.3 * step);
        let products = (each as f64 * steps * step).max(waves * steps * alone);
        // Sums of parts are written, and read by a kernel that waits for them all.
        let bytes = 4.0 * (self.m * self.n * self.groups * 2 * splits) as f64;
        let addition = if splits > 1 { LAUNCH + bytes / (MEMORY_BYTES * self.multiprocessors as f64) } else { 0.0 };
        waves * BLOCK + products + addition
    }

    /// Cycles of one step of a block that has a multiprocessor for itself and waits for nothing.
    fn step(&self, tiles: Tiles) -> f64 {
        let numbers = ((tiles.m + tiles.n) * tiles.k) as f64;
        let products = (tiles.m * tiles.n * tiles.k) as f64;
        let warps = tiles.threads as f64 / 32.0;
        // What the arithmetic units do in a cycle, and how often warps read shared memory: per k, or per 8 words of
        // it.
        let (rate, reads) = match self.precision {
            Precision::F32 => {
                let sums = tiles.sums();
                let rows = if sums >= 32 { 8 } else { 4 };
                (128.0, tiles.k as f64 * (rows + sums / rows) as f64 / 2.0)
            }
            Precision::Tf32 => (512.0, tiles.k as f64 / 8.0 * fragments(tiles)),
            Precision::Bf16 => (1024.0, tiles.k as f64 / 16.0 * fragments(tiles)),
        };
        // Some twenty instructions bring four numbers into shared memory, 128 in a cycle.
        let fetch = numbers * 20.0 / 4.0 / 128.0;
        ((products / rate).max(warps * reads) + fetch).max(numbers * 4.0 / CACHE_BYTES)
    }
}

/// Words a lane reads for eight words of k, where a warp's tensor core products are about a square.
fn fragments(tiles: Tiles) -> f64 {
    let side = ((tiles.m * tiles.n) as f64 / (tiles.threads as f64 / 32.0)).sqrt();
    side / 16.0 * 4.0 + side / 8.0 * 2.0
}

/// Steps that are fetched ahead, as `Tiling::AHEAD` has it.
fn ahead(tiles: Tiles) -> f64 {
    let fetched = (tiles.m + tiles.n) * tiles.k / tiles.threads as usize;
    match fetched {
        _ if tiles.sums() >= 64 => 1.0,
        17.. => 1.0,
        9.. => 2.0,
        _ => 4.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Tf32, Precision::Bf16];

    /// Sizes of layers: m, n, k, groups.
    const SIZES: [(usize, usize, usize, usize); 13] = [
        (1, 1, 1, 1),
        (64 * 26 * 26, 32, 9, 1),
        (64 * 11 * 11, 64, 288, 1),
        (64 * 3 * 3, 64, 576, 1),
        (64, 64, 576, 1),
        (64, 10, 64, 1),
        (9, 32, 64 * 26 * 26, 1),
        (576, 64, 64 * 3 * 3, 1),
        (32 * 150 * 150, 64, 27, 1),
        (27, 64, 32 * 150 * 150, 1),
        (4608, 512, 32 * 9 * 9, 1),
        (1000, 4, 36, 32),
        (9, 1, 32 * 112 * 112, 1024),
    ];

    /// Calls `check` with every size, precision, number of multiprocessors and way.
    fn everywhere(check: impl Fn((usize, usize, usize, usize), Precision, usize, Tiles, usize)) {
        for size @ (m, n, k, groups) in SIZES {
            for precision in PRECISIONS {
                for multiprocessors in [1, 20, 132] {
                    let ways = ways(m, n, k, groups, precision, multiprocessors);
                    assert!(!ways.is_empty(), "{size:?}");
                    ways.iter().for_each(|(tiles, splits)| check(size, precision, multiprocessors, *tiles, *splits));
                }
            }
        }
    }

    fn choose(m: usize, n: usize, k: usize, precision: Precision, multiprocessors: usize) -> (Tiles, usize) {
        ways(m, n, k, 1, precision, multiprocessors)[0]
    }

    /// The conditions that `Tiling` asserts.
    #[test]
    fn tiles_are_valid() {
        everywhere(|_, precision, _, tiles, _| {
            let threads = tiles.threads as usize;
            let sums = tiles.m * tiles.n / threads;
            let units = tiles.n * tiles.k / 4 / threads;
            assert!(
                [32, 64, 128].contains(&tiles.m) && [32, 64, 128].contains(&tiles.n) && tiles.m >= tiles.n,
                "{tiles:?}"
            );
            assert!([16, 32].contains(&tiles.k) && [128, 256].contains(&threads), "{tiles:?}");
            let most = if precision == Precision::F32 { 64 } else { 128 };
            assert!((8..=most).contains(&sums) && tiles.resident() > 0, "{tiles:?}");
            assert!(units >= if precision == Precision::Bf16 { 2 } else { 1 }, "{tiles:?}");
            assert!(precision == Precision::Bf16 || (tiles.m + tiles.n) * tiles.k <= 4096, "{tiles:?}");
        });
    }

    /// Parts are cut as `Range` cuts them.
    #[test]
    fn no_part_is_empty() {
        everywhere(|(.., k, groups), _, _, tiles, splits| {
            let part = k.div_ceil(tiles.k).div_ceil(splits) * tiles.k;
            assert!((splits - 1) * part < k && splits * part >= k, "{k} in {splits} parts of {part}");
            assert!(splits * groups <= GRID_Z);
        });
    }

    #[test]
    fn long_sums_are_cut() {
        everywhere(|(m, n, k, _), _, _, tiles, splits| {
            assert!(k.div_ceil(splits) <= LONGEST + tiles.k, "{m} × {k} × {n} in {splits} parts");
        });
    }

    #[test]
    fn small_products_fill_more_multiprocessors() {
        for precision in PRECISIONS {
            let blocks = |m: usize, n: usize, k, multiprocessors| {
                let (tiles, splits) = choose(m, n, k, precision, multiprocessors);
                m.div_ceil(tiles.m) * n.div_ceil(tiles.n) * splits
            };
            // A dense layer, and the gradient of a first convolution's weights.
            for (m, n, k) in [(64, 512, 4096), (9, 32, 64 * 26 * 26)] {
                assert!(blocks(m, n, k, 132) > 132 / 3, "{} of {m} × {k} × {n}", blocks(m, n, k, 132));
                assert!(blocks(m, n, k, 132) > blocks(m, n, k, 4));
            }
        }
    }

    #[test]
    fn large_products_have_large_tiles() {
        for precision in PRECISIONS {
            let (tiles, splits) = choose(100_000, 512, 4608, precision, 132);
            assert_eq!((tiles.m, tiles.n, splits), (128, 128, 1), "{precision:?}");
        }
    }

    #[test]
    fn few_columns_have_narrow_tiles() {
        for precision in PRECISIONS {
            let (tiles, _) = choose(100_000, 20, 180, precision, 132);
            assert_eq!(tiles.n, 32, "{precision:?}");
        }
    }
}
