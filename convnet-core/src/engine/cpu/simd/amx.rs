//! The tile unit of newer server processors (AMX): eight registers of 16 rows of 64 bytes, and an instruction that
//! multiplies two of them as matrices of bfloat16 into a third of floats, 16 times as fast as vectors multiply floats.
//!
//! Floats go through it rounded to one part, or in two, `x = high + low` with 8 significant bits each ([`Amx::split`]); then a
//! product of floats is the sum of three: high · high, high · low, low · high. What is left out, and what does not fit
//! into the parts, is less than 2⁻¹⁵ of a product and about 2⁻¹⁸ as a rule: sums come out within about 10⁻⁵ of the largest,
//! and with four times the speed of vectors left. In two parts an infinity becomes NaN (∞ − ∞ is its low part), and what is
//! smaller than 10⁻³⁸ becomes zero.
//!
//! Bytes go through it twice as fast, and are summed up in whole numbers without rounding. Numbers of 24 bits have three of them
//! ([`Amx::row_of_digits`]), and floats are such numbers, times a scale: six products of bytes are a product of floats as
//! good as theirs, and with up to five times the speed of vectors left.
//!
//! The compiler's intrinsics are not stable, so these are instructions as text. The system has to be asked for the unit
//! once in a process; a thread loads its configuration ([`Amx::tiles`]) before it multiplies.

use super::Avx512;
use std::arch::asm;
use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// Proof of AMX with bfloat16 and bytes, that the system lets us use it, and of AVX-512 with bfloat16 ([`Avx512`], too).
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
            // Leaf 7 of CPUID, EDX: bit 22 is AMX with bfloat16, bit 24 the tiles, bit 25 AMX with bytes (Intel's manual,
            // volume 2A).
            const BITS: u32 = 1 << 22 | 1 << 24 | 1 << 25;
            let tiles = || __cpuid_count(7, 0).edx & BITS == BITS;
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

/// The largest number that three digits are taken of: 127.5 · 2¹⁶ and a little less.
const LARGEST: f32 = 8_350_000.0;

impl Amx {
    /// The three digits of a row of `vectors` vectors, `apart` floats from each other: four vectors become 64 bytes a digit, as
    /// one number of 32 bits is of four bytes. Digits go `to`, the first digit's 64 bytes, then `digit` further the second's
    /// and the third's; then the next four vectors'. Gives what one is worth in a number.
    ///
    /// # Safety
    /// The vectors are readable, the places of the digits writable.
    #[inline(always)]
    pub unsafe fn row_of_digits(
        self,
        from: *const f32,
        vectors: usize,
        apart: usize,
        to: *mut u8,
        digit: usize,
    ) -> f32 {
        // SAFETY: the proof; the caller vouches for the memory.
        unsafe { row_of_digits(from, vectors, apart, to, digit) }
    }

    /// The digits of four rows, times factors, interleaved: 64 bytes a digit, `digit` apart.
    ///
    /// # Safety
    /// The places of the digits are writable.
    #[inline(always)]
    pub unsafe fn digits_of_four(self, rows: [&[f32; SIDE]; 4], factors: &[f32; SIDE], to: *mut u8, digit: usize) {
        // SAFETY: the proof; the caller vouches for the memory.
        unsafe { digits_of_four(rows, factors, to, digit) }
    }

    /// Readies this thread's tiles for sums of products of digits.
    pub fn digit_sums(self) -> DigitSums {
        DigitSums { _tiles: self.tiles(), stage: Stage([[0; 256]; 6]) }
    }
}

/// What one is worth in whole numbers whose largest stands for this size, and what values are multiplied by to become
/// such numbers. Nothing where it is too small to be told from zero, and no number where it is none.
#[inline(always)]
pub fn scale(largest: f32) -> (f32, f32) {
    if largest < 1e-30 { (0.0, 0.0) } else { (largest / LARGEST, LARGEST / largest) }
}

