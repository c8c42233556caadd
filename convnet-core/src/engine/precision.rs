//! How precisely products are made.

/// What the factors of a network's products are rounded to. Sums are always of single precision.
///
/// The default is the most precise. A lower one takes effect only where the processor is faster for it, which today means
/// the forward pass of 3×3 convolutions with 16 channels and more on Intel processors with AMX (4th generation Xeon and
/// later, on Linux); everything else stays in single precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// bfloat16, 8 significant bits: outputs within about 1 % of the largest. What other inference engines call bf16.
    Bf16,
    /// At least the 11 significant bits of NVIDIA's TF32. AMX has 16, as two bfloat16 values: outputs within about 10⁻⁵ of the
    /// largest. PyTorch's `set_float32_matmul_precision("high")`.
    Tf32,
    /// Single precision, 24 significant bits: outputs within 10⁻⁵ of the largest after a whole network.
    #[default]
    F32,
}
