//! Vectors of floats at the three levels that kernels are compiled for: AVX-512, AVX2 with FMA, and portable code. At a fourth,
//! [`Level::Amx`], vectors are those of AVX-512, and some kernels use the tile unit ([`amx`]), too.
//!
//! A kernel is written once, generic over [`Simd`], as `#[inline(always)]` code, and runs inside [`vectorize`], which
//! enters a function compiled for the level. A value of a level's type is the proof that the machine has it: it can
//! only be made by detection, so the methods are safe to call. Which level runs is decided once, by [`Level::detect`].

use super::select::Select;
use std::sync::OnceLock;

/// What the machine can do, best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Whatever the target's baseline is (SSE2 on x86-64, NEON on AArch64), vectorised by the compiler.
    Portable,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors with masks.
    Avx512,
    /// The same and the tile unit ([`amx`]), which multiplies matrices.
    Amx,
}

/// The environment variable that holds the level down: `portable`, `avx2`, `avx512` or `amx`, in upper or lower case.
pub const LEVEL_VARIABLE: &str = "CONVNET_SIMD";

impl Level {
    /// The best level that this machine has and that `CONVNET_SIMD` (read once) allows. A value that is no level's
    /// name allows every level, which is said on stderr.
    pub fn detect() -> Level {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| {
            let best = || Level::best(Level::Amx);
            // An empty variable is one that is not set.
            let Some(name) = std::env::var_os(LEVEL_VARIABLE).filter(|name| !name.is_empty()) else { return best() };
            let name = name.to_string_lossy();
            let Some(allowed) = Level::named(&name) else {
                eprintln!(
                    "convnet: {LEVEL_VARIABLE}={name} is not known (portable, avx2, avx512 and amx are): using the \
                     best that this machine has"
                );
                return best();
            };
            Level::best(allowed)
        })
    }

    /// The best level that this machine has, up to `most`. The system is asked to let the process use the tile unit, which makes
    /// what it saves at a signal 8 KB larger, only where that is allowed.
    fn best(most: Level) -> Level {
        let levels = Level::ALL.into_iter().rev();
        levels.filter(|level| *level <= most).find(|level| level.is_there()).unwrap_or(Level::Portable)
    }

    /// The level that `CONVNET_SIMD` means by `name`.
    fn named(name: &str) -> Option<Level> {
        let levels =
            [("portable", Level::Portable), ("avx2", Level::Avx2), ("avx512", Level::Avx512), ("amx", Level::Amx)];
        levels.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, level)| level)
    }

    /// Best last.
    const ALL: [Level; 4] = [Level::Portable, Level::Avx2, Level::Avx512, Level::Amx];

    /// Every level that this machine has, best last.
    pub fn available() -> Vec<Level> {
        Level::ALL.into_iter().filter(|level| level.is_there()).collect()
    }

    fn is_there(self) -> bool {
        match self {
            Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => Avx2::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => Avx512::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Level::Amx => amx::Amx::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}

/// Work that runs at any level.
pub trait Vectorized {
    /// What it gives.
    type Output;
    /// Does it. Mark the implementation `#[inline(always)]`, and everything generic over `S` that it calls. Closures
    /// cannot be marked so: one that does not become part of its caller by itself (keep it small and call it in one
    /// place) runs every operation as a function call, a hundred times slower.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs `work` compiled for `level`; for the best level below, where the machine lacks it.
pub fn vectorize<W: Vectorized>(level: Level, work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if level >= Level::Avx512
            && let Some(simd) = Avx512::detect()
        {
            // SAFETY: the value of Avx512 proves that the machine has the features that the function enables.
            return unsafe { x86::with_avx512(simd, work) };
        }
        if level >= Level::Avx2
            && let Some(simd) = Avx2::detect()
        {
            // SAFETY: the value of Avx2 proves that the machine has the features that the function enables.
            return unsafe { x86::with_avx2(simd, work) };
        }
    }
    let _ = level;
    work.run(Portable)
}

/// The operations of a level. Pointers instead of slices where a kernel's inner loop would check bounds.
pub trait Simd: Select<<Self as Simd>::V> + Send + Sync + 'static {
    /// A vector of [`Simd::LANES`] floats.
    type V: Copy;
    /// Floats in a vector.
    const LANES: usize;
    /// Vector registers of the level: how large a tile of accumulators may be.
    const REGISTERS: usize;

    /// The same value in all lanes.
    fn splat(self, value: f32) -> Self::V;
    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a − b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `√a`
    fn sqrt(self, a: Self::V) -> Self::V;
    /// `a · b + c`, fused where the level has it.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger, lane by lane; `b` where either is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller, lane by lane; `b` where either is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `2ⁿ` of whole numbers −127 ≤ n ≤ 127, lane by lane; 0 for −127. Other lanes hold anything.
    fn pow2(self, n: Self::V) -> Self::V;
    /// Runs `work` as a function of its own, compiled for this level: for code too large to stand inline in its caller.
    fn call<W: Vectorized>(self, work: W) -> W::Output;
    /// `if x > y { a } else { b }`, lane by lane.
    fn if_greater(self, x: Self::V, y: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// `if x is NaN { a } else { b }`, lane by lane.
    fn if_nan(self, x: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// The sum of all lanes, in an order fixed by the level.
    fn sum(self, a: Self::V) -> f32;
    /// In each lane the value of the lane whose number the bits of `index` have there, below [`Simd::LANES`]. Such an
    /// index is loaded and nothing else: what arithmetic makes of these bits is up to the machine.
    fn permute(self, a: Self::V, index: Self::V) -> Self::V;
    /// In each group of so many neighbouring lanes, a power of two up to [`Simd::LANES`], the value of its lane `lane` <
    /// `group` in all lanes.
    fn spread(self, a: Self::V, group: usize, lane: usize) -> Self::V;

    /// Reads [`Simd::LANES`] floats.
    ///
    /// # Safety
    /// They are readable at `from`.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// Writes [`Simd::LANES`] floats.
    ///
    /// # Safety
    /// They are writable at `to`.
    unsafe fn store(self, to: *mut f32, value: Self::V);
    /// Writes [`Simd::LANES`] floats past the caches, where the level can.
    ///
    /// # Safety
    /// They are writable at `to`, a multiple of the vector's size. Before anybody looks at them comes a
    /// [`Simd::fence`].
    unsafe fn stream(self, to: *mut f32, value: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { self.store(to, value) };
    }
    /// Ends a run of [`Simd::stream`]s: behind it there is what they wrote.
    fn fence(self) {}
    /// Reads the first `count` ≤ [`Simd::LANES`] floats, zeros in the other lanes.
    ///
    /// # Safety
    /// `count` floats are readable at `from`.
    unsafe fn load_first(self, from: *const f32, count: usize) -> Self::V;
    /// Writes the first `count` ≤ [`Simd::LANES`] floats.
    ///
    /// # Safety
    /// `count` floats are writable at `to`.
    unsafe fn store_first(self, to: *mut f32, value: Self::V, count: usize);
}

/// Asks for the cache line at `from`, which may be anywhere: for the first cache if it is to be used `SOON`, else for the
/// second, which waits for more lines at once.
#[inline(always)]
pub fn prefetch<const SOON: bool>(from: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64; asking for a line reads nothing.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        if SOON { _mm_prefetch::<_MM_HINT_T0>(from.cast()) } else { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

/// The portable level: arrays that the compiler maps onto what the target has.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// Floats in a portable vector.
const WIDTH: usize = 8;

#[inline(never)]
fn portable_call<W: Vectorized>(work: W) -> W::Output {
    work.run(Portable)
}

#[inline(always)]
fn zip(a: [f32; WIDTH], b: [f32; WIDTH], f: impl Fn(f32, f32) -> f32) -> [f32; WIDTH] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    type V = [f32; WIDTH];
    const LANES: usize = WIDTH;
    const REGISTERS: usize = 8;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        [value; WIDTH]
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn pow2(self, n: Self::V) -> Self::V {
        n.map(|n| f32::from_bits(((n as i32).wrapping_add(127) as u32) << 23))
    }
    #[inline(always)]
    fn call<W: Vectorized>(self, work: W) -> W::Output {
        portable_call(work)
    }
    #[inline(always)]
    fn if_greater(self, x: Self::V, y: Self::V, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if x[i] > y[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn if_nan(self, x: Self::V, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if x[i].is_nan() { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        a.iter().sum()
    }
    #[inline(always)]
    fn permute(self, a: Self::V, index: Self::V) -> Self::V {
        index.map(|index| a[index.to_bits() as usize % WIDTH])
    }
    #[inline(always)]
    fn spread(self, a: Self::V, group: usize, lane: usize) -> Self::V {
        std::array::from_fn(|i| a[(i / group * group + lane) % WIDTH])
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: the caller says that WIDTH floats are readable; arrays of floats need no more alignment than floats.
        unsafe { from.cast::<[f32; WIDTH]>().read() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Self::V) {
        // SAFETY: as in `load`, for writing.
        unsafe { to.cast::<[f32; WIDTH]>().write(value) }
    }
    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> Self::V {
        // SAFETY: only lanes below `count` are read, which the caller vouches for.
        std::array::from_fn(|i| if i < count { unsafe { *from.add(i) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, value: Self::V, count: usize) {
        for (i, lane) in value.into_iter().enumerate().take(count) {
            // SAFETY: i < count, and the caller says that `count` floats are writable.
            unsafe { *to.add(i) = lane }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg_attr(not(target_arch = "x86_64"), path = "simd/no_amx.rs")]
pub mod amx;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests {
    use super::{LEVEL_VARIABLE, Level, Simd, Vectorized, vectorize};
    use std::process::Command;

    /// The numbers of the lanes, shuffled: by an index that turns them around, and within groups.
    struct Shuffles;

    impl Vectorized for Shuffles {
        type Output = (Vec<f32>, Vec<(usize, usize, Vec<f32>)>);
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Self::Output {
            let numbers: Vec<f32> = (0..S::LANES).map(|lane| lane as f32).collect();
            let turned: Vec<f32> = (0..S::LANES as u32).rev().map(f32::from_bits).collect();
            let mut to = vec![f32::NAN; S::LANES];
            // SAFETY: all have as many floats as lanes.
            unsafe {
                let numbers = s.load(numbers.as_ptr());
                s.store(to.as_mut_ptr(), s.permute(numbers, s.load(turned.as_ptr())));
                let around = to.clone();
                let mut spread = Vec::new();
                for group in [1, 2, 4, 8] {
                    for lane in 0..group {
                        s.store(to.as_mut_ptr(), s.spread(numbers, group, lane));
                        spread.push((group, lane, to.clone()));
                    }
                }
                (around, spread)
            }
        }
    }

    #[test]
    fn shuffles() {
        for level in Level::available() {
            let (around, spread) = vectorize(level, Shuffles);
            let lanes = around.len();
            assert_eq!(around, (0..lanes).rev().map(|lane| lane as f32).collect::<Vec<f32>>(), "{level:?}");
            for (group, lane, values) in spread {
                let expected: Vec<f32> = (0..lanes).map(|i| (i / group * group + lane) as f32).collect();
                assert_eq!(values, expected, "{level:?}: lane {lane} of groups of {group}");
            }
        }
    }

    /// What this very test prints in a process of its own, where it detects the level twice: the level, and stderr.
    fn detected(value: &str) -> (String, String) {
        let test = "engine::cpu::simd::tests::the_variable_holds_the_level_down";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(LEVEL_VARIABLE, value)
            .env("CONVNET_TEST_DETECT", "1")
            .output()
            .unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        let level = out.split_once("detected: ").and_then(|(_, rest)| rest.lines().next());
        (level.unwrap_or_else(|| panic!("{out}")).to_owned(), err)
    }

    #[test]
    fn the_variable_holds_the_level_down() {
        if std::env::var_os("CONVNET_TEST_DETECT").is_some() {
            Level::detect();
            println!("detected: {:?}", Level::detect());
            return;
        }
        let best = *Level::available().last().unwrap();
        for (value, level) in [
            ("portable", Level::Portable),
            ("AVX2", Level::Avx2),
            ("Avx512", Level::Avx512),
            ("amx", Level::Amx),
            ("", Level::Amx),
        ] {
            assert_eq!(detected(value), (format!("{:?}", best.min(level)), String::new()), "{value}");
        }
        let (level, said) = detected("avx-2");
        assert_eq!(level, format!("{best:?}"));
        assert_eq!(
            said,
            "convnet: CONVNET_SIMD=avx-2 is not known (portable, avx2, avx512 and amx are): using the best that this \
             machine has\n"
        );
    }
}
