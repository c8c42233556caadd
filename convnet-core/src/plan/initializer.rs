//! How weights start: Keras's initialisers.

/// An initialiser by name, before the fans of the weight are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InitializerKind {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// U(±√(6 / (fan_in + fan_out))) (Glorot & Bengio 2010).
    GlorotUniform,
    /// A truncated normal distribution of variance 2 / (fan_in + fan_out) (Glorot & Bengio 2010).
    GlorotNormal,
    /// U(±√(6 / fan_in)) (He et al. 2015).
    HeUniform,
    /// A truncated normal distribution of variance 2 / fan_in (He et al. 2015).
    HeNormal,
    /// U(±√(3 / fan_in)) (LeCun et al. 1998).
    LecunUniform,
    /// A truncated normal distribution of variance 1 / fan_in (LeCun et al. 1998).
    LecunNormal,
}

/// How a weight starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initializer {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// Random numbers of a variance that keeps the signal's size: Keras's `VarianceScaling`.
    VarianceScaling {
        /// The variance times `fan`.
        scale: f64,
        /// Inputs that an output sums over, or outputs that an input reaches, or the mean of the two.
        fan: f64,
        /// How the numbers are distributed.
        distribution: Distribution,
    },
}

/// The distribution of random first values around zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Uniform: U(±√(3 · scale / fan)).
    Uniform,
    /// Normal, cut off at two standard deviations and widened so that the variance is `scale / fan`.
    TruncatedNormal,
}

impl InitializerKind {
    /// Keras's name for it: `glorot_uniform`.
    pub const fn name(self) -> &'static str {
        match self {
            InitializerKind::Zeros => "zeros",
            InitializerKind::Ones => "ones",
            InitializerKind::GlorotUniform => "glorot_uniform",
            InitializerKind::GlorotNormal => "glorot_normal",
            InitializerKind::HeUniform => "he_uniform",
            InitializerKind::HeNormal => "he_normal",
            InitializerKind::LecunUniform => "lecun_uniform",
            InitializerKind::LecunNormal => "lecun_normal",
        }
    }

    /// The initialiser for a weight whose outputs sum over `fan_in` inputs each, and whose inputs reach `fan_out`
    /// outputs each.
    pub const fn for_fans(self, fan_in: usize, fan_out: usize) -> Initializer {
        let fan_in = if fan_in == 0 { 1.0 } else { fan_in as f64 };
        let mean = (fan_in + if fan_out == 0 { 1.0 } else { fan_out as f64 }) / 2.0;
        let (scale, fan, distribution) = match self {
            InitializerKind::Zeros => return Initializer::Zeros,
            InitializerKind::Ones => return Initializer::Ones,
            InitializerKind::GlorotUniform => (1.0, mean, Distribution::Uniform),
            InitializerKind::GlorotNormal => (1.0, mean, Distribution::TruncatedNormal),
            InitializerKind::HeUniform => (2.0, fan_in, Distribution::Uniform),
            InitializerKind::HeNormal => (2.0, fan_in, Distribution::TruncatedNormal),
            InitializerKind::LecunUniform => (1.0, fan_in, Distribution::Uniform),
            InitializerKind::LecunNormal => (1.0, fan_in, Distribution::TruncatedNormal),
        };
        Initializer::VarianceScaling { scale, fan, distribution }
    }
}
