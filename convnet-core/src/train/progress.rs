//! What the terminal shows while a network trains: Keras's bar, or one line an epoch where there is no terminal.
//!
//! A step costs nothing that could be measured: the clock is read, and a dozen times a second a line is written into
//! a buffer that was allocated at the start. Where the output cannot be written (a closed pipe), training goes on.

use super::history::{Epoch, Score};
use std::fmt::Write as _;
use std::io::{IsTerminal, Stdout, Write};
use std::time::{Duration, Instant};

/// What is shown of a training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verbose {
    /// The bar in a terminal, else the lines.
    #[default]
    Auto,
    /// A bar that fills while an epoch runs.
    Bar,
    /// One line at the end of each epoch.
    Line,
    /// Nothing.
    Silent,
}

/// Length of the bar.
const WIDTH: usize = 20;
/// How long a drawn bar stays at least.
const INTERVAL: Duration = Duration::from_millis(80);

/// Shows how far a training has come.
#[derive(Debug)]
pub struct Progress<W: Write = Stdout> {
    sink: W,
    verbose: Verbose,
    colours: bool,
    epochs: usize,
    steps: usize,
    epoch: usize,
    started: Instant,
    /// When the bar that stands at the end of the output, if any, was drawn.
    drawn: Option<Instant>,
    text: String,
}

impl Progress {
    /// On standard output, for a training of so many epochs of so many steps.
    pub fn new(verbose: Verbose, epochs: usize, steps: usize) -> Self {
        let sink = std::io::stdout();
        let terminal = sink.is_terminal();
        let verbose = match (verbose, terminal) {
            (Verbose::Auto, true) => Verbose::Bar,
            (Verbose::Auto, false) => Verbose::Line,
            (chosen, _) => chosen,
        };
        // https://no-color.org
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Progress::to(sink, verbose, colours, epochs, steps)
    }
}

impl<W: Write> Progress<W> {
    /// On anything that takes text. [`Verbose::Auto`] counts as [`Verbose::Line`].
    pub fn to(sink: W, verbose: Verbose, colours: bool, epochs: usize, steps: usize) -> Self {
        let text = String::with_capacity(512);
        Progress { sink, verbose, colours, epochs, steps, epoch: 0, started: Instant::now(), drawn: None, text }
    }

    /// Epoch `number` (from one) begins.
    pub fn epoch(&mut self, number: usize) {
        self.epoch = number;
        self.started = Instant::now();
        self.drawn = None;
        if self.verbose == Verbose::Bar {
            self.text.clear();
            let _ = writeln!(self.text, "Epoch {number}/{}", self.epochs);
            self.show();
        }
    }

    /// Step `step` (from one) of the epoch is done; `loss` and `accuracy` are the means over the epoch so far.
    pub fn step(&mut self, step: usize, loss: f32, accuracy: f32) {
        if self.verbose != Verbose::Bar {
            return;
        }
        let now = Instant::now();
        let rests = self.drawn.is_some_and(|drawn| now.duration_since(drawn) < INTERVAL);
        if rests && step < self.steps {
            return;
        }
        self.drawn = Some(now);
        let elapsed = now.duration_since(self.started);
        let left = elapsed.mul_f64(self.steps.saturating_sub(step) as f64 / step.max(1) as f64);
        self.text.clear();
        self.text.push('\r');
        self.bar(step);
        push_remaining(&mut self.text, left);
        push_pace(&mut self.text, elapsed, step);
        push_score(&mut self.text, "", &Score { loss, accuracy });
        self.erase_rest();
        self.show();
    }

    /// The epoch is over.
    pub fn end(&mut self, epoch: &Epoch) {
        self.text.clear();
        match self.verbose {
            Verbose::Silent => return,
            Verbose::Bar => {
                self.text.push('\r');
                self.bar(self.steps);
            }
            Verbose::Line | Verbose::Auto => {
                let (steps, epochs) = (self.steps, self.epochs);
                let _ = write!(self.text, "Epoch {}/{epochs} - {steps}/{steps} ", epoch.number);
            }
        }
        let _ = write!(self.text, "{:.0}s", epoch.duration.as_secs_f64());
        push_pace(&mut self.text, epoch.duration, self.steps);
        push_score(&mut self.text, "", &epoch.training);
        if let Some(validation) = &epoch.validation {
            push_score(&mut self.text, "val_", validation);
        }
        if self.verbose == Verbose::Bar {
            self.erase_rest();
        }
        self.text.push('\n');
        self.show();
        self.drawn = None;
    }

