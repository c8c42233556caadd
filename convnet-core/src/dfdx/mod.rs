//! Every network as a dfdx module, on a stable compiler: the reference that the engines are held against, and the way
//! to everything that dfdx can do with a module.
//!
//! [`px`](Px) makes typenum sizes dimensions of dfdx, `build` leads from a network's type to its modules: a [`Unit`] for
//! each layer, with the weights that `weights` lists, in pairs, and [`Merged`] for branches. They [`Run`] without types,
//! and what they compute stands in `compute`. [`Built`] is the whole: it runs, trains with dfdx's optimizers, saves
//! under the plan's names, and exchanges its weights with the flat buffer of the engines. It takes what its listing says
//! and nothing else; its [`Built::layers`] take maps of any size that fits. Everything is `f32` on
//! [`dfdx::tensor::Cpu`].
//!
//! `forward` is inference, with a tape or without. `forward_mut` on a tape is training: dropout draws from the device's
//! random numbers, batch normalisation uses the statistics of the batch and remembers them. dfdx's losses for classes
//! want logits; [`Built::logits`] and [`Built::logits_mut`] give what stands before the last activation, while the other
//! two give probabilities, as Keras does. Penalties on weights are the business of losses and not computed here.
//!
//! ```
//! use convnet_core::dfdx::dfdx::optim::Sgd;
//! use convnet_core::dfdx::prelude::*;
//! # use convnet_core::layers::{activation::{Relu, Softmax}, conv2d::Conv2D, dense::Dense, flatten::Flatten, Window};
//! # use convnet_core::shape::{size::Map, walk::Valid};
//! # use typenum::{U1, U2, U3, U4};
//! # type Relu3x3 = Conv2D<U2, Window<U3, U3, U1, U1, U1, U1, Valid>, Relu, true>;
//! # // What `convnet![Input(4, 4, 1), Conv2D(2, (3, 3), activation = "relu"), Flatten(), Dense(3, activation =
//! # // "softmax")]` stands for.
//! # type Tiny = convnet_core::Sequential<Map<4, 4, 1>, (U4, U4, U1), (Relu3x3, (Flatten, Dense<U3, Softmax, true>))>;
//!
//! # fn main() -> convnet_core::Result<()> {
//! // Tiny: Input(4, 4, 1), Conv2D(2, (3, 3), activation = "relu"), Flatten(), Dense(3, activation = "softmax")
//! let dev = Cpu::default();
//! let mut model = dev.build_module::<Tiny, f32>();
//!
//! // A batch of two, from a `Vec` or from an array; its size may be checked by the compiler, too: `Const::<2>`.
//! let images: InputOf<Tiny> = dev.inputs::<Tiny, _>(2, vec![0.5; 2 * 4 * 4])?;
//! let same: InputOf<Tiny, Const<2>> = dev.tensor([[[[0.5]; 4]; 4]; 2]).into_px();
//! let probabilities: OutputOf<Tiny> = model.forward(images.clone());
//! assert_eq!(probabilities.as_vec(), model.forward(same).as_vec());
//!
//! // A training step.
//! let targets = dev.one_hot::<Tiny, _>(2, &[0, 2])?;
//! let mut sgd = Sgd::new(&model, Default::default());
//! let logits = model.logits_mut(images.traced(model.alloc_grads()));
//! let gradients = cross_entropy_with_logits_loss(logits, targets).backward();
//! sgd.update(&mut model, &gradients).expect("every weight has a gradient");
//!
//! // The weights as the engines hold them, and back.
//! let weights = model.to_flat();
//! model.from_flat(&weights)?;
//! # Ok(())
//! # }
//! ```

mod build;
mod built;
mod compute;
mod first_values;
mod identity;
mod leaves;
mod merged;
mod px;
mod run;
mod slot;
mod unit;
mod weights;

pub use ::dfdx;
pub use build::{Build, BuildAll, Buildable, Builds, BuiltOf};
pub use built::Built;
pub use identity::Identity;
pub use leaves::{First, Labels, Leaves, Made, Path, Second, Whole};
pub use merged::{BehindAll, Branches, Fork, Merged, SizesList};
pub use px::{BatchOf, BatchShape, Batched, InputOf, IntoPx, OutputOf, Px, TensorsOf};
pub use run::{Behind, Flow, Run};
pub use slot::{
    Beta, Bias, DepthwiseKernel, Gamma, Kernel, MovingMean, MovingVariance, PointwiseKernel, Role, SeparableBias, Slot,
    Slots,
};
pub use unit::Unit;
pub use weights::{KernelShape, KernelSize, Weighed};

/// What a program that works with dfdx modules needs.
pub mod prelude {
    pub use super::{BuiltOf, InputOf, IntoPx, OutputOf, Px, TensorsOf};
    pub use ::dfdx::losses::{binary_cross_entropy_with_logits_loss, cross_entropy_with_logits_loss, mse_loss};
    pub use ::dfdx::nn::{
        DeviceBuildExt, LoadFromSafetensors, Module, ModuleMut, NumParams, ResetParams, SaveToSafetensors, ZeroGrads,
    };
    pub use ::dfdx::optim::Optimizer;
    pub use ::dfdx::shapes::{Const, HasShape};
    pub use ::dfdx::tensor::{AsArray, Cpu, Tensor, TensorFrom, Trace};
    pub use ::dfdx::tensor_ops::{Backward, MeanTo};
}
