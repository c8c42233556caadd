//! The transforms of F(2×2, 3×3), F(3×3, 3×3) and F(4×4, 3×3) (Winograd 1980; Lavin & Gray 2015).
//!
//! One-dimensional: `y = Aᵀ [(G g) ⊙ (Bᵀ d)]` gives `M` outputs of three taps `g` over `M + 2` inputs `d` with `M + 2`
//! multiplications. In two dimensions each matrix is applied to rows and to columns. The backward pass is the
//! transposed algorithm: the gradient of `d` is `B [(G g) ⊙ (A dy)]`, that of `g` is `Gᵀ [(Bᵀ d) ⊙ (A dy)]`.
//!
//! The maps are written out, sums that two rows share computed once. (Loops over constant matrices, whose zeros and
//! ones the compiler was to fold away, were not unrolled: five times slower.) Points: 0, ±1, ∞; for M = 3 also 2; for
//! M = 4 0, ±√½, ∞, ±√2, as many operations as 0, ±1, ±2, ∞; the first four make up the short sides of [`super::edges`].
//! Larger tiles lose digits.

use super::super::block::{load, store};
use crate::engine::cpu::simd::Simd;

/// A linear map from `A` to `B` values.
pub(super) trait Map<const A: usize, const B: usize> {
    fn line<S: Simd>(s: S, x: [S::V; A]) -> [S::V; B];
}

/// Bᵀ
pub(super) struct Input;
/// B
pub(super) struct InputBack;
/// G
pub(super) struct Taps;
/// Gᵀ
pub(super) struct TapsBack;
/// Aᵀ
pub(super) struct Output;
/// A
pub(super) struct OutputBack;

/// The sizes that there are, with their six maps.
pub(super) trait Tile<const M: usize, const N: usize> {
    type Input: Map<N, N>;
    type InputBack: Map<N, N>;
    type Taps: Map<3, N>;
    type TapsBack: Map<N, 3>;
    type Output: Map<N, M>;
    type OutputBack: Map<M, N>;
}

/// F(M×M, 3×3) with `N = M + 2`.
pub(super) struct F;

macro_rules! size {
    ($m:literal, $n:literal, $s:ident,
     input: |$i:pat_param| $input:expr, input_back: |$ib:pat_param| $input_back:expr,
     taps: |$t:pat_param| $taps:expr, taps_back: |$tb:pat_param| $taps_back:expr,
     output: |$o:pat_param| $output:expr, output_back: |$ob:pat_param| $output_back:expr $(,)?) => {
        impl Tile<$m, $n> for F {
            type Input = Input;
            type InputBack = InputBack;
            type Taps = Taps;
            type TapsBack = TapsBack;
            type Output = Output;
            type OutputBack = OutputBack;
        }
        size!(map Input, $n, $n, $s, $i, $input);
        size!(map InputBack, $n, $n, $s, $ib, $input_back);
        size!(map Taps, 3, $n, $s, $t, $taps);
        size!(map TapsBack, $n, 3, $s, $tb, $taps_back);
        size!(map Output, $n, $m, $s, $o, $output);
        size!(map OutputBack, $m, $n, $s, $ob, $output_back);
    };
    (map $map:ident, $a:literal, $b:literal, $s:ident, $x:pat_param, $y:expr) => {
        impl Map<$a, $b> for $map {
            #[inline(always)]
            fn line<S: Simd>(simd: S, $x: [S::V; $a]) -> [S::V; $b] {
                let $s = Ops(simd);
                $y
            }
        }
    };
}

/// Short names for what the maps are made of.
#[derive(Clone, Copy)]
struct Ops<S>(S);