    /// `469/938 ━━━━━━━━━━━━━━━━━━━━ `, in Keras's colours: bold, green and white.
    fn bar(&mut self, step: usize) {
        let full = WIDTH * step.min(self.steps) / self.steps.max(1);
        let digits = self.steps.max(1).ilog10() as usize + 1;
        let [bold, green, white, plain] =
            if self.colours { ["\x1b[1m", "\x1b[32m", "\x1b[37m", "\x1b[0m"] } else { [""; 4] };
        let _ = write!(self.text, "{bold}{step:digits$}/{}{plain} {green}", self.steps);
        self.text.extend(std::iter::repeat_n('━', full));
        let _ = write!(self.text, "{plain}{white}");
        // Without colours the rest of the bar has to differ in another way.
        self.text.extend(std::iter::repeat_n(if self.colours { '━' } else { '─' }, WIDTH - full));
        let _ = write!(self.text, "{plain} ");
    }

    /// What is left of a longer line drawn before.
    fn erase_rest(&mut self) {
        self.text.push_str("\x1b[K");
    }

    fn show(&mut self) {
        // A progress bar that cannot be shown is no reason to stop a training.
        let _ = self.sink.write_all(self.text.as_bytes()).and_then(|()| self.sink.flush());
    }
}

/// An epoch that ends in an error leaves its bar, behind which the error must not be written.
impl<W: Write> Drop for Progress<W> {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            self.text.clear();
            self.text.push('\n');
            self.show();
        }
    }
}

/// `12s`, `1:05`, `2:00:00`
fn push_remaining(text: &mut String, time: Duration) {
    let seconds = time.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let _ = match seconds {
        0..=60 => write!(text, "{seconds}s"),
        61..=3600 => write!(text, "{}:{rest:02}", seconds / 60),
        _ => write!(text, "{hours}:{minutes:02}:{rest:02}"),
    };
}

/// ` 1ms/step`
fn push_pace(text: &mut String, elapsed: Duration, steps: usize) {
    let seconds = elapsed.as_secs_f64() / steps.max(1) as f64;
    let (value, unit) = match seconds {
        1.0.. => (seconds, "s"),
        0.001.. => (seconds * 1e3, "ms"),
        _ => (seconds * 1e6, "us"),
    };
    let _ = write!(text, " {value:.0}{unit}/step");
}

/// ` - accuracy: 0.9404 - loss: 0.1890`
fn push_score(text: &mut String, prefix: &str, score: &Score) {
    for (name, value) in [("accuracy", score.accuracy), ("loss", score.loss)] {
        let _ = write!(text, " - {prefix}{name}: ");
        push_metric(text, value);
    }
}

