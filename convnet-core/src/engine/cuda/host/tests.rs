//! The machine of the tests itself: it computes, finds what leaves its spans, and says what does not compile.

use super::super::samples::{self, bytes, floats};
use super::*;

/// The machine, or a word on why this test is skipped.
fn host(backwards: bool, checked: bool) -> Option<Host> {
    Host::new(backwards, checked, 4).inspect_err(|error| eprintln!("skipped: {error}")).ok()
}

fn read(host: &mut Host, memory: Memory, count: usize) -> Vec<f32> {
    let mut bytes = vec![0; 4 * count];
    host.read(memory, 0, &mut bytes).unwrap();
    bytes.chunks(4).map(|four| f32::from_ne_bytes([four[0], four[1], four[2], four[3]])).collect()
}

/// Records one launch on three blocks.
fn recorded(host: &mut Host, (source, text): &(Source, String), arguments: Vec<Argument>) -> Recording {
    let module = host.load_text(text, source.kernels()).unwrap();
    host.record(module, &[Launch { kernel: 0, grid: [3, 1, 1], arguments }]).unwrap()
}

/// What a program says that panics.
fn panics<T>(body: impl FnOnce() -> T) -> String {
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).err().expect("no panic");
    panic.downcast_ref::<String>().expect("a message").clone()
}

#[test]
fn runs_kernels_in_both_orders() {
    let values: Vec<f32> = (0..300).map(|i| (i as f32).sin()).collect();
    let mut found = Vec::new();
    for (backwards, checked) in [(false, false), (false, true), (true, true)] {
        let Some(mut host) = host(backwards, checked) else { return };
        host.reserve(Memory::Weights, 1200).unwrap();
        host.reserve(Memory::Work, 16).unwrap();
        assert!(read(&mut host, Memory::Work, 4).iter().all(|value| value.is_nan()));
        assert!(read(&mut host, Memory::Weights, 300).iter().all(|value| *value == 0.0));
        host.write(Memory::Weights, 0, &bytes(&values)).unwrap();
        // Two modules at once whose shared arrays differ in size.
        for shares in [70, 3000] {
            let arguments = vec![
                Argument::Read(floats(Memory::Weights, 0, 300)),
                Argument::Write(floats(Memory::Work, 0, 3)),
                Argument::Int(100),
            ];
            let recording = recorded(&mut host, &samples::sums(shares, Target::Host), arguments);
            host.replay(recording, 1).unwrap();
            let results = read(&mut host, Memory::Work, 4);
            for (block, sum) in results[..3].iter().enumerate() {
                let expected: f64 = values[100 * block..][..100].iter().map(|&value| f64::from(value)).sum();
                assert!((f64::from(*sum) - expected).abs() < 1e-5, "{sum} {expected}");
            }
            assert!(results[3].is_nan());
            found.push((shares, results[..3].to_vec()));
        }
    }
    assert_eq!(found[..2], found[2..4]);
    assert_eq!(found[..2], found[4..]);
}

#[test]
fn falling_order_is_falling() {
    for (backwards, last) in [(false, 95.0), (true, 0.0)] {
        let Some(mut host) = host(backwards, true) else { return };
        host.reserve(Memory::Work, 4).unwrap();
        let arguments = vec![Argument::Write(floats(Memory::Work, 0, 1))];
        let recording = recorded(&mut host, &samples::small("test_order", Target::Host), arguments);
        host.replay(recording, 1).unwrap();
        assert_eq!(read(&mut host, Memory::Work, 1), [last]);
    }
}

#[test]
fn a_state_has_the_size_that_spans_of_it_have() {
    let Some(mut host) = host(false, true) else { return };
    host.reserve(Memory::Work, 4).unwrap();
    let arguments = vec![Argument::Write(floats(Memory::Work, 0, 1))];
    let recording = recorded(&mut host, &samples::small("test_state", Target::Host), arguments);
    host.replay(recording, 1).unwrap();
    assert_eq!(read(&mut host, Memory::Work, 1), [super::super::source::Element::State.size() as f32]);
}

