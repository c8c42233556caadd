//! One buffer, many threads, each in its own part.

use std::marker::PhantomData;
use std::ops::Range;

/// A mutable slice whose parts are handed to several threads. Rust cannot see that the parts do not overlap, so that
/// is the promise of whoever calls [`Disjoint::part`].
pub struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// Another handle on the same slice: the promise of `part` is about all of them.
impl<T> Clone for Disjoint<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Disjoint<'_, T> {}

// SAFETY: it is a mutable slice by another name. Parts reach other threads through `part`, whose callers promise that no
// two overlap (so `T: Send` is enough), and through `shared`, which several threads may read at once (hence `T: Sync`).
unsafe impl<T: Send + Sync> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    /// Takes the slice over for as long as it is borrowed.
    pub fn new(slice: &'a mut [T]) -> Self {
        Disjoint { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Where they lie. To be written to under the promise of [`Disjoint::part`].
    pub fn as_mut_ptr(&self) -> *mut T {
        self.start
    }

    /// Whether there is nothing to hand out.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The part in `range`. Panics beyond the end.
    ///
    /// # Safety
    /// No other part that overlaps it is in use while this one is.
    #[allow(clippy::mut_from_ref)] // the point of the type; see the safety contract
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: within the slice by the assertion; not aliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.end - range.start) }
    }

    /// The part in `range`, to be read only. Panics beyond the end.
    ///
    /// # Safety
    /// No part that overlaps it is written while this one is in use.
    pub unsafe fn shared(&self, range: Range<usize>) -> &[T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: within the slice by the assertion; not written by the caller's promise.
        unsafe { std::slice::from_raw_parts(self.start.add(range.start), range.end - range.start) }
    }
}