/// `0.1890`, and `8.3100e-04` for small numbers, as Python writes them.
fn push_metric(text: &mut String, value: f32) {
    if value.abs() > 1e-3 || value.is_nan() {
        let _ = write!(text, "{value:.4}");
        return;
    }
    let mut exponent = 0;
    let mut mantissa = f64::from(value);
    while mantissa != 0.0 && (mantissa.abs() * 1e4).round() < 1e4 {
        mantissa *= 10.0;
        exponent += 1;
    }
    let _ = write!(text, "{mantissa:.4}e{}{exponent:02}", if exponent == 0 { '+' } else { '-' });
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::epoch;
    use super::*;

    fn text(progress: &Progress<Vec<u8>>) -> &str {
        std::str::from_utf8(&progress.sink).unwrap()
    }

    #[test]
    fn the_bar_looks_like_keras() {
        let mut progress = Progress::to(Vec::new(), Verbose::Bar, false, 5, 938);
        progress.epoch(1);
        progress.step(1, 2.5, 0.125);
        progress.step(938, 0.189, 0.9404);
        let finished = Epoch {
            training: Score { loss: 0.189, accuracy: 0.9404 },
            validation: Some(Score { loss: 0.000_831, accuracy: 0.99 }),
            ..epoch(1, 0.0, None)
        };
        progress.end(&finished);
        let lines: Vec<&str> = text(&progress).split(['\r', '\n']).collect();
        assert_eq!(lines[0], "Epoch 1/5");
        assert!(lines[2].starts_with("  1/938 ──────────────────── "), "{}", lines[2]);
        assert!(lines[2].ends_with("s/step - accuracy: 0.1250 - loss: 2.5000\x1b[K"), "{}", lines[2]);
        assert!(lines[3].starts_with("938/938 ━━━━━━━━━━━━━━━━━━━━ 0s "), "{}", lines[3]);
        assert_eq!(
            lines[4],
            "938/938 ━━━━━━━━━━━━━━━━━━━━ 1s 1ms/step - accuracy: 0.9404 - loss: 0.1890 - val_accuracy: 0.9900 - \
             val_loss: 8.3100e-04\x1b[K"
        );
        assert_eq!(lines[5..], [""]);
    }

    #[test]
    fn the_bar_fills_in_colour() {
        let mut progress = Progress::to(Vec::new(), Verbose::Bar, true, 1, 10);
        progress.epoch(1);
        progress.step(5, 1.0, 0.5);
        let half = "━".repeat(10);
        let expected = format!("\r\x1b[1m 5/10\x1b[0m \x1b[32m{half}\x1b[0m\x1b[37m{half}\x1b[0m 0s ");
        assert!(text(&progress).contains(&expected), "{:?}", text(&progress));
    }

    #[test]
    fn a_bar_that_is_left_standing_ends_its_line() {
        let shown = |verbose, ends| {
            let mut sink = Vec::new();
            let mut progress = Progress::to(&mut sink, verbose, false, 2, 4);
            progress.epoch(1);
            progress.step(1, 1.0, 0.5);
            if ends {
                progress.end(&epoch(1, 0.5, None));
            }
            drop(progress);
            String::from_utf8(sink).unwrap()
        };
        for ends in [false, true] {
            let text = shown(Verbose::Bar, ends);
            assert!(text.ends_with("\x1b[K\n"), "{text:?}");
        }
        assert_eq!(shown(Verbose::Line, false), "");
    }

    #[test]
    fn a_bar_is_drawn_a_dozen_times_a_second_at_most() {
        let mut progress = Progress::to(Vec::new(), Verbose::Bar, false, 1, 1_000_000);
        progress.epoch(1);
        for step in 1..1_000_000 {
            progress.step(step, 1.0, 0.5);
        }
        let allowed = progress.started.elapsed().as_millis() / INTERVAL.as_millis() + 1;
        assert!(text(&progress).matches('\r').count() as u128 <= allowed);
        let drawn = text(&progress).len();
        progress.step(1_000_000, 1.0, 0.5);
        assert!(text(&progress)[drawn..].contains("1000000/1000000 ━"), "the last step is always drawn");
    }

    #[test]
    fn without_a_terminal_an_epoch_is_a_line() {
        let mut progress = Progress::to(Vec::new(), Verbose::Line, false, 2, 4);
        for number in [1, 2] {
            progress.epoch(number);
            (1..=4).for_each(|step| progress.step(step, 1.0, 0.5));
            progress.end(&epoch(number, 0.5, (number == 2).then_some(0.25)));
        }
        assert_eq!(
            text(&progress),
            "Epoch 1/2 - 4/4 1s 300ms/step - accuracy: 0.7500 - loss: 0.5000\n\
             Epoch 2/2 - 4/4 2s 600ms/step - accuracy: 0.7500 - loss: 0.5000 - val_accuracy: 0.8750 - val_loss: 0.2500\n"
        );
    }

    #[test]
    fn silence_and_a_closed_pipe_are_quiet() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
        }
        let mut closed = Progress::to(Closed, Verbose::Bar, true, 1, 0);
        let mut silent = Progress::to(Vec::new(), Verbose::Silent, true, 1, 1);
        closed.epoch(1);
        silent.epoch(1);
        closed.step(0, f32::NAN, 0.0);
        silent.step(1, 1.0, 0.0);
        closed.end(&epoch(1, 0.5, None));
        silent.end(&epoch(1, 0.5, None));
        assert_eq!(text(&silent), "");
    }

    #[test]
    fn numbers_are_written_as_python_does() {
        let metric = |value| {
            let mut text = String::new();
            push_metric(&mut text, value);
            text
        };
        let cases = [(0.25, "0.2500"), (12.345_67, "12.3457"), (0.000_831, "8.3100e-04"), (0.0, "0.0000e+00")];
        for (value, expected) in cases {
            assert_eq!(metric(value), expected);
        }
        assert_eq!([metric(-0.000_5), metric(9.999_99e-5), metric(1e-12)], ["-5.0000e-04", "1.0000e-04", "1.0000e-12"]);
        let time = |seconds, steps| {
            let mut text = String::new();
            push_remaining(&mut text, Duration::from_secs(seconds));
            push_pace(&mut text, Duration::from_secs(seconds), steps);
            text
        };
        assert_eq!([time(0, 1), time(59, 10), time(65, 10)], ["0s 0us/step", "59s 6s/step", "1:05 6s/step"]);
        assert_eq!([time(7322, 1000), time(1, 2000)], ["2:02:02 7s/step", "1s 500us/step"]);
    }
}
