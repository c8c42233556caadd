//! How precisely products are made.

use crate::{Error, Result};
use std::str::FromStr;

/// What the factors of a network's products are rounded to. Sums are always of single precision.
///
/// The default is the most precise on a processor, and [`Precision::Tf32`] on a GPU. A lower one takes effect only
/// where the machine is faster for it: in all products on NVIDIA GPUs of compute capability 8.0 and above, and in the
/// forward pass of 3×3 convolutions with 16 channels and more on Intel processors with AMX (4th generation Xeon and
/// later, on Linux); there [`Precision::Bf16`] takes effect in dense layers of 8 units and 32 features and more, too,
/// as long as their weights fit the second cache (layers of many weights, as a rule from 32,768 on, in predictions
/// only). Everything else stays in single precision, or as precise: with 64 channels and more AMX is used either way,
/// in whole numbers of 24 bits (relative to the largest of a position's channels).
///
/// Written as text it is `f32`, `tf32` or `bf16`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// bfloat16, 8 significant bits: outputs within about 1 % of the largest. What other inference engines call bf16.
    Bf16,
    /// At least the 11 significant bits of NVIDIA's TF32. AMX has 16, as two bfloat16 values: outputs within about 10⁻⁵
    /// of the largest. PyTorch's `set_float32_matmul_precision("high")`.
    Tf32,
    /// Single precision, 24 significant bits: outputs within 10⁻⁵ of the largest after a whole network.
    #[default]
    F32,
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Precision::F32),
            "tf32" => Ok(Precision::Tf32),
            "bf16" => Ok(Precision::Bf16),
            _ => Err(Error::Argument {
                argument: "precision",
                expected: "f32, tf32 or bf16".to_owned(),
                found: format!("`{text}`"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_from_text() {
        let read = |text: &str| text.parse::<Precision>();
        assert_eq!(
            ["f32", "tf32", "bf16"].map(|text| read(text).unwrap()),
            [Precision::F32, Precision::Tf32, Precision::Bf16]
        );
        let error = read("fp16").unwrap_err().to_string();
        assert_eq!(error, "precision: expected f32, tf32 or bf16, found `fp16`");
    }
}
