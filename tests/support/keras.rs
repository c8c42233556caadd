//! What the parity tests share: the formula that gives weights and inputs (scripts/formula.py has the same), and the
//! numbers that Keras computed.

use convnet::plan::Plan;
use safetensors::SafeTensors;
use std::collections::HashMap;
use std::path::Path;

/// `value(stream, i)` of scripts/formula.py, in [−1, 1).
pub fn value(stream: u64, i: usize) -> f64 {
    let mut z = stream
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add((i as u64).wrapping_mul(0xBF58_476D_1CE4_E5B9))
        .wrapping_add(0x94D0_49BB_1331_11EB);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    2.0 * ((z >> 40) as f64 / (1u64 << 24) as f64) - 1.0
}

/// `count` values of a stream as floats.
pub fn values(stream: u64, count: usize) -> Vec<f32> {
    (0..count).map(|i| value(stream, i) as f32).collect()
}

/// The stream of the first weight tensor of a random network.
pub const RANDOM_NETS: u64 = 100;

/// The weights that the script gives a network, the first tensor from stream `base`.
pub fn weights(plan: &Plan, base: u64) -> Vec<f32> {
    let mut flat = vec![0.0; plan.params];
    for (t, (_, weight)) in plan.weights().enumerate() {
        let (middle, limit) = match (weight.name, weight.sizes()) {
            ("gamma", _) => (1.0, 0.1),
            ("moving_variance", _) => (1.0, 0.5),
            (_, [_]) => (0.0, 0.1),
            (_, sizes) => {
                let (receptive, fans) = sizes.split_at(sizes.len() - 2);
                let fans = receptive.iter().product::<usize>() * fans.iter().sum::<usize>();
                (0.0, (6.0 / fans as f64).sqrt())
            }
        };
        for (i, place) in flat[weight.range()].iter_mut().enumerate() {
            *place = (middle + value(base + t as u64, i) * limit) as f32;
        }
    }
    flat
}

/// A file of tensors that Keras computed: the bytes of each.
pub struct Fixture(HashMap<String, Vec<u8>>);

impl Fixture {
    /// Reads a file of tests/fixtures.
    pub fn read(name: &str) -> Fixture {
        // Tests run in the package's folder, on whatever machine that is.
        let path = Path::new("tests/fixtures").join(name);
        let bytes = std::fs::read(path).expect("the fixture is in the repository");
        let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        Fixture(tensors.iter().map(|(key, tensor)| (key.to_owned(), tensor.data().to_vec())).collect())
    }

    fn bytes(&self, key: &str) -> &[u8] {
        self.0.get(key).unwrap_or_else(|| panic!("no tensor {key}"))
    }

    /// All floats under a key.
    pub fn floats(&self, key: &str) -> Vec<f32> {
        let (numbers, _) = self.bytes(key).as_chunks::<4>();
        numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    /// All whole numbers under a key.
    pub fn counts(&self, key: &str) -> Vec<usize> {
        let (numbers, _) = self.bytes(key).as_chunks::<8>();
        numbers.iter().map(|bytes| u64::from_le_bytes(*bytes) as usize).collect()
    }

    /// The largest difference between `found` and the stored samples of it, as a share of the tensor's largest value.
    pub fn difference(&self, key: &str, found: &[f32]) -> f32 {
        let samples = self.floats(&format!("{key}/samples"));
        let largest = self.floats(&format!("{key}/max"))[0];
        let differences = samples.iter().enumerate().map(|(k, sample)| {
            let difference = (sample - found[k * found.len() / samples.len()]).abs();
            if difference.is_nan() { f32::INFINITY } else { difference }
        });
        differences.fold(0.0, f32::max) / largest.max(f32::MIN_POSITIVE)
    }
}
