//! The transforms of F(2×2, 3×3), F(3×3, 3×3) and F(4×4, 3×3) (Winograd 1980; Lavin & Gray 2015).
//!
//! One-dimensional: `y = Aᵀ [(G g) ⊙ (Bᵀ d)]` gives `M` outputs of three taps `g` over `M + 2` inputs `d` with `M + 2`
//! multiplications. In two dimensions each matrix is applied to rows and to columns. The backward pass is the
//! transposed algorithm: the gradient of `d` is `B [(G g) ⊙ (A dy)]`, that of `g` is `Gᵀ [(Bᵀ d) ⊙ (A dy)]`.
//!
//! The matrices are constants, and their zeros and ones are seen by the compiler once the loops are unrolled: no
//! multiplications by them remain. Points: 0, ±1, ∞; for M = 3 also 2; for M = 4 also ±2. Larger tiles lose digits.

use crate::engine::cpu::simd::Simd;

/// A linear map from `A` to `B` values.
pub(super) trait Map<const A: usize, const B: usize> {
    const MATRIX: [[f32; A]; B];
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

const fn transposed<const A: usize, const B: usize>(matrix: [[f32; A]; B]) -> [[f32; B]; A] {
    let mut out = [[0.0; B]; A];
    let mut i = 0;
    while i < B {
        let mut j = 0;
        while j < A {
            out[j][i] = matrix[i][j];
            j += 1;
        }
        i += 1;
    }
    out
}

macro_rules! size {
    ($m:literal, $n:literal, bt: $bt:expr, g: $g:expr, at: $at:expr) => {
        impl Tile<$m, $n> for F {
            type Input = Input;
            type InputBack = InputBack;
            type Taps = Taps;
            type TapsBack = TapsBack;
            type Output = Output;
            type OutputBack = OutputBack;
        }
        impl Map<$n, $n> for Input {
            const MATRIX: [[f32; $n]; $n] = $bt;
        }
        impl Map<$n, $n> for InputBack {
            const MATRIX: [[f32; $n]; $n] = transposed($bt);
        }
        impl Map<3, $n> for Taps {
            const MATRIX: [[f32; 3]; $n] = $g;
        }
        impl Map<$n, 3> for TapsBack {
            const MATRIX: [[f32; $n]; 3] = transposed($g);
        }
        impl Map<$n, $m> for Output {
            const MATRIX: [[f32; $n]; $m] = $at;
        }
        impl Map<$m, $n> for OutputBack {
            const MATRIX: [[f32; $m]; $n] = transposed($at);
        }
    };
}

size!(2, 4,
    bt: [[1., 0., -1., 0.], [0., 1., 1., 0.], [0., -1., 1., 0.], [0., 1., 0., -1.]],
    g: [[1., 0., 0.], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0., 0., 1.]],
    at: [[1., 1., 1., 0.], [0., 1., -1., -1.]]
);

const SIXTH: f32 = 1.0 / 6.0;

size!(3, 5,
    bt: [
        [2., -1., -2., 1., 0.],
        [0., -2., -1., 1., 0.],
        [0., 2., -3., 1., 0.],
        [0., -1., 0., 1., 0.],
        [0., 2., -1., -2., 1.],
    ],
    g: [[0.5, 0., 0.], [-0.5, -0.5, -0.5], [-SIXTH, SIXTH, -SIXTH], [SIXTH, 2. * SIXTH, 4. * SIXTH], [0., 0., 1.]],
    at: [[1., 1., 1., 1., 0.], [0., 1., -1., 2., 0.], [0., 1., 1., 4., 1.]]
);

size!(4, 6,
    bt: [
        [4., 0., -5., 0., 1., 0.],
        [0., -4., -4., 1., 1., 0.],
        [0., 4., -4., -1., 1., 0.],
        [0., -2., -1., 2., 1., 0.],
        [0., 2., -1., -2., 1., 0.],
        [0., 4., 0., -5., 0., 1.],
    ],
    g: [
        [0.25, 0., 0.],
        [-SIXTH, -SIXTH, -SIXTH],
        [-SIXTH, SIXTH, -SIXTH],
        [0.25 * SIXTH, 0.5 * SIXTH, SIXTH],
        [0.25 * SIXTH, -0.5 * SIXTH, SIXTH],
        [0., 0., 1.],
    ],
    at: [
        [1., 1., 1., 1., 1., 0.],
        [0., 1., -1., 2., -2., 0.],
        [0., 1., 1., 4., 4., 0.],
        [0., 1., -1., 8., -8., 1.],
    ]
);

/// One row or column.
#[inline(always)]
fn line<S: Simd, T: Map<A, B>, const A: usize, const B: usize>(s: S, x: [S::V; A]) -> [S::V; B] {
    let mut y = [s.splat(0.0); B];
    for i in 0..B {
        let row = &T::MATRIX[i];
        let mut sum = s.splat(0.0);
        let mut started = false;
        for j in 0..A {
            if row[j] == 0.0 {
                continue;
            }
            sum = match started {
                false if row[j] == 1.0 => x[j],
                false => s.mul(s.splat(row[j]), x[j]),
                true if row[j] == 1.0 => s.add(sum, x[j]),
                true if row[j] == -1.0 => s.sub(sum, x[j]),
                true => s.mul_add(s.splat(row[j]), x[j], sum),
            };
            started = true;
        }
        y[i] = sum;
    }
    y
}

/// Columns, then rows of a square: `T x Tᵀ`.
#[inline(always)]
pub(super) fn square<S: Simd, T: Map<A, B>, const A: usize, const B: usize>(s: S, x: [[S::V; A]; A]) -> [[S::V; B]; B] {
    let mut half = [[s.splat(0.0); A]; B];
    for j in 0..A {
        let mut column = [s.splat(0.0); A];
        for i in 0..A {
            column[i] = x[i][j];
        }
        let column = line::<S, T, A, B>(s, column);
        for i in 0..B {
            half[i][j] = column[i];
        }
    }
    let mut y = [[s.splat(0.0); B]; B];
    for i in 0..B {
        y[i] = line::<S, T, A, B>(s, half[i]);
    }
    y
}
