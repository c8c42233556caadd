//! A few threads that take small pieces of work as they come.
//!
//! [`Pool::run`] hands out the numbers `0..items`, each to whichever thread asks first, and returns when all are done.
//! The calling thread works, too. A training step takes well under a millisecond and runs several such rounds, so
//! waiting threads spin for a moment before they sleep: waking a sleeper costs more than most rounds. Which thread
//! does a piece must not matter to the result; that is the callers' part.
//!
//! Each thread has a share of the numbers, the same in rounds of as many items, so that what it left in its cache in one
//! round it finds there in the next; when its own are done it takes of the others'. A share is one atomic word,
//! `end | next`: claiming a piece is a compare-and-swap on it, and whoever has claimed one knows that the round cannot end
//! (nor its job go away) before the piece is done. A thread that the system has taken off its core holds up the others only
//! while it holds a piece.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A piece of work: the thread's number (0 is the caller) and the item's.
type Job<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// Rounds of spinning before a thread begins to give its core away, and before it sleeps.
const SPINS: usize = 4_000;
const YIELDS: usize = 200;

/// Threads that work together. Dropping the pool ends them.
pub struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

struct Shared {
    shares: Box<[Share]>,
    /// A thin pointer to the caller's `&Job`, valid while a piece of the round is claimed and not done.
    job: AtomicPtr<&'static Job<'static>>,
    done: AtomicUsize,
    panicked: AtomicBool,
    closing: AtomicBool,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

/// The numbers that a thread has first claim to, `end << 32 | next`, in a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Share(AtomicU64);

impl Share {
    fn hand_out(&self, items: Range<usize>) {
        self.0.store((items.end as u64) << 32 | items.start as u64, Ordering::SeqCst);
    }

    fn is_empty(&self) -> bool {
        let share = self.0.load(Ordering::SeqCst);
        share >> 32 <= share & u64::from(u32::MAX)
    }

    /// The next of the numbers, if there is one left.
    fn claim(&self) -> Option<usize> {
        let mut share = self.0.load(Ordering::Acquire);
        loop {
            let (end, next) = (share >> 32, share & u64::from(u32::MAX));
            if next >= end {
                return None;
            }
            match self.0.compare_exchange_weak(share, share + 1, Ordering::AcqRel, Ordering::Acquire) {
                Err(now) => share = now,
                Ok(_) => return Some(next as usize),
            }
        }
    }
}

impl Pool {
    /// A pool of `threads` threads, the calling one included; 0 stands for as many as the machine runs at once.
    pub fn new(threads: usize) -> Pool {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            some => some,
        };
        let shared = Arc::new(Shared {
            shares: (0..threads).map(|_| Share::default()).collect(),
            job: AtomicPtr::new(std::ptr::null_mut()),
            done: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        });
        let helpers = (1..threads)
            .map_while(|number| {
                let shared = Arc::clone(&shared);
                // A machine that gives no further thread gets by with those that it gave.
                std::thread::Builder::new().name(format!("convnet-{number}")).spawn(move || shared.help(number)).ok()
            })
            .collect();
        Pool { shared, helpers }
    }

