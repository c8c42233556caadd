//! Weights outside of training: how they start ([`initialize`]) and how they are kept in files ([`save`], [`load`]).
//!
//! All work on the flat parameter buffer that the plan lays out, in Keras's shapes and layouts.

mod file;
mod init;

pub use file::{load, save};
#[cfg(feature = "dfdx")]
pub(crate) use init::DEVIATION_CUT_AT_TWO;
pub use init::initialize;

#[cfg(test)]
mod tests {
    use crate::Definition;
    use crate::layers::Window;
    use crate::layers::activation::{Relu, Softmax};
    use crate::layers::{conv2d::Conv2D, dense::Dense, flatten::Flatten};
    use crate::shape::size::Map;
    use crate::shape::walk::Valid;
    use typenum::{U1, U2, U3, U5, U8, U100};

    /// A network with two kernels and two biases: (5, 5, 2) → (3, 3, 8) → 72 → 100.
    pub(super) struct Small;

    impl Definition for Small {
        const NAME: &'static str = "Small";
        type Input = Map<5, 5, 2>;
        type Sizes = (U5, U5, U2);
        type Layers =
            (Conv2D<U8, Window<U3, U3, U1, U1, U1, U1, Valid>, Relu, true>, (Flatten, Dense<U100, Softmax, true>));
    }
}
