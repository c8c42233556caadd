//! Uploads by way of two buffers that the GPU reads by itself: while it takes one, the other is filled.

use super::During;
use super::handles::Stream;
use crate::Result;
use cudarc::driver::result::{self, event};
use cudarc::driver::sys;

/// Bytes of a buffer: large enough that the copy, not its start, takes the time.
pub(super) const BYTES: usize = 8 << 20;

/// Two buffers, filled in turn.
pub(super) struct Staging {
    buffers: [Buffer; 2],
    next: usize,
}

impl Staging {
    pub fn new() -> Result<Staging> {
        Ok(Staging { buffers: [Buffer::new()?, Buffer::new()?], next: 0 })
    }

    /// Copies `bytes` to `address` after all that the stream has to do. They are free when this returns.
    ///
    /// # Safety
    /// There is memory of the GPU for all of them, and it stays until the stream is through with it.
    pub unsafe fn upload(&mut self, address: sys::CUdeviceptr, bytes: &[u8], stream: &Stream) -> Result<()> {
        for (number, piece) in bytes.chunks(BYTES).enumerate() {
            let place = address + (number * BYTES) as u64;
            // SAFETY: as the caller says.
            unsafe { self.buffers[self.next].upload(place, piece, stream) }?;
            self.next = 1 - self.next;
        }
        Ok(())
    }
}

/// Memory of the host that stays where it is.
struct Buffer {
    memory: Pinned,
    /// Says when the GPU has taken what was in it last.
    taken: Event,
}

impl Buffer {
    fn new() -> Result<Buffer> {
        Ok(Buffer { memory: Pinned::new()?, taken: Event::new()? })
    }

    /// Copies at most [`BYTES`].
    ///
    /// # Safety
    /// As for [`Staging::upload`].
    unsafe fn upload(&mut self, address: sys::CUdeviceptr, bytes: &[u8], stream: &Stream) -> Result<()> {
        let action = "upload data";
        // SAFETY: the event is there; one that was never recorded has happened.
        unsafe { event::synchronize(self.taken.0) }.during(action)?;
        let staged = self.memory.fill(bytes);
        // SAFETY: the caller has the memory; the buffer is not touched before the event has happened.
        unsafe { result::memcpy_htod_async(address, staged, stream.0) }.during(action)?;
        // SAFETY: both are there.
        unsafe { event::record(self.taken.0, stream.0) }.during(action)
    }
}

/// [`BYTES`] of memory that the GPU reads.
struct Pinned(*mut u8);

impl Pinned {
    fn new() -> Result<Pinned> {
        // SAFETY: nobody reads it before `fill` has written there.
        let memory = unsafe { result::malloc_host(BYTES, 0) };
        memory.during("allocate host memory for uploads").map(|memory| Pinned(memory.cast()))
    }

    /// Copies at most [`BYTES`] to its beginning, and returns that.
    fn fill(&mut self, bytes: &[u8]) -> &[u8] {
        assert!(bytes.len() <= BYTES, "a piece fits into a buffer");
        // SAFETY: the buffer has room for the bytes, and is no part of them; then they stand there.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0, bytes.len());
            std::slice::from_raw_parts(self.0, bytes.len())
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: it was allocated, and who drops it has waited for the stream.
        let _ = unsafe { result::free_host(self.0.cast()) };
    }
}

/// A point in a stream's work.
struct Event(sys::CUevent);

impl Event {
    fn new() -> Result<Event> {
        event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).during("make an event").map(Event)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: it was made, and is not used after this.
        let _ = unsafe { event::destroy(self.0) };
    }
}