#[test]
fn replays_as_often_as_asked_and_forgets() {
    let Some(mut host) = host(false, true) else { return };
    host.reserve(Memory::Slots, 40).unwrap();
    host.write(Memory::Slots, 0, &bytes(&[3.0; 10])).unwrap();
    let arguments = vec![Argument::Update(floats(Memory::Slots, 2, 4)), Argument::Long(4), Argument::Float(0.5)];
    let recording = recorded(&mut host, &samples::scale(Target::Host), arguments);
    host.replay(recording, 3).unwrap();
    let scaled = 3.0 / 8.0;
    let expected = [3.0, 3.0, scaled, scaled, scaled, scaled, 3.0, 3.0, 3.0, 3.0];
    assert_eq!(read(&mut host, Memory::Slots, 10), expected);
    host.reserve(Memory::Slots, 36).unwrap();
    host.replay(recording, 1).unwrap();
    assert_eq!(read(&mut host, Memory::Slots, 3)[2], scaled / 2.0);
    host.reserve(Memory::Slots, 44).unwrap();
    assert_eq!(read(&mut host, Memory::Slots, 11), [0.0; 11]);
    assert!(host.replay(recording, 1).unwrap_err().to_string().contains("made anew"));
}

#[test]
fn finds_writing_beside_a_span() {
    let Some(mut host) = host(false, true) else { return };
    host.reserve(Memory::Slots, 32).unwrap();
    host.write(Memory::Slots, 0, &bytes(&[1.0; 8])).unwrap();
    let arguments = vec![Argument::Update(floats(Memory::Slots, 2, 4)), Argument::Long(5), Argument::Float(0.5)];
    let recording = recorded(&mut host, &samples::scale(Target::Host), arguments);
    let said = panics(|| host.replay(recording, 1));
    assert!(said.contains("`test_scale` changed byte 26 of Slots (32 bytes)"), "{said}");
}

#[test]
fn finds_writing_behind_a_memory() {
    let Some(mut host) = host(false, true) else { return };
    host.reserve(Memory::Work, 12).unwrap();
    let arguments = vec![Argument::Write(floats(Memory::Work, 3, 0))];
    let recording = recorded(&mut host, &samples::small("test_order", Target::Host), arguments);
    let said = panics(|| host.replay(recording, 1));
    assert!(said.contains("`test_order` changed byte 12 of Work (12 bytes)"), "{said}");
}

#[test]
fn what_is_written_as_a_whole_is_nan_before() {
    let Some(mut host) = host(false, true) else { return };
    host.reserve(Memory::Weights, 4).unwrap();
    for (argument, fine) in [(Argument::Update as fn(Span) -> Argument, true), (Argument::Write, false)] {
        let recording = recorded(
            &mut host,
            &samples::small("test_accumulate", Target::Host),
            vec![argument(floats(Memory::Weights, 0, 1))],
        );
        host.replay(recording, 1).unwrap();
        assert_eq!(read(&mut host, Memory::Weights, 1)[0].is_finite(), fine);
    }
}

#[test]
fn a_span_outside_is_found_when_it_is_recorded() {
    let Some(mut host) = host(false, false) else { return };
    host.reserve(Memory::Work, 4).unwrap();
    let arguments = vec![Argument::Write(floats(Memory::Work, 0, 2))];
    let said = panics(|| recorded(&mut host, &samples::small("test_order", Target::Host), arguments));
    assert!(said.contains("launch 0, `test_order`: argument 0"), "{said}");
}

#[test]
fn copies_stay_inside() {
    let Some(mut host) = host(false, false) else { return };
    assert!(host.write(Memory::Work, 0, &[0]).is_err());
    host.reserve(Memory::Work, 4).unwrap();
    assert!(host.write(Memory::Work, 1, &[0; 4]).is_err());
    assert!(host.read(Memory::Work, usize::MAX, &mut [0; 4]).is_err());
    host.write(Memory::Work, 1, &[1, 2, 3]).unwrap();
    let mut bytes = [0; 2];
    host.read(Memory::Work, 2, &mut bytes).unwrap();
    assert_eq!(bytes, [2, 3]);
}

#[test]
fn what_does_not_compile_is_an_error_with_the_reason() {
    let Some(mut host) = host(false, false) else { return };
    let (source, text) = samples::small("test_order", Target::Host);
    let error = host.load_text(&format!("{text}\nnonsense"), source.kernels()).unwrap_err().to_string();
    assert!(error.contains("nonsense"), "{error}");
    assert!(Compiler::first(&["convnet-no-such-compiler --x".to_owned()]).is_none());
}
