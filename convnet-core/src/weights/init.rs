//! The first values of the weights.

use crate::plan::{Initializer, Plan};
use crate::train::random::{Purpose, Stream};

/// Fills the flat parameter buffer with first values.
///
/// Each weight tensor draws from a stream of its own ([`Purpose::Weights`], numbered by its place among the plan's
/// weights), so its values depend on the seed, its place, its fans and its length only. They are the same in every
/// build and on every machine.
///
/// # Panics
/// Where the buffer is shorter than [`Plan::params`].
pub fn initialize(plan: &Plan, seed: u64, weights: &mut [f32]) {
    for ((_, weight), number) in plan.weights().zip(0..) {
        let values = &mut weights[weight.range()];
        match weight.initializer {
            Initializer::Zeros => values.fill(0.0),
            Initializer::GlorotUniform { fan_in, fan_out } => {
                let limit = (6.0 / (fan_in as f64 + fan_out as f64)).sqrt() as f32;
                let mut stream = Stream::new(seed, Purpose::Weights, number);
                values.fill_with(|| (2.0 * stream.uniform() - 1.0) * limit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::tests::Small;
    use crate::{Network, plan::Name};

    fn initialized(seed: u64) -> Vec<f32> {
        let mut weights = vec![f32::NAN; Small::PARAMS];
        initialize(&Small::PLAN, seed, &mut weights);
        weights
    }

    #[test]
    fn kernels_are_uniform_within_glorots_limit_and_biases_zero() {
        let weights = initialized(1);
        for (layer, weight) in Small::PLAN.weights() {
            let values = &weights[weight.range()];
            if weight.name == "bias" {
                assert!(values.iter().all(|value| *value == 0.0));
                continue;
            }
            // conv2d_1: 3·3 taps, 2 channels, 8 filters; dense_1: 3·3·8 inputs, 100 units.
            let fans = if layer.name == Name::Counted("conv2d", 1) { 9 * 2 + 9 * 8 } else { 72 + 100 };
            let limit = (6.0 / fans as f32).sqrt();
            assert!(values.iter().all(|value| value.abs() <= limit));
            let [mean, square] = [1, 2]
                .map(|power| values.iter().map(|value| (value / limit).powi(power)).sum::<f32>() / values.len() as f32);
            assert!(mean.abs() < 0.1, "{mean}");
            assert!((square - 1.0 / 3.0).abs() < 0.05, "{square}");
        }
    }

    #[test]
    fn the_seed_and_the_place_decide() {
        assert_eq!(initialized(1), initialized(1));
        assert_ne!(initialized(1), initialized(2));
        let weights = initialized(1);
        let [first, second] = [0, 2].map(|number| weights[Small::PLAN.weights().nth(number).unwrap().1.offset]);
        // Two kernels start at different points: they do not draw the same numbers.
        assert_ne!(first / (6.0f32 / 90.0).sqrt(), second / (6.0f32 / 172.0).sqrt());
        // The promise of `random`: this never changes.
        assert_eq!(first, PROMISED);
    }

    const PROMISED: f32 = 0.124_040_894;
}