impl<S: Simd> Ops<S> {
    #[inline(always)]
    fn add(self, a: S::V, b: S::V) -> S::V {
        self.0.add(a, b)
    }
    #[inline(always)]
    fn sub(self, a: S::V, b: S::V) -> S::V {
        self.0.sub(a, b)
    }
    #[inline(always)]
    fn mul(self, k: f32, a: S::V) -> S::V {
        self.0.mul(self.0.splat(k), a)
    }
    /// `k · a + b`
    #[inline(always)]
    fn fma(self, k: f32, a: S::V, b: S::V) -> S::V {
        self.0.mul_add(self.0.splat(k), a, b)
    }
}

size!(2, 4, s,
    input: |[a, b, c, d]| [s.sub(a, c), s.add(b, c), s.sub(c, b), s.sub(b, d)],
    input_back: |[a, b, c, d]| [a, s.add(s.sub(b, c), d), s.add(s.sub(b, a), c), s.mul(-1.0, d)],
    taps: |[a, b, c]| {
        let (outer, middle) = (s.mul(0.5, s.add(a, c)), s.mul(0.5, b));
        [a, s.add(outer, middle), s.sub(outer, middle), c]
    },
    taps_back: |[a, b, c, d]| {
        let sum = s.add(b, c);
        [s.fma(0.5, sum, a), s.mul(0.5, s.sub(b, c)), s.fma(0.5, sum, d)]
    },
    output: |[a, b, c, d]| [s.add(a, s.add(b, c)), s.sub(s.sub(b, c), d)],
    output_back: |[a, b]| [a, s.add(a, b), s.sub(a, b), s.mul(-1.0, b)],
);

const SIXTH: f32 = 1.0 / 6.0;

size!(3, 5, s,
    input: |[a, b, c, d, e]| {
        let (db, t) = (s.sub(d, b), s.sub(d, c));
        [
            s.fma(2.0, s.sub(a, c), db),
            s.fma(-2.0, b, t),
            s.fma(2.0, s.sub(b, c), t),
            db,
            s.fma(-2.0, db, s.sub(e, c)),
        ]
    },
    input_back: |[a, b, c, d, e]| {
        let ae = s.sub(a, e);
        [
            s.mul(2.0, a),
            s.sub(s.fma(2.0, s.sub(c, b), s.mul(2.0, e)), s.add(a, d)),
            s.sub(s.fma(-2.0, a, s.fma(-3.0, c, s.mul(-1.0, b))), e),
            s.add(s.sub(ae, e), s.add(b, s.add(c, d))),
            e,
        ]
    },
    taps: |[a, b, c]| {
        let outer = s.add(a, c);
        [
            s.mul(0.5, a),
            s.mul(-0.5, s.add(outer, b)),
            s.mul(SIXTH, s.sub(b, outer)),
            s.mul(SIXTH, s.fma(4.0, c, s.fma(2.0, b, a))),
            c,
        ]
    },
    taps_back: |[a, b, c, d, e]| {
        let (c, d, half) = (s.mul(SIXTH, c), s.mul(SIXTH, d), s.mul(0.5, b));
        [
            s.add(s.fma(0.5, a, s.mul(-1.0, half)), s.sub(d, c)),
            s.add(s.sub(c, half), s.add(d, d)),
            s.add(s.fma(4.0, d, s.sub(e, c)), s.mul(-1.0, half)),
        ]
    },
    output: |[a, b, c, d, e]| {
        let (sum, difference) = (s.add(b, c), s.sub(b, c));
        [s.add(s.add(a, sum), d), s.fma(2.0, d, difference), s.fma(4.0, d, s.add(sum, e))]
    },
    output_back: |[a, b, c]| {
        let outer = s.add(a, c);
        [a, s.add(outer, b), s.sub(outer, b), s.fma(4.0, c, s.fma(2.0, b, a)), c]
    },
);

/// √½ and √2, the points of M = 4, the other roots of whose polynomial are −√½, −√2 and 0.
const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
const B: f32 = std::f32::consts::SQRT_2;