/// See [`Amx::row_of_digits`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn row_of_digits(from: *const f32, vectors: usize, apart: usize, to: *mut u8, digit: usize) -> f32 {
    let magnitude = _mm512_set1_epi32(i32::MAX);
    let mut largest = _mm512_setzero_si512();
    for vector in 0..vectors {
        // SAFETY: the caller vouches for the vectors. Without their signs the bits of floats are in the order of their sizes,
        // NaN beyond all.
        let values = unsafe { _mm512_loadu_si512(from.wrapping_add(vector * apart).cast()) };
        largest = _mm512_max_epu32(largest, _mm512_and_si512(values, magnitude));
    }
    let (worth, factor) = scale(f32::from_bits(_mm512_reduce_max_epu32(largest)));
    let factor = _mm512_set1_ps(factor);
    for step in 0..vectors.div_ceil(4) {
        let mut numbers = [_mm512_setzero_si512(); 4];
        for (i, numbers) in numbers.iter_mut().enumerate().take(vectors - 4 * step) {
            // SAFETY: as above.
            let values = unsafe { _mm512_loadu_ps(from.wrapping_add((4 * step + i) * apart)) };
            *numbers = _mm512_cvtps_epi32(_mm512_mul_ps(values, factor));
        }
        // SAFETY: the caller vouches for the places.
        unsafe { put_digits(numbers, to.wrapping_add(step * 3 * digit), digit) };
    }
    worth
}

/// See [`Amx::digits_of_four`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn digits_of_four(rows: [&[f32; SIDE]; 4], factors: &[f32; SIDE], to: *mut u8, digit: usize) {
    // SAFETY: 16 floats are a vector; the caller vouches for the places.
    unsafe {
        let factors = _mm512_loadu_ps(factors.as_ptr());
        put_digits(
            rows.map(|row| _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(row.as_ptr()), factors))),
            to,
            digit,
        );
    }
}

/// The digits of four vectors, the first digit first, each as 64 bytes: one of each vector by turns.
///
/// # Safety
/// Their places are writable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn put_digits(numbers: [__m512i; 4], to: *mut u8, digit: usize) {
    let (low, half) = (_mm512_set1_epi32(255), _mm512_set1_epi32(128));
    let mut numbers = numbers;
    for place in [2, 1, 0] {
        let [a, b, c, d] = numbers;
        let upper = _mm512_or_si512(_mm512_slli_epi32::<24>(d), _mm512_slli_epi32::<16>(_mm512_and_si512(c, low)));
        let lower = _mm512_or_si512(_mm512_slli_epi32::<8>(_mm512_and_si512(b, low)), _mm512_and_si512(a, low));
        // SAFETY: the caller vouches for it.
        unsafe { _mm512_storeu_si512(to.wrapping_add(place * digit).cast(), _mm512_or_si512(upper, lower)) };
        // What the digit leaves, which is rounded since the digit has a sign.
        for numbers in &mut numbers {
            *numbers = _mm512_srai_epi32::<8>(_mm512_add_epi32(*numbers, half));
        }
    }
}

/// Six tiles of sums on their way to floats.
#[repr(align(64))]
struct Stage([[i32; 256]; 6]);

/// Sums of products of digits, of 16 rows by 32 columns: by the weight of the digits, in the thread's tiles.
pub struct DigitSums {
    _tiles: Tiles,
    stage: Stage,
}

