//! Buffers of floats that begin at a cache line: vector loads that straddle two lines cost 5 to 10 % of a kernel.

use std::ops::{Deref, DerefMut};

/// Floats in a cache line.
pub const LINE: usize = 16;

/// Bytes of a large page.
const PAGE: usize = 2 << 20;

/// A buffer of floats at a multiple of 64 bytes.
#[derive(Default)]
pub struct Floats {
    /// With some more in front, up to the first multiple.
    memory: Vec<f32>,
    start: usize,
    len: usize,
}

impl Floats {
    /// `len` zeros. The system gives memory where it is first written: what is never used costs nothing.
    pub fn zeros(len: usize) -> Floats {
        let large = 4 * len >= 2 * PAGE;
        let multiple = if large { PAGE } else { 4 * LINE };
        let mut memory = vec![0.0; len + multiple / 4];
        // Beyond the end only where alignment is unknowable, as in a constant.
        let start = memory.as_ptr().align_offset(multiple).min(multiple / 4);
        if large {
            ask_for_large_pages(&mut memory[start..start + len]);
        }
        Floats { memory, start, len }
    }
}

/// Floats of memory that hold pieces of these lengths, as [`carve`] hands them out.
pub fn carved(lens: &[usize]) -> usize {
    LINE + lens.iter().map(|len| len.next_multiple_of(LINE)).sum::<usize>()
}

/// Takes `len` floats off the front of `rest`, starting at a cache line.
pub fn carve<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let taken = std::mem::take(rest);
    let skip = taken.as_ptr().align_offset(4 * LINE).min(LINE);
    let (piece, left) = taken[skip..].split_at_mut(len);
    *rest = left;
    piece
}

/// Tells the system that this memory, which starts at a multiple of [`PAGE`], may come in large pages: a buffer of tens of
/// megabytes has thousands of small ones, more than the processor remembers the places of.
fn ask_for_large_pages(floats: &mut [f32]) {
    #[cfg(target_os = "linux")]
    {
        let len = 4 * floats.len() / PAGE * PAGE;
        // SAFETY: whole pages of memory that is ours; advice changes nothing that a program can see. Whether it is taken
        // does not matter, hence no look at the result.
        unsafe { libc::madvise(floats.as_mut_ptr().cast(), len, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = floats;
}

impl Clone for Floats {
    fn clone(&self) -> Floats {
        let mut clone = Floats::zeros(self.len);
        clone.copy_from_slice(self);
        clone
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::{Floats, PAGE, carve, carved};

    #[test]
    fn buffers_are_zero_aligned_and_cloned_so() {
        for (len, multiple) in [(0, 64), (1, 64), (1000, 64), (PAGE / 2, PAGE), (PAGE + 7, PAGE)] {
            let mut floats = Floats::zeros(len);
            assert!(floats.len() == len && floats.iter().all(|&x| x == 0.0));
            floats.fill(1.5);
            for floats in [&floats, &floats.clone()] {
                assert_eq!(floats.as_ptr() as usize % multiple, 0, "{len}");
                assert!(floats.len() == len && floats.iter().all(|&x| x == 1.5));
            }
        }
        assert!(Floats::default().is_empty());
    }

    #[test]
    fn pieces_are_aligned_disjoint_and_fit() {
        for shift in 0..20 {
            let mut memory = vec![0.0; shift + carved(&[5, 16, 33])];
            let mut rest = &mut memory[shift..];
            for len in [5, 16, 33] {
                let piece = carve(&mut rest, len);
                assert_eq!((piece.len(), piece.as_ptr() as usize % 64), (len, 0));
            }
        }
    }
}
