//! How weights start in dfdx's hands: the initialisers of the plan, drawn from the device's own random numbers.

use crate::layers::settings::{
    GlorotNormal, GlorotUniform, HeNormal, HeUniform, Initializes, LecunNormal, LecunUniform, Ones, Zeros,
};
use crate::plan::{Distribution, Initializer, InitializerKind};
use crate::weights::DEVIATION_CUT_AT_TWO;
use ::dfdx::shapes::{ConstShape, Dtype, HasShape};
use ::dfdx::tensor::Tensor;
use ::dfdx::tensor_ops::Device;
use rand_08::Rng;
use rand_08::distributions::Distribution as Draw;

/// Fills a weight.
pub(super) type Reset<S, E, D> = fn(&mut Tensor<S, E, D>) -> Result<(), <D as ::dfdx::tensor::HasErr>::Err>;

/// The function that fills a weight of shape `S` as the initialiser says. (dfdx wants one without any state.)
pub(super) fn reset<S: ConstShape, E: Dtype, D: Device<E>>(kind: InitializerKind) -> Reset<S, E, D> {
    match kind {
        InitializerKind::Zeros => fill::<Zeros, S, E, D>,
        InitializerKind::Ones => fill::<Ones, S, E, D>,
        InitializerKind::GlorotUniform => fill::<GlorotUniform, S, E, D>,
        InitializerKind::GlorotNormal => fill::<GlorotNormal, S, E, D>,
        InitializerKind::HeUniform => fill::<HeUniform, S, E, D>,
        InitializerKind::HeNormal => fill::<HeNormal, S, E, D>,
        InitializerKind::LecunUniform => fill::<LecunUniform, S, E, D>,
        InitializerKind::LecunNormal => fill::<LecunNormal, S, E, D>,
    }
}

fn fill<I: Initializes, S: ConstShape, E: Dtype, D: Device<E>>(weight: &mut Tensor<S, E, D>) -> Result<(), D::Err> {
    let sizes: Vec<usize> = weight.shape().concrete().into();
    let (fan_in, fan_out) = fans(&sizes);
    weight.try_fill_with_distr(FirstValues(I::KIND.for_fans(fan_in, fan_out)))
}

/// Keras's fans: the sizes in front of the last two multiply both; a vector's are its length.
fn fans(sizes: &[usize]) -> (usize, usize) {
    match sizes {
        [taps @ .., inputs, outputs] => {
            let taps = taps.iter().product::<usize>();
            (taps * inputs, taps * outputs)
        }
        [len] => (*len, *len),
        [] => (1, 1),
    }
}

/// The numbers that an initialiser draws.
struct FirstValues(Initializer);

impl<E: Dtype> Draw<E> for FirstValues {
    fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> E {
        let value = match self.0 {
            Initializer::Zeros => 0.0,
            Initializer::Ones => 1.0,
            Initializer::VarianceScaling { scale, fan, distribution: Distribution::Uniform } => {
                (2.0 * rng.r#gen::<f64>() - 1.0) * (3.0 * scale / fan).sqrt()
            }
            Initializer::VarianceScaling { scale, fan, distribution: Distribution::TruncatedNormal } => {
                normal_below_two(rng) * (scale / fan).sqrt() / DEVIATION_CUT_AT_TWO
            }
        };
        // Every float type has a nearest number here; only integers, for which dfdx has no devices, might not.
        E::from_f64(value).unwrap_or_default()
    }
}

/// A number of the standard normal distribution (Box & Muller 1958), drawn again until it lies within ±2.
fn normal_below_two<R: Rng + ?Sized>(rng: &mut R) -> f64 {
    loop {
        let (radius, angle) = (1.0 - rng.r#gen::<f64>(), rng.r#gen::<f64>());
        let normal = (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
        if normal.abs() < 2.0 {
            return normal;
        }
    }
}