impl DigitSums {
    /// The products of `steps` times 64 columns of 16 rows, and of as many rows of 32 columns.
    ///
    /// # Safety
    /// Both factors are readable: of the left one 16 rows of 64 bytes, for three digits `digit` bytes apart, step after step; of the
    /// right one six tiles a step.
    pub unsafe fn multiply(&mut self, left: *const u8, digit: usize, right: *const u8, steps: usize) {
        // SAFETY: the tiles are configured, and the caller vouches for the memory; the stage holds six tiles.
        unsafe {
            asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", "tilezero tmm4", "tilezero tmm5",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
                options(nostack, nomem)
            );
            for step in 0..steps {
                let a = left.wrapping_add(3 * step * digit);
                let (b, c) = (a.wrapping_add(digit), a.wrapping_add(2 * digit));
                asm!(
                    "tileloadd tmm6, [{a} + {s}]",
                    "tileloadd tmm7, [{r} + {s}]", "tdpbssd tmm0, tmm6, tmm7",
                    "tileloadd tmm7, [{r} + {s} + 1024]", "tdpbssd tmm1, tmm6, tmm7",
                    "tileloadd tmm7, [{r} + {s} + 2048]", "tdpbssd tmm2, tmm6, tmm7",
                    "tileloadd tmm7, [{r} + {s} + 3072]", "tdpbssd tmm3, tmm6, tmm7",
                    "tileloadd tmm7, [{r} + {s} + 4096]", "tdpbssd tmm4, tmm6, tmm7",
                    "tileloadd tmm7, [{r} + {s} + 5120]", "tdpbssd tmm5, tmm6, tmm7",
                    "tileloadd tmm6, [{b} + {s}]",
                    "tileloadd tmm7, [{r} + {s}]", "tdpbssd tmm2, tmm6, tmm7",
                    "tileloadd tmm7, [{r} + {s} + 1024]", "tdpbssd tmm3, tmm6, tmm7",
                    "tileloadd tmm7, [{r} + {s} + 2048]", "tdpbssd tmm4, tmm6, tmm7",
                    "tileloadd tmm7, [{r} + {s} + 3072]", "tdpbssd tmm5, tmm6, tmm7",
                    "tileloadd tmm6, [{c} + {s}]",
                    "tileloadd tmm7, [{r} + {s}]", "tdpbssd tmm4, tmm6, tmm7",
                    "tileloadd tmm7, [{r} + {s} + 1024]", "tdpbssd tmm5, tmm6, tmm7",
                    a = in(reg) a, b = in(reg) b, c = in(reg) c, r = in(reg) right.wrapping_add(step * 6144), s = in(reg) 64usize,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack, readonly)
                );
            }
            asm!(
                "tilestored [{to} + {s}], tmm0", "tilestored [{to} + {s} + 1024], tmm1",
                "tilestored [{to} + {s} + 2048], tmm2", "tilestored [{to} + {s} + 3072], tmm3",
                "tilestored [{to} + {s} + 4096], tmm4", "tilestored [{to} + {s} + 5120], tmm5",
                to = in(reg) self.stage.0.as_mut_ptr(), s = in(reg) 64usize, options(nostack)
            );
        }
    }

    /// The products as floats: as many rows as there are scales, of the first `width` vectors of columns.
    pub fn store(&self, rows: &[f32], columns: &[f32], width: usize, to: &mut [f32]) {
        assert!(
            rows.len() <= SIDE && width <= 2 && columns.len() >= width * SIDE && to.len() >= rows.len() * width * SIDE
        );
        // SAFETY: there are tiles, and so there are vectors; the lengths were checked.
        unsafe { store(&self.stage, rows, columns, width, to) }
    }
}

/// See [`DigitSums::store`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store(stage: &Stage, rows: &[f32], columns: &[f32], width: usize, to: &mut [f32]) {
    let (base, square) = (_mm512_set1_ps(256.0), _mm512_set1_ps(65536.0));
    for vector in 0..width {
        // SAFETY: the caller has checked the lengths.
        unsafe {
            let column = _mm512_mul_ps(_mm512_loadu_ps(columns.as_ptr().add(vector * SIDE)), square);
            for (row, scale) in rows.iter().enumerate() {
                let sum = |place: usize| {
                    _mm512_cvtepi32_ps(_mm512_load_si512(stage.0[2 * place + vector].as_ptr().add(row * SIDE).cast()))
                };
                let sum = _mm512_fmadd_ps(_mm512_fmadd_ps(sum(0), base, sum(1)), base, sum(2));
                let product = _mm512_mul_ps(_mm512_mul_ps(sum, column), _mm512_set1_ps(*scale));
                _mm512_storeu_ps(to.as_mut_ptr().add((row * width + vector) * SIDE), product);
            }
        }
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
    let whole = if low.is_empty() { from.len() / DEPTH * DEPTH } else { 0 };
    for (from, high) in from[..whole].as_chunks::<DEPTH>().0.iter().zip(high.as_chunks_mut::<DEPTH>().0) {
        // SAFETY: two vectors of floats, and one of as many numbers of 16 bits.
        unsafe {
            let [first, second] = [0, SIDE].map(|at| _mm512_loadu_ps(from.as_ptr().add(at)));
            let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first));
            _mm512_storeu_si512(high.as_mut_ptr().cast(), both);
        }
    }
    for at in (whole..high.len()).step_by(SIDE) {
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
