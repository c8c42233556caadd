//! What the sparse and the pooling kernels need beyond arithmetic: masks, positions of maxima as bytes, picking lanes
//! out of two rows, transposes. A part of [`Simd`](super::simd::Simd), in a file of its own because it is an idea of
//! its own: at every level the same results, to the bit.

use super::simd::Portable;

/// Masks and permutes of a level whose vectors are `V`. A mask has one flag a lane; in `u32`s the first lane is bit 0.
pub trait Select<V: Copy>: Copy {
    /// One flag a lane.
    type M: Copy;
    /// One of four, lane by lane.
    type Places: Copy;

    /// `x > y`; false where either is NaN.
    fn greater(self, x: V, y: V) -> Self::M;
    /// `x ≠ y`; true where either is NaN.
    fn differs(self, x: V, y: V) -> Self::M;
    /// Both flags.
    fn both(self, a: Self::M, b: Self::M) -> Self::M;
    /// The flags as bits.
    fn bits(self, mask: Self::M) -> u32;
    /// `if mask { value } else { 0 }`
    fn keep(self, mask: Self::M, value: V) -> V;
    /// `if mask { a } else { b }`
    fn select(self, mask: Self::M, a: V, b: V) -> V;
    /// Sets `bits` in the lanes (32 bits of whatever kind) where `mask` is set.
    fn mark(self, mask: Self::M, lanes: V, bits: u32) -> V;

    /// Writes the lanes, whole numbers from 0 to 255, as one byte each.
    ///
    /// # Safety
    /// As many bytes as lanes are writable at `to`.
    unsafe fn store_bytes(self, to: *mut u8, lanes: V);
    /// Reads one byte a lane, as floats.
    ///
    /// # Safety
    /// As many bytes as lanes are readable at `from`.
    unsafe fn load_bytes(self, from: *const u8) -> V;
    /// Reads one byte a lane, whose two lowest bits tell one of four.
    ///
    /// # Safety
    /// As many bytes as lanes are readable at `from`.
    unsafe fn load_places(self, from: *const u8) -> Self::Places;
    /// Lane by lane that of four floats which its place tells.
    ///
    /// # Safety
    /// Four floats are readable at `from`.
    unsafe fn pick(self, from: *const f32, places: Self::Places) -> V;
    /// Transposes a square of as many rows and columns as lanes: row `i` starts at `i · stride`.
    ///
    /// # Safety
    /// The rows are readable at `from` and writable at `to`, which do not overlap.
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);
    /// The sum of the lanes of each of as many vectors as lanes, in an order fixed by the level.
    ///
    /// # Safety
    /// As many vectors are readable at `vectors`.
    unsafe fn totals(self, vectors: *const V) -> V;
}

/// The bits of the first 16 bytes at `from` that equal `value`, the first as bit 0.
///
/// # Safety
/// 16 bytes are readable at `from`.
#[inline(always)]
pub unsafe fn equal_bytes(from: *const u8, value: u8) -> u32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE2 is part of x86-64; the caller vouches for the 16 bytes, which need no alignment here.
    unsafe {
        use std::arch::x86_64::*;
        let bytes = _mm_loadu_si128(from.cast());
        _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(value as i8))) as u32
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the caller vouches for the 16 bytes.
    unsafe {
        (0..16).map(|i| u32::from(*from.add(i) == value) << i).sum()
    }
}

const WIDTH: usize = 8;
type Lanes = [f32; WIDTH];

impl Select<Lanes> for Portable {
    type M = [bool; WIDTH];
    type Places = [u8; WIDTH];

