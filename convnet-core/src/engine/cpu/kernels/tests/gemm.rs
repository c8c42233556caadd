//! The matrix product, apart from the layers that use it.

use super::{assert_near, assert_same_bits, random, values};
use crate::engine::cpu::kernels::gemm::{A, B, Gemm, Offsets, Start, Widths, gemm};
use crate::engine::cpu::kernels::gemm_pack::Panels;
use crate::engine::cpu::simd::Level;
use rand::RngExt;

#[test]
fn random_products() {
    let random = &mut random(1);
    for case in 0..150 {
        let big = case % 10 == 0;
        let rows = random.random_range(1..=if big { 600 } else { 40 });
        let [runs, len] = [random.random_range(0..=9), random.random_range(1..=if big { 300 } else { 30 })];
        let columns = random.random_range(1..=150);
        let (step, depth) = (random.random_range(1..=3), runs * len);
        let rows_period = random.random_range(0..100);
        let row_offsets = Offsets::new((0..3).map(|_| random.random_range(0..50)), rows_period);
        let starts: Vec<usize> = (0..4).map(|_| random.random_range(0..50)).collect();
        let run_offsets = Offsets::new(starts.clone(), 200);
        // Offsets once more, from their definition.
        let row_starts: Vec<usize> = (0..rows).map(|m| row_offsets.at(m)).collect();
        let run_starts: Vec<usize> = (0..runs).map(|s| starts[s % 4] + s / 4 * 200).collect();
        let data = values(random, 50 + rows * 100 + 50 + 200 * 3 + len * step);
        let b = values(random, depth * columns);
        let c_stride = columns + random.random_range(0..=3);
        let before = values(random, rows * c_stride);
        let bias = values(random, columns);
        let relu = random.random();
        for start in [Start::Zero, Start::Bias(&bias), Start::C] {
            let mut expected: Vec<f64> = before.iter().copied().map(f64::from).collect();
            for (m, row) in row_starts.iter().enumerate() {
                for n in 0..columns {
                    let mut sum = match start {
                        Start::Zero => 0.0,
                        Start::Bias(bias) => f64::from(bias[n]),
                        Start::C => f64::from(before[m * c_stride + n]),
                    };
                    for k in 0..depth {
                        let a = data[row + run_starts[k / len] + k % len * step];
                        sum += f64::from(a) * f64::from(b[k * columns + n]);
                    }
                    expected[m * c_stride + n] = if relu { sum.max(0.0) } else { sum };
                }
            }
            for level in Level::available() {
                let widths = Widths::of(level);
                let panels = Panels::new(widths, depth, columns);
                let mut packed = vec![f32::NAN; panels.size()];
                panels.pack(&b, &mut packed);
                let mut turned = vec![f32::NAN; panels.size()];
                let transposed: Vec<f32> = (0..columns * depth).map(|i| b[i % depth * columns + i / depth]).collect();
                panels.pack_transposed(&transposed, 0, depth, &mut turned);
                let stride = columns + widths.lanes;
                let plain: Vec<f32> =
                    b.chunks(columns).flat_map(|row| row.iter().copied().chain(vec![f32::NAN; widths.lanes])).collect();
                let a = A { data: &data, row_offsets: &row_offsets, rows, run_offsets: &run_offsets, runs, len, step };
                let product = |b: B<'_>| {
                    let mut c = before.clone();
                    gemm(level, Gemm { a, b, c: &mut c, c_stride, columns, start, relu });
                    c
                };
                let name = format!("{level:?}: {rows} × {runs}·{len} × {columns}");
                let c = product(B::Panels(&packed));
                assert_near(&name, &c, &expected);
                assert_same_bits(&name, &product(B::Panels(&turned)), &c);
                assert_same_bits(&name, &product(B::Rows { data: &plain, stride }), &c);
            }
        }
    }
}

