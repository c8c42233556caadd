//! Every network as a dfdx module, on a stable compiler.

mod activation;
mod build;
mod built;
pub mod conv2d;
pub mod dense;
pub mod flatten;
mod identity;
mod leaves;
mod logits;
pub mod max_pooling2d;
mod op;
mod px;
mod weights;
mod window;

pub use ::dfdx;
pub use activation::Activate;
pub use build::{Build, Buildable, BuiltOf};
pub use built::Built;
pub use identity::Identity;
pub use leaves::Leaves;
pub use logits::Logits;
pub use px::{Batched, InputOf, IntoPx, OutputOf, Px, TensorsOf};
pub use weights::Weights;
pub use window::KernelSize;

/// What a program that works with dfdx modules needs.
pub mod prelude {
    pub use super::{BuiltOf, InputOf, IntoPx, Logits, OutputOf, Px, TensorsOf};
    pub use ::dfdx::losses::{binary_cross_entropy_with_logits_loss, cross_entropy_with_logits_loss, mse_loss};
    pub use ::dfdx::nn::{
        DeviceBuildExt, LoadFromSafetensors, Module, ModuleMut, NumParams, ResetParams, SaveToSafetensors, ZeroGrads,
    };
    pub use ::dfdx::optim::Optimizer;
    pub use ::dfdx::shapes::{Const, HasShape};
    pub use ::dfdx::tensor::{AsArray, Cpu, Tensor, TensorFrom, Trace};
    pub use ::dfdx::tensor_ops::{Backward, MeanTo};
}