size!(4, 6, s,
    input: |[a, b, c, d, e, f]| {
        let (even, odd) = (s.fma(-2.0, c, e), s.fma(-2.0, b, d));
        let (even2, odd2) = (s.fma(-0.5, c, e), s.fma(-0.5, b, d));
        [
            s.fma(-2.5, c, s.add(a, e)),
            s.fma(A, odd, even),
            s.fma(-A, odd, even),
            s.fma(-2.5, d, s.add(b, f)),
            s.fma(B, odd2, even2),
            s.fma(-B, odd2, even2),
        ]
    },
    input_back: |[a, b, c, f, d, e]| {
        let (sum, difference) = (s.add(b, c), s.mul(A, s.sub(b, c)));
        let (sum2, difference2) = (s.add(d, e), s.mul(B, s.sub(d, e)));
        [
            a,
            s.fma(-2.0, difference, s.fma(-0.5, difference2, f)),
            s.fma(-2.5, a, s.fma(-2.0, sum, s.mul(-0.5, sum2))),
            s.fma(-2.5, f, s.add(difference, difference2)),
            s.add(a, s.add(sum, sum2)),
            f,
        ]
    },
    taps: |[a, b, c]| {
        let (outer, outer2) = (s.fma(0.5, c, a), s.fma(2.0, c, a));
        let (outer, outer2) = (s.mul(-4.0 * SIXTH, outer), s.mul(SIXTH, outer2));
        [
            a,
            s.fma(-4.0 * SIXTH * A, b, outer),
            s.fma(4.0 * SIXTH * A, b, outer),
            c,
            s.fma(SIXTH * B, b, outer2),
            s.fma(-SIXTH * B, b, outer2),
        ]
    },
    taps_back: |[a, b, c, f, d, e]| {
        let (sum, difference) = (s.mul(-4.0 * SIXTH, s.add(b, c)), s.sub(c, b));
        let (sum2, difference2) = (s.mul(SIXTH, s.add(d, e)), s.sub(d, e));
        [
            s.add(a, s.add(sum, sum2)),
            s.fma(4.0 * SIXTH * A, difference, s.mul(SIXTH * B, difference2)),
            s.fma(2.0, sum2, s.fma(0.5, sum, f)),
        ]
    },
    output: |[a, b, c, f, d, e]| {
        let (sum, difference) = (s.add(b, c), s.mul(A, s.sub(b, c)));
        let (sum2, difference2) = (s.add(d, e), s.mul(B, s.sub(d, e)));
        [
            s.add(a, s.add(sum, sum2)),
            s.add(difference, difference2),
            s.fma(2.0, sum2, s.mul(0.5, sum)),
            s.fma(2.0, difference2, s.fma(0.5, difference, f)),
        ]
    },
    output_back: |[a, b, c, d]| {
        let (even, odd) = (s.fma(0.5, c, a), s.fma(0.5, d, b));
        let (even2, odd2) = (s.fma(2.0, c, a), s.fma(2.0, d, b));
        [a, s.fma(A, odd, even), s.fma(-A, odd, even), d, s.fma(B, odd2, even2), s.fma(-B, odd2, even2)]
    },
);

/// Bᵀ of F(2, 3) with the first points of F(4, 3), 0, ±√½ and ∞, and that one's G for them.
pub(super) struct ShortInput;
/// Aᵀ to go with it.
pub(super) struct ShortOutput;

size!(map ShortInput, 4, 4, s, [a, b, c, d], {
    let middle = s.mul(-1.5, c);
    [s.fma(-2.0, c, a), s.fma(-1.5 * A, b, middle), s.fma(1.5 * A, b, middle), s.fma(-0.5, b, d)]
});
size!(map ShortOutput, 4, 2, s, [a, b, c, d], [s.add(a, s.add(b, c)), s.fma(A, s.sub(b, c), d)]);

/// Where a rectangle's values come from.
pub(super) trait Source<S: Simd> {
    fn get(&self, s: S, row: usize, column: usize) -> S::V;
}

/// Where they go to.
pub(super) trait Sink<S: Simd> {
    fn put(&mut self, s: S, row: usize, column: usize, value: S::V);
}