/// However B lies and whatever is copied or written first: the same bits as from panels.
#[test]
fn the_layout_of_b_changes_no_bit() {
    let random = &mut random(4);
    for (rows, depth, columns, stride) in [(20, 150, 300, 1100), (9, 20, 1060, 1088), (2, 70, 300, 320), (3, 5, 40, 64)]
    {
        let (a, b) = (values(random, rows * depth), values(random, depth * stride));
        let plain: Vec<f32> = b.chunks(stride).flat_map(|row| row[..columns].iter().copied()).collect();
        let (row_offsets, run_offsets) = (Offsets::every(depth), Offsets::every(5));
        // The same rows in runs of five, with something between the runs.
        let runs: Vec<f32> =
            b.chunks(5 * stride).flat_map(|run| run.iter().copied().chain(vec![f32::NAN; 7])).collect();
        let run_starts = Offsets::every(5 * stride + 7);
        for level in Level::available() {
            let panels = Panels::new(Widths::of(level), depth, columns);
            let mut packed = vec![f32::NAN; panels.size()];
            panels.pack(&plain, &mut packed);
            let product = |b: B<'_>| {
                let mut c = vec![f32::NAN; rows * columns];
                let a = A {
                    data: &a,
                    row_offsets: &row_offsets,
                    rows,
                    run_offsets: &run_offsets,
                    runs: depth / 5,
                    len: 5,
                    step: 1,
                };
                gemm(level, Gemm { a, b, c: &mut c, c_stride: columns, columns, start: Start::Zero, relu: false });
                c
            };
            let expected = product(B::Panels(&packed));
            let name = format!("{level:?}: {rows} × {depth} × {columns}");
            assert_same_bits(&name, &product(B::Rows { data: &b, stride }), &expected);
            assert_same_bits(&name, &product(B::Runs { data: &runs, offsets: &run_starts, stride }), &expected);
        }
    }
}

/// Cutting the sums in two calls changes no bit.
#[test]
fn sums_continue_where_the_last_call_stopped() {
    let random = &mut random(2);
    let (rows, depth, columns) = (37, 500, 32);
    let (a, b) = (values(random, rows * depth), values(random, depth * columns));
    let (row_offsets, run_offsets) = (Offsets::every(depth), Offsets::every(0));
    for level in Level::available() {
        let mut whole = vec![f32::NAN; rows * columns];
        let mut parts = whole.clone();
        let add = |c: &mut [f32], first: usize, len: usize, start| {
            let a = A {
                data: &a[first..],
                row_offsets: &row_offsets,
                rows,
                run_offsets: &run_offsets,
                runs: 1,
                len,
                step: 1,
            };
            let b = B::Rows { data: &b[first * columns..], stride: columns };
            gemm(level, Gemm { a, b, c, c_stride: columns, columns, start, relu: false });
        };
        add(&mut whole, 0, depth, Start::Zero);
        add(&mut parts, 0, 123, Start::Zero);
        add(&mut parts, 123, depth - 123, Start::C);
        assert_same_bits(&format!("{level:?}"), &parts, &whole);
    }
}

#[test]
fn nan_survives_relu() {
    let (row_offsets, run_offsets) = (Offsets::every(1), Offsets::every(0));
    for level in Level::available() {
        let a = A {
            data: &[f32::NAN, -1.0, 1.0],
            row_offsets: &row_offsets,
            rows: 3,
            run_offsets: &run_offsets,
            runs: 1,
            len: 1,
            step: 1,
        };
        let mut c = [0.0; 3];
        let b = B::Rows { data: &[1.0; 16], stride: 16 };
        gemm(level, Gemm { a, b, c: &mut c, c_stride: 1, columns: 1, start: Start::Zero, relu: true });
        assert!(c[0].is_nan() && c[1..] == [0.0, 1.0], "{level:?}: {c:?}");
    }
}

/// A product that would read or write outside its slices is refused, whatever is wrong with it.
#[test]
fn factors_that_are_too_short_are_refused() {
    let refused = |data: &[f32], rows: Offsets, run: Offsets, b: &[f32], c_len: usize| {
        let a = A { data, row_offsets: &rows, rows: 2, run_offsets: &run, runs: 1, len: 4, step: 1 };
        let (b, mut c) = (B::Rows { data: b, stride: 16 }, vec![0.0; c_len]);
        let product = Gemm { a, b, c: &mut c, c_stride: 1, columns: 1, start: Start::Zero, relu: false };
        let run = std::panic::AssertUnwindSafe(|| gemm(Level::detect(), product));
        std::panic::catch_unwind(run).is_err()
    };
    let (a, b) = ([0.0; 8], [0.0; 64]);
    let zero = || Offsets::every(0);
    assert!(!refused(&a, Offsets::every(4), zero(), &b, 2));
    assert!(refused(&a[..7], Offsets::every(4), zero(), &b, 2));
    assert!(refused(&a, Offsets::every(5), zero(), &b, 2));
    assert!(refused(&a, Offsets::every(4), Offsets::new([1], 0), &b, 2));
    assert!(refused(&a, Offsets::every(usize::MAX), zero(), &b, 2));
    assert!(refused(&a, Offsets::new([2], 0), Offsets::new([usize::MAX], 0), &b, 2));
    assert!(refused(&a, Offsets::every(4), zero(), &b[..48], 2));
    assert!(refused(&a, Offsets::every(4), zero(), &b, 1));
}
