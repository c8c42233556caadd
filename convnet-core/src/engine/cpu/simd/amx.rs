//! The tile unit of newer server processors (AMX): eight registers of 16 rows of 64 bytes, and an instruction that
//! multiplies two of them as matrices of bfloat16 into a third of floats, 16 times as fast as vectors multiply floats.
//!
//! Floats go through it rounded to one part, or in two, `x = high + low` with 8 significant bits each ([`Amx::split`]); then a
//! product of floats is the sum of three: high · high, high · low, low · high. What is left out, and what does not fit
//! into the parts, is less than 2⁻¹⁵ of a product and about 2⁻¹⁸ as a rule: sums come out within about 10⁻⁵ of the largest,
//! and with four times the speed of vectors left. In two parts an infinity becomes NaN (∞ − ∞ is its low part), and what is
//! smaller than 10⁻³⁸ becomes zero.
//!
//! The compiler's intrinsics are not stable, so these are instructions as text. The system has to be asked for the unit
//! once in a process; a thread loads its configuration ([`Amx::tiles`]) before it multiplies.

use super::Avx512;
use std::arch::asm;
use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// Proof of AMX with bfloat16, that the system lets us use it, and of AVX-512 with bfloat16 ([`Avx512`], too).
#[derive(Clone, Copy, Debug)]
pub struct Amx(());

/// Rows of a tile, and floats in a row.
pub const SIDE: usize = 16;

/// Products that one tile instruction adds to each float: columns of its left factor, of two bytes each.
pub const DEPTH: usize = 32;

impl Amx {
    /// The proof, if this machine has the features and its system allows them.
    pub fn detect() -> Option<Self> {
        static HAS: OnceLock<bool> = OnceLock::new();
        HAS.get_or_init(|| {
            let vectors = Avx512::detect().is_some() && is_x86_feature_detected!("avx512bf16");
            // Leaf 7 of CPUID, EDX: bit 22 is AMX with bfloat16, bit 24 the tiles (Intel's manual, volume 2A).
            let tiles = || __cpuid_count(7, 0).edx & (1 << 22 | 1 << 24) == (1 << 22 | 1 << 24);
            vectors && tiles() && allowed()
        })
        .then_some(Amx(()))
    }

    /// Readies this thread's tiles, all of 16 rows of 64 bytes, until the value is dropped. A second value on the same thread
    /// takes them away from the first when it is dropped: one at a time.
    pub fn tiles(self) -> Tiles {
        let configuration = Configuration { palette: 1, row_bytes: [64; 8], rows: [16; 8], ..Configuration::default() };
        // SAFETY: the machine has tiles; the configuration is one of its palette.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &configuration, options(nostack, readonly)) };
        Tiles(PhantomData)
    }

    /// Splits floats into their high and low parts; what the parts have more becomes zero. There may be no low part.
    #[inline(always)]
    pub fn split(self, from: &[f32], high: &mut [u16], low: &mut [u16]) {
        // SAFETY: the proof.
        unsafe { split(from, high, low) }
    }

    /// Splits two rows of 16 and puts their elements by turns: a right factor's form.
    #[inline(always)]
    pub fn split_pairs(self, rows: &[[f32; SIDE]; 2], high: &mut [u16; DEPTH], low: Option<&mut [u16; DEPTH]>) {
        // SAFETY: the proof.
        unsafe { split_pairs(rows, high, low) }
    }
}

/// Asks the system to let this process use tiles; see "arch_prctl" in Linux's documentation of XSTATE.
fn allowed() -> bool {
    #[cfg(target_os = "linux")]
    {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_long = 18;
        // SAFETY: a request with two numbers; it changes what signal frames hold and nothing else.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// What `ldtilecfg` reads (64 bytes): palette 1 has eight tiles.
#[repr(C, align(64))]
#[derive(Default)]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 8],
    more_row_bytes: [u16; 8],
    rows: [u8; 8],
    more_rows: [u8; 8],
}

/// Proof that this thread's tiles are configured. Their contents belong to the code that made it.
#[derive(Debug)]
pub struct Tiles(PhantomData<*const ()>);

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: there are tiles. Without contents they need not be saved when the thread is switched away.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// See [`Amx::split`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn split(from: &[f32], high: &mut [u16], low: &mut [u16]) {
    assert!(high.len() >= from.len() && (low.is_empty() || low.len() == high.len()));
    let first = |len: usize| (u32::MAX >> (32 - SIDE.min(len))) as u16;
    for at in (0..high.len()).step_by(SIDE) {
        let read = if at < from.len() { first(from.len() - at) } else { 0 };
        let write = first(high.len() - at);
        // SAFETY: the masks keep loads and stores within the slices.
        unsafe {
            let values = _mm512_maskz_loadu_ps(read, from.as_ptr().wrapping_add(at));
            let upper = rounded(values);
            _mm256_mask_storeu_epi16(high.as_mut_ptr().add(at).cast(), write, upper);
            if !low.is_empty() {
                _mm256_mask_storeu_epi16(low.as_mut_ptr().add(at).cast(), write, rest(values, upper));
            }
        }
    }
}

/// See [`Amx::split_pairs`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn split_pairs(rows: &[[f32; SIDE]; 2], high: &mut [u16; DEPTH], low: Option<&mut [u16; DEPTH]>) {
    // SAFETY: 16 floats and 32 numbers of 16 bits are as large as a vector.
    unsafe {
        let rows = rows.each_ref().map(|row| _mm512_loadu_ps(row.as_ptr()));
        let upper = rows.map(|row| rounded(row));
        _mm512_storeu_si512(high.as_mut_ptr().cast(), alternating(upper));
        if let Some(low) = low {
            let lower = [rest(rows[0], upper[0]), rest(rows[1], upper[1])];
            _mm512_storeu_si512(low.as_mut_ptr().cast(), alternating(lower));
        }
    }
}

/// The values as bfloat16, rounded to the nearest.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn rounded(values: __m512) -> __m256i {
    // SAFETY: vectors of the same size, of which any bits are a value.
    unsafe { std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values)) }
}

/// What rounding has left of the values, rounded.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn rest(values: __m512, upper: __m256i) -> __m256i {
    let upper = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(upper)));
    rounded(_mm512_sub_ps(values, upper))
}

/// The elements of both, by turns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn alternating([even, odd]: [__m256i; 2]) -> __m512i {
    _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(odd)))
}
