//! The precision that a bench is asked for.

use convnet::engine::Precision;

/// `PRECISION` of the environment: `tf32` or `bf16`, else f32.
pub fn read() -> Precision {
    match std::env::var("PRECISION").as_deref() {
        Ok("tf32") => Precision::Tf32,
        Ok("bf16") => Precision::Bf16,
        _ => Precision::F32,
    }
}