/// Columns, then rows of a rectangle: `V x Hᵀ`.
///
/// 6 × 6 vectors are more than there are registers: those between the two steps wait in memory, the others come from
/// and go to where they belong without a stop. (Loaded into an array, transformed to another, which was then stored,
/// they went through memory three times, and a transform took three times as long.)
#[inline(always)]
pub(super) fn rectangle<S, V, H, const A: usize, const P: usize, const B: usize, const Q: usize>(
    s: S,
    from: &impl Source<S>,
    to: &mut impl Sink<S>,
) where
    S: Simd,
    V: Map<A, P>,
    H: Map<B, Q>,
{
    let mut half = [[s.splat(0.0); B]; P];
    for j in 0..B {
        let mut column = [s.splat(0.0); A];
        for i in 0..A {
            column[i] = from.get(s, i, j);
        }
        let column = V::line(s, column);
        for i in 0..P {
            half[i][j] = column[i];
        }
    }
    for i in 0..P {
        let row = H::line(s, half[i]);
        for j in 0..Q {
            to.put(s, i, j, row[j]);
        }
    }
}

/// The same of a square: `T x Tᵀ`.
#[inline(always)]
pub(super) fn square<S: Simd, T: Map<A, B>, const A: usize, const B: usize>(
    s: S,
    from: &impl Source<S>,
    to: &mut impl Sink<S>,
) {
    rectangle::<S, T, T, A, B, A, B>(s, from, to);
}

/// A rectangle in memory, vectors at constant distances, each with `count` lanes (all, if `FULL`; zeros in the others).
pub(super) struct Strided<P, const FULL: bool> {
    at: P,
    down: usize,
    across: usize,
    count: usize,
}

impl<P, const FULL: bool> Strided<P, FULL> {
    /// A rectangle whose rows are `down` floats apart, its columns `across`.
    ///
    /// # Safety
    /// As much of it as will be asked for is readable (writable) as long as this lives.
    pub unsafe fn new(at: P, down: usize, across: usize, count: usize) -> Self {
        Strided { at, down, across, count }
    }
}

impl<S: Simd, const FULL: bool> Source<S> for Strided<*const f32, FULL> {
    #[inline(always)]
    fn get(&self, s: S, row: usize, column: usize) -> S::V {
        // SAFETY: the rectangle is readable, says who made this.
        unsafe { load::<S, FULL>(s, self.at.add(row * self.down + column * self.across), self.count) }
    }
}

impl<S: Simd, const FULL: bool> Sink<S> for Strided<*mut f32, FULL> {
    #[inline(always)]
    fn put(&mut self, s: S, row: usize, column: usize, value: S::V) {
        // SAFETY: the rectangle is writable, says who made this.
        unsafe { store::<S, FULL>(s, self.at.add(row * self.down + column * self.across), value, self.count) }
    }
}

/// A rectangle in memory to which values are added.
pub(super) struct Added<const FULL: bool>(pub Strided<*mut f32, FULL>);

impl<S: Simd, const FULL: bool> Sink<S> for Added<FULL> {
    #[inline(always)]
    fn put(&mut self, s: S, row: usize, column: usize, value: S::V) {
        let Strided { at, down, across, count } = self.0;
        // SAFETY: the rectangle is readable and writable, says who made this.
        unsafe {
            let to = at.add(row * down + column * across);
            store::<S, FULL>(s, to, s.add(load::<S, FULL>(s, to, count), value), count);
        }
    }
}

impl<S: Simd, const A: usize, const B: usize> Source<S> for [[S::V; B]; A] {
    #[inline(always)]
    fn get(&self, _: S, row: usize, column: usize) -> S::V {
        self[row][column]
    }
}

impl<S: Simd, const A: usize, const B: usize> Sink<S> for [[S::V; B]; A] {
    #[inline(always)]
    fn put(&mut self, _: S, row: usize, column: usize, value: S::V) {
        self[row][column] = value;
    }
}
