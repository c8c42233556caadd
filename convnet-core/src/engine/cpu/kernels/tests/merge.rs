//! Sums, concatenations and their parts.

use super::{assert_near, assert_same_bits, random, values, wide};
use crate::engine::cpu::kernels::merge::{accumulate, add, concatenate, split};
use crate::engine::cpu::simd::Level;
use rand::RngExt;

#[test]
fn sums_of_any_number_of_tensors() {
    let random = &mut random(1);
    for count in 0..=8 {
        let len = random.random_range(1..=100);
        let inputs: Vec<Vec<f32>> = (0..count).map(|_| values(random, len)).collect();
        let mut expected = vec![0.0; len];
        for input in &inputs {
            expected.iter_mut().zip(wide(input)).for_each(|(sum, x)| *sum += x);
        }
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        for level in Level::available() {
            let mut sum = vec![f32::NAN; len];
            add(level, &inputs, &mut sum);
            assert_near(&format!("{level:?}: {count} × {len}"), &sum, &expected);
        }
    }
}

#[test]
fn accumulating_adds() {
    let random = &mut random(2);
    for _ in 0..30 {
        let len = random.random_range(1..=100);
        let (before, addend) = (values(random, len), values(random, len));
        let expected: Vec<f32> = before.iter().zip(&addend).map(|(a, b)| a + b).collect();
        for level in Level::available() {
            let mut sum = before.clone();
            accumulate(level, &mut sum, &addend);
            assert_same_bits(&format!("{level:?}: {len}"), &sum, &expected);
        }
    }
}

#[test]
fn a_concatenation_is_split_into_its_parts() {
    let random = &mut random(3);
    for _ in 0..60 {
        let rows = random.random_range(1..=9);
        let channels: Vec<usize> = (0..random.random_range(1..=8)).map(|_| random.random_range(1..=40)).collect();
        let parts: Vec<Vec<f32>> = channels.iter().map(|channels| values(random, rows * channels)).collect();
        let borrowed: Vec<(&[f32], usize)> = parts.iter().map(Vec::as_slice).zip(channels.iter().copied()).collect();
        let total = channels.iter().sum();
        let mut joined = vec![f32::NAN; rows * total];
        concatenate(&borrowed, &mut joined);
        let expected: Vec<f32> = (0..rows)
            .flat_map(|row| borrowed.iter().flat_map(move |(part, channels)| &part[row * channels..][..*channels]))
            .copied()
            .collect();
        assert_same_bits("joined", &joined, &expected);

        let mut first = 0;
        for (part, channels) in borrowed {
            let mut found = vec![f32::NAN; part.len()];
            split(&joined, first, channels, total, &mut found, false);
            assert_same_bits("part", &found, part);
            split(&joined, first, channels, total, &mut found, true);
            let twice: Vec<f32> = part.iter().map(|x| 2.0 * x).collect();
            assert_same_bits("part, added to itself", &found, &twice);
            first += channels;
        }
    }
}