    #[inline(always)]
    fn greater(self, x: Lanes, y: Lanes) -> Self::M {
        std::array::from_fn(|i| x[i] > y[i])
    }
    #[inline(always)]
    fn differs(self, x: Lanes, y: Lanes) -> Self::M {
        std::array::from_fn(|i| x[i] != y[i])
    }
    #[inline(always)]
    fn both(self, a: Self::M, b: Self::M) -> Self::M {
        std::array::from_fn(|i| a[i] & b[i])
    }
    #[inline(always)]
    fn bits(self, mask: Self::M) -> u32 {
        let mut bits = 0;
        for (i, flag) in mask.into_iter().enumerate() {
            bits |= u32::from(flag) << i;
        }
        bits
    }
    #[inline(always)]
    fn keep(self, mask: Self::M, value: Lanes) -> Lanes {
        std::array::from_fn(|i| if mask[i] { value[i] } else { 0.0 })
    }
    #[inline(always)]
    fn select(self, mask: Self::M, a: Lanes, b: Lanes) -> Lanes {
        std::array::from_fn(|i| if mask[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn mark(self, mask: Self::M, lanes: Lanes, bits: u32) -> Lanes {
        std::array::from_fn(|i| if mask[i] { f32::from_bits(lanes[i].to_bits() | bits) } else { lanes[i] })
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, lanes: Lanes) {
        for (i, lane) in lanes.into_iter().enumerate() {
            // SAFETY: the caller vouches for as many bytes as lanes.
            unsafe { *to.add(i) = lane as u8 }
        }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> Lanes {
        // SAFETY: the caller vouches for as many bytes as lanes.
        std::array::from_fn(|i| unsafe { f32::from(*from.add(i)) })
    }
    #[inline(always)]
    unsafe fn load_places(self, from: *const u8) -> [u8; WIDTH] {
        // SAFETY: the caller vouches for as many bytes as lanes.
        unsafe { from.cast::<[u8; WIDTH]>().read() }
    }
    #[inline(always)]
    unsafe fn pick(self, from: *const f32, places: [u8; WIDTH]) -> Lanes {
        // SAFETY: the caller vouches for four floats.
        let four = unsafe { from.cast::<[f32; 4]>().read() };
        places.map(|place| four[usize::from(place & 3)])
    }
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..WIDTH {
            for j in 0..WIDTH {
                // SAFETY: the caller vouches for WIDTH rows of WIDTH floats at the strides.
                unsafe { *to.add(j * to_stride + i) = *from.add(i * from_stride + j) }
            }
        }
    }
    #[inline(always)]
    unsafe fn totals(self, vectors: *const Lanes) -> Lanes {
        // SAFETY: the caller vouches for WIDTH vectors.
        std::array::from_fn(|i| unsafe { (*vectors.add(i)).iter().sum() })
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Select;
    use crate::engine::cpu::simd::{Avx2, Avx512};
    use std::arch::x86_64::*;

    // SAFETY of every `unsafe` block in this implementation and the next: the value `self` proves that the machine has
    // the instruction; where memory is touched, the caller of the (unsafe) method vouches for the pointer.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Select<__m256> for Avx2 {
        type M = __m256;
        type Places = __m256i;

        #[inline(always)]
        fn greater(self, x: __m256, y: __m256) -> __m256 {
            unsafe { _mm256_cmp_ps::<_CMP_GT_OQ>(x, y) }
        }
        #[inline(always)]
        fn differs(self, x: __m256, y: __m256) -> __m256 {
            unsafe { _mm256_cmp_ps::<_CMP_NEQ_UQ>(x, y) }
        }
        #[inline(always)]
        fn both(self, a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_and_ps(a, b) }
        }
        #[inline(always)]
        fn bits(self, mask: __m256) -> u32 {
            unsafe { _mm256_movemask_ps(mask) as u32 }
        }
        #[inline(always)]
        fn keep(self, mask: __m256, value: __m256) -> __m256 {
            unsafe { _mm256_and_ps(mask, value) }
        }
        #[inline(always)]
        fn select(self, mask: __m256, a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_blendv_ps(b, a, mask) }
        }
        #[inline(always)]
        fn mark(self, mask: __m256, lanes: __m256, bits: u32) -> __m256 {
            unsafe {
                let bits = _mm256_castsi256_ps(_mm256_set1_epi32(bits as i32));
                _mm256_or_ps(lanes, _mm256_and_ps(mask, bits))
            }
        }
        #[inline(always)]
        unsafe fn store_bytes(self, to: *mut u8, lanes: __m256) {
            unsafe {
                let words = _mm256_cvttps_epi32(lanes);
                let words = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
                _mm_storel_epi64(to.cast(), _mm_packus_epi16(words, words))
            }
        }
        #[inline(always)]
        unsafe fn load_bytes(self, from: *const u8) -> __m256 {
            unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))) }
        }
        #[inline(always)]
        unsafe fn load_places(self, from: *const u8) -> __m256i {
            unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast())) }
        }
        #[inline(always)]
        unsafe fn pick(self, from: *const f32, places: __m256i) -> __m256 {
            unsafe {
                let four = _mm_loadu_ps(from);
                _mm256_permutevar_ps(_mm256_set_m128(four, four), places)
            }
        }
        #[inline(always)]
        unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            unsafe {
                let mut row = [_mm256_setzero_ps(); 8];
                for (i, row) in row.iter_mut().enumerate() {
                    *row = _mm256_loadu_ps(from.add(i * from_stride));
                }
                let mut pairs = row;
                for i in 0..4 {
                    pairs[2 * i] = _mm256_unpacklo_ps(row[2 * i], row[2 * i + 1]);
                    pairs[2 * i + 1] = _mm256_unpackhi_ps(row[2 * i], row[2 * i + 1]);
                }
                // Column j of the first four rows in the lower half, column j + 4 in the upper; then the last four rows.
                let mut fours = pairs;
                for i in 0..2 {
                    let p = &pairs[4 * i..4 * i + 4];
                    fours[4 * i] = _mm256_shuffle_ps::<0x44>(p[0], p[2]);
                    fours[4 * i + 1] = _mm256_shuffle_ps::<0xEE>(p[0], p[2]);
                    fours[4 * i + 2] = _mm256_shuffle_ps::<0x44>(p[1], p[3]);
                    fours[4 * i + 3] = _mm256_shuffle_ps::<0xEE>(p[1], p[3]);
                }
                for j in 0..4 {
                    let lower = _mm256_permute2f128_ps::<0x20>(fours[j], fours[4 + j]);
                    let upper = _mm256_permute2f128_ps::<0x31>(fours[j], fours[4 + j]);
                    _mm256_storeu_ps(to.add(j * to_stride), lower);
                    _mm256_storeu_ps(to.add((4 + j) * to_stride), upper);
                }
            }
        }
        #[inline(always)]
        unsafe fn totals(self, vectors: *const __m256) -> __m256 {
            unsafe {
                // Halves of each vector: the sums of four side by side.
                let mut fours = [_mm256_setzero_ps(); 2];
                for (i, four) in fours.iter_mut().enumerate() {
                    let v = vectors.add(4 * i);
                    let pairs = [_mm256_hadd_ps(*v, *v.add(1)), _mm256_hadd_ps(*v.add(2), *v.add(3))];
                    *four = _mm256_hadd_ps(pairs[0], pairs[1]);
                }
                let lower = _mm256_permute2f128_ps::<0x20>(fours[0], fours[1]);
                _mm256_add_ps(lower, _mm256_permute2f128_ps::<0x31>(fours[0], fours[1]))
            }
        }
    }

    // SAFETY of every `unsafe` block: as above.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Select<__m512> for Avx512 {
        type M = __mmask16;
        type Places = __m512i;

        #[inline(always)]
        fn greater(self, x: __m512, y: __m512) -> __mmask16 {
            unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, y) }
        }
        #[inline(always)]
        fn differs(self, x: __m512, y: __m512) -> __mmask16 {
            unsafe { _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(x, y) }
        }
        #[inline(always)]
        fn both(self, a: __mmask16, b: __mmask16) -> __mmask16 {
            a & b
        }
        #[inline(always)]
        fn bits(self, mask: __mmask16) -> u32 {
            u32::from(mask)
        }
        #[inline(always)]
        fn keep(self, mask: __mmask16, value: __m512) -> __m512 {
            unsafe { _mm512_maskz_mov_ps(mask, value) }
        }
        #[inline(always)]
        fn select(self, mask: __mmask16, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mask_blend_ps(mask, b, a) }
        }
        #[inline(always)]
        fn mark(self, mask: __mmask16, lanes: __m512, bits: u32) -> __m512 {
            unsafe {
                let lanes = _mm512_castps_si512(lanes);
                let marked = _mm512_mask_or_epi32(lanes, mask, lanes, _mm512_set1_epi32(bits as i32));
                _mm512_castsi512_ps(marked)
            }
        }
        #[inline(always)]
        unsafe fn store_bytes(self, to: *mut u8, lanes: __m512) {
            unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(lanes))) }
        }
        #[inline(always)]
        unsafe fn load_bytes(self, from: *const u8) -> __m512 {
            unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
        }
        #[inline(always)]
        unsafe fn load_places(self, from: *const u8) -> __m512i {
            unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast())) }
        }
        #[inline(always)]
        unsafe fn pick(self, from: *const f32, places: __m512i) -> __m512 {
            unsafe { _mm512_permutevar_ps(_mm512_broadcast_f32x4(_mm_loadu_ps(from)), places) }
        }
        #[inline(always)]
        unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            unsafe {
                let mut row = [_mm512_setzero_ps(); 16];
                for (i, row) in row.iter_mut().enumerate() {
                    *row = _mm512_loadu_ps(from.add(i * from_stride));
                }
                let mut next = row;
                for i in 0..8 {
                    next[2 * i] = _mm512_unpacklo_ps(row[2 * i], row[2 * i + 1]);
                    next[2 * i + 1] = _mm512_unpackhi_ps(row[2 * i], row[2 * i + 1]);
                }
                // Of rows 4i to 4i + 3: columns j, j + 4, j + 8, j + 12, one in each quarter.
                for i in 0..4 {
                    let p = &next[4 * i..4 * i + 4];
                    row[4 * i] = _mm512_shuffle_ps::<0x44>(p[0], p[2]);
                    row[4 * i + 1] = _mm512_shuffle_ps::<0xEE>(p[0], p[2]);
                    row[4 * i + 2] = _mm512_shuffle_ps::<0x44>(p[1], p[3]);
                    row[4 * i + 3] = _mm512_shuffle_ps::<0xEE>(p[1], p[3]);
                }
                for j in 0..4 {
                    let low = _mm512_shuffle_f32x4::<0x88>(row[j], row[4 + j]);
                    let high = _mm512_shuffle_f32x4::<0xDD>(row[j], row[4 + j]);
                    let low2 = _mm512_shuffle_f32x4::<0x88>(row[8 + j], row[12 + j]);
                    let high2 = _mm512_shuffle_f32x4::<0xDD>(row[8 + j], row[12 + j]);
                    _mm512_storeu_ps(to.add(j * to_stride), _mm512_shuffle_f32x4::<0x88>(low, low2));
                    _mm512_storeu_ps(to.add((4 + j) * to_stride), _mm512_shuffle_f32x4::<0x88>(high, high2));
                    _mm512_storeu_ps(to.add((8 + j) * to_stride), _mm512_shuffle_f32x4::<0xDD>(low, low2));
                    _mm512_storeu_ps(to.add((12 + j) * to_stride), _mm512_shuffle_f32x4::<0xDD>(high, high2));
                }
            }
        }
        #[inline(always)]
        unsafe fn totals(self, vectors: *const __m512) -> __m512 {
            unsafe {
                // Quarters of each vector: the sums of four side by side.
                let mut fours = [_mm512_setzero_ps(); 4];
                for (i, four) in fours.iter_mut().enumerate() {
                    let v = vectors.add(4 * i);
                    let (a, b, c, d) = (*v, *v.add(1), *v.add(2), *v.add(3));
                    let low = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                    let high = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
                    *four = _mm512_add_ps(_mm512_shuffle_ps::<0x44>(low, high), _mm512_shuffle_ps::<0xEE>(low, high));
                }
                let [a, b, c, d] = fours;
                let low = _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xDD>(a, b));
                let high = _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xDD>(c, d));
                _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(low, high), _mm512_shuffle_f32x4::<0xDD>(low, high))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};

    /// Runs every operation on lanes 1, −2, 3, −4, … and on a NaN, against plain code.
    struct All;

    impl Vectorized for All {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let values: Vec<f32> =
                (0..16).map(|i| if i % 2 == 0 { i as f32 + 1.0 } else { -(i as f32) - 1.0 }).collect();
            let lanes: Vec<f32> = (0..16).map(|i| (i * 5 % 16) as f32).collect();
            let mut out = vec![0.0f32; S::LANES];
            let mut bytes = vec![0u8; S::LANES];
            // SAFETY: every buffer has at least LANES ≤ 16 elements.
            unsafe {
                let (v, zero) = (s.load(values.as_ptr()), s.splat(0.0));
                let even = 0x5555 & ((1u32 << S::LANES) - 1);
                assert_eq!(s.bits(s.greater(v, zero)), even);
                assert_eq!(s.bits(s.greater(s.splat(f32::NAN), zero)), 0);
                assert_eq!(s.bits(s.differs(s.splat(f32::NAN), zero)), (1u32 << S::LANES) - 1);
                assert_eq!(s.bits(s.both(s.greater(v, zero), s.differs(v, s.splat(3.0)))), even & !4);
                s.store(out.as_mut_ptr(), s.keep(s.greater(v, zero), v));
                assert!((0..S::LANES).all(|i| out[i] == values[i].max(0.0)));
                s.store(out.as_mut_ptr(), s.select(s.greater(v, zero), zero, v));
                assert!((0..S::LANES).all(|i| out[i] == values[i].min(0.0)));
                s.store(out.as_mut_ptr(), s.mark(s.greater(v, zero), s.splat(f32::from_bits(2)), 1 << 31));
                assert!((0..S::LANES).all(|i| out[i].to_bits() == if i % 2 == 0 { 0x8000_0002 } else { 2 }));
                s.store_bytes(bytes.as_mut_ptr(), s.load(lanes.as_ptr()));
                assert!((0..S::LANES).all(|i| f32::from(bytes[i]) == lanes[i]));
                s.store(out.as_mut_ptr(), s.load_bytes(bytes.as_ptr()));
                assert_eq!(out, lanes[..S::LANES]);
                // More than the two lowest bits are set in some.
                let places: Vec<u8> = (0..16).map(|i| i * 3 % 8).collect();
                s.store(out.as_mut_ptr(), s.pick(values.as_ptr().add(5), s.load_places(places.as_ptr())));
                assert!((0..S::LANES).all(|i| out[i] == values[5 + usize::from(places[i] % 4)]));
                let (from, mut to) = ((0..20 * 16).map(|i| i as f32).collect::<Vec<_>>(), vec![0.0; 18 * 16]);
                s.transpose(from.as_ptr(), 20, to.as_mut_ptr(), 18);
                for i in 0..S::LANES {
                    assert!((0..S::LANES).all(|j| to[j * 18 + i] == from[i * 20 + j]));
                }
                let vectors: Vec<S::V> = (0..S::LANES).map(|i| s.load(from.as_ptr().add(i * 20))).collect();
                s.store(out.as_mut_ptr(), s.totals(vectors.as_ptr()));
                // Whole numbers below 2^24: exact in any order.
                assert!((0..S::LANES).all(|i| out[i] == from[i * 20..][..S::LANES].iter().sum::<f32>()));
            }
        }
    }

    #[test]
    fn every_level_selects_alike() {
        for level in Level::available() {
            vectorize(level, All);
        }
    }

    #[test]
    fn equal_bytes_are_found() {
        let bytes: Vec<u8> = (0..16).map(|i| i % 3).collect();
        // SAFETY: 16 bytes are there.
        let bits = unsafe { equal_bytes(bytes.as_ptr(), 2) };
        assert_eq!(bits, 0b0100_1001_0010_0100);
    }
}
