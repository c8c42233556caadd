//! How long something takes that nothing disturbs.

use std::time::{Duration, Instant};

/// The least seconds of many runs, of which each says how long it took: so many calls, and as many more as the time allows.
pub fn least(calls: usize, time: Duration, mut run: impl FnMut() -> Duration) -> f64 {
    let (begin, mut least, mut count) = (Instant::now(), Duration::MAX, 0);
    while count < calls || begin.elapsed() < time {
        least = least.min(run());
        count += 1;
    }
    least.as_secs_f64()
}