    /// How many threads work, the caller included.
    pub fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Calls `job(thread, item)` once for each item below `items`, on all threads, and returns when all are done.
    pub fn run(&mut self, items: usize, job: &Job<'_>) {
        if self.helpers.is_empty() || items <= 1 {
            (0..items).for_each(|item| job(0, item));
            return;
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. The pointer is used by threads that have claimed a piece of this round, and
        // this function does not return, nor unwind, before every claimed piece is done.
        let job: &'static Job<'static> = unsafe { std::mem::transmute::<&Job<'_>, &'static Job<'static>>(job) };
        let mut job = job;
        shared.done.store(0, Ordering::Relaxed);
        shared.job.store(&raw mut job, Ordering::Relaxed);
        let threads = self.helpers.len() + 1;
        // The caller's own last: a helper that saw it before its own would take of it. (With several helpers one may
        // still see the next one's first, and takes of that.)
        for (thread, share) in shared.shares[..threads].iter().enumerate().rev() {
            share.hand_out(thread * items / threads..(thread + 1) * items / threads);
        }
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            drop(shared.lock.lock().unwrap_or_else(PoisonError::into_inner));
            shared.wake.notify_all();
        }
        shared.work(0);
        let mut waited = 0;
        while shared.done.load(Ordering::Acquire) < items {
            pause(&mut waited);
        }
        if shared.panicked.swap(false, Ordering::Relaxed) {
            resume_unwind(Box::new("a worker thread panicked"));
        }
    }
}

impl Shared {
    /// Does pieces of the current round until none is left, its own first.
    fn work(&self, thread: usize) {
        let (before, from) = self.shares.split_at(thread);
        for share in from.iter().chain(before) {
            while let Some(item) = share.claim() {
                // SAFETY: the piece is claimed and not done, so `run` has not returned, and `job` is that of its round.
                let job = unsafe { *self.job.load(Ordering::Relaxed) };
                if catch_unwind(AssertUnwindSafe(|| job(thread, item))).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
                self.done.fetch_add(1, Ordering::Release);
            }
        }
    }

    fn has_work(&self) -> bool {
        !self.shares.iter().all(Share::is_empty)
    }

    /// The life of a helper.
    fn help(&self, thread: usize) {
        let mut waited = 0;
        loop {
            if self.has_work() {
                self.work(thread);
                waited = 0;
            } else if self.closing.load(Ordering::Acquire) {
                return;
            } else if waited < SPINS + YIELDS {
                pause(&mut waited);
            } else {
                self.sleep();
                waited = 0;
            }
        }
    }

    fn sleep(&self) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        // The caller publishes the round before it looks for sleepers, and a sleeper says that it sleeps before it looks
        // for a round: one of them sees the other.
        while !self.has_work() && !self.closing.load(Ordering::SeqCst) {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits a moment, the longer the more moments have passed.
fn pause(waited: &mut usize) {
    *waited += 1;
    if *waited < SPINS {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let _guard = self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.closing.store(true, Ordering::SeqCst);
        }
        self.shared.wake.notify_all();
        for helper in self.helpers.drain(..) {
            // A helper catches every panic of a job, so there is no error to see here.
            let _ = helper.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pool;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    #[test]
    fn every_item_is_done_once_in_every_round() {
        for threads in 1..=4 {
            let mut pool = Pool::new(threads);
            let counts: Vec<AtomicUsize> = (0..37).map(|_| AtomicUsize::new(0)).collect();
            for round in 0..2_000 {
                let items = round % 38;
                pool.run(items, &|thread, item| {
                    assert!(thread < threads && item < items);
                    counts[item].fetch_add(1, Ordering::Relaxed);
                });
            }
            for (item, count) in counts.iter().enumerate() {
                let expected = (0..2_000).filter(|round| round % 38 > item).count();
                assert_eq!(count.load(Ordering::Relaxed), expected);
            }
        }
    }

    #[test]
    fn the_share_of_a_busy_thread_is_done_by_others() {
        let mut pool = Pool::new(2);
        let done = AtomicUsize::new(0);
        let deadline = Instant::now() + Duration::from_secs(60);
        // Whoever has the first item holds it until all others are done, those of its own share among them.
        pool.run(8, &|_, item| {
            while item == 0 && done.load(Ordering::Acquire) < 7 {
                assert!(Instant::now() < deadline, "the share was left lying");
                std::thread::yield_now();
            }
            done.fetch_add(1, Ordering::Release);
        });
        assert_eq!(done.into_inner(), 8);
    }

    #[test]
    fn sleeping_helpers_wake_up() {
        let mut pool = Pool::new(3);
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let done = AtomicUsize::new(0);
            pool.run(9, &|_, _| {
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), 9);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let mut pool = Pool::new(2);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.run(8, &|_, item| assert!(item != 5, "five"));
        }));
        assert!(panicked.is_err());
        let done = AtomicUsize::new(0);
        pool.run(8, &|_, _| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.into_inner(), 8);
    }
}
