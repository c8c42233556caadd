//! The first values of the weights.

use crate::plan::{Distribution, Initializer, Plan};
use crate::train::random::{Purpose, Stream};

/// The standard deviation of a standard normal distribution that is cut off at ±2; as in Keras.
pub(crate) const DEVIATION_CUT_AT_TWO: f64 = 0.879_625_661_034_239_8;

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
            Initializer::Ones => values.fill(1.0),
            Initializer::VarianceScaling { scale, fan, distribution } => {
                let mut stream = Stream::new(seed, Purpose::Weights, number);
                match distribution {
                    Distribution::Uniform => {
                        let limit = (3.0 * scale / fan).sqrt() as f32;
                        values.fill_with(|| (2.0 * stream.uniform() - 1.0) * limit);
                    }
                    Distribution::TruncatedNormal => {
                        let deviation = (scale / fan).sqrt() / DEVIATION_CUT_AT_TWO;
                        values.fill_with(|| (stream.normal_below(2.0) * deviation) as f32);
                    }
                }
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
