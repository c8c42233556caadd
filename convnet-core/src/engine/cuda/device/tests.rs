//! What needs no GPU of the GPU's machine; and, where there is one, memory, launches and errors on it.

use super::machine::{compile_all, newer, refused};
use super::staging::BYTES;
use super::*;
use crate::engine::cuda::backend::{Argument, Backend, Launch, Memory};
use crate::engine::cuda::samples::{bytes, floats, scale, small, sums};
use crate::engine::cuda::source::Target;

#[test]
fn versions_are_said_as_people_say_them() {
    assert_eq!(dotted(12_080), "12.8");
    assert!(old_driver(11_080).contains("knows CUDA 11.8, and 12.0 or newer is needed"));
    assert_eq!(newer((12, 8), 12_080), "");
    assert_eq!(newer((12, 9), 13_000), "");
    let older = newer((13, 5), 12_040);
    assert!(older.contains("knows CUDA 12.4, and NVRTC is 13.5") && older.contains("'nvidia-cuda-nvrtc-cu12<=12.4."));
}

#[test]
fn says_which_gpus_there_are() {
    assert!(no_device(0, 0).to_string().contains("finds no GPU"));
    assert!(no_device(1, 1).to_string().contains("no GPU 1: there is one, number 0"));
    assert!(no_device(4, 2).to_string().contains("no GPU 4: there are 2, numbered from 0"));
}

#[test]
fn texts_are_compiled_in_their_order() {
    let texts: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let compile = |text: &str| match text {
        "7" => Err(Error::Cuda("seven".to_owned())),
        text => Ok(text.as_bytes().to_vec()),
    };
    let made = compile_all(&texts, compile);
    assert_eq!(made.len(), 40);
    for (made, text) in made.iter().zip(&texts) {
        match made {
            Ok(made) => assert_eq!(made, text.as_bytes()),
            Err(error) => assert!(*text == "7" && error.to_string().contains("seven"), "{error}"),
        }
    }
    assert!(compile_all(&[], |_| Ok(Vec::new())).is_empty());
}

/// Without a driver, too: whoever asks gets an answer, or a sentence.
#[test]
fn asking_for_gpus_does_no_harm() {
    match Gpu::count() {
        Ok(count) => {
            let error = Gpu::device(count).unwrap_err().to_string();
            assert!(error.contains("GPU"), "{error}");
            assert!(Gpu::device(usize::MAX).is_err());
        }
        Err(error) => {
            let error = error.to_string();
            assert!(error.starts_with("CUDA: "), "{error}");
            assert_eq!(Gpu::device(0).unwrap_err().to_string(), error);
        }
    }
}

/// The first GPU, or a word on why this test is skipped.
fn gpu() -> Option<Machine> {
    let machine = Gpu::device(0).and_then(|cuda| {
        println!("{} {:?} {:?}", cuda.name(), cuda.compute_capability(), cuda.memory()?);
        Machine::new(cuda)
    });
    machine.inspect_err(|error| eprintln!("skipped: {error}")).ok()
}

fn read(machine: &mut Machine, memory: Memory, count: usize) -> Vec<f32> {
    let mut bytes = vec![1; 4 * count];
    machine.read(memory, 0, &mut bytes).unwrap();
    bytes.chunks(4).map(|four| f32::from_ne_bytes([four[0], four[1], four[2], four[3]])).collect()
}

#[test]
fn copies_are_what_was_written() {
    let Some(mut gpu) = gpu() else { return };
    let bytes: Vec<u8> = (0..3 * BYTES + 5).map(|i| (i % 251) as u8).collect();
    gpu.reserve(Memory::Order, bytes.len() + 3).unwrap();
    // Each is in flight when the next is asked for.
    gpu.write(Memory::Order, 3, &bytes).unwrap();
    gpu.write(Memory::Order, 0, &[7; 2]).unwrap();
    gpu.write(Memory::Order, 0, &[]).unwrap();
    let mut found = vec![1; bytes.len() + 3];
    gpu.read(Memory::Order, 0, &mut found).unwrap();
    assert_eq!(found[..3], [7, 7, 0]);
    assert!(found[3..] == bytes);
    assert!(gpu.write(Memory::Order, 4, &bytes).is_err());
    assert!(gpu.read(Memory::Order, 0, &mut [0]).is_err());
    gpu.reserve(Memory::Order, 1 << 24).unwrap();
    gpu.read(Memory::Order, 0, &mut found).unwrap();
    assert!(found == bytes_then(&bytes), "it is as it was where it does not grow");
    let error = gpu.reserve(Memory::Tables, 1 << 60).unwrap_err().to_string();
    assert!(error.contains("CUDA_ERROR_OUT_OF_MEMORY") && error.contains("1152921504606846976 bytes"), "{error}");
    gpu.reserve(Memory::Order, 2 * bytes.len()).unwrap();
    gpu.read(Memory::Order, 0, &mut found).unwrap();
    assert!(found.iter().all(|byte| *byte == 0), "it is new");
}

fn bytes_then(bytes: &[u8]) -> Vec<u8> {
    [&[7, 7, 0], bytes].concat()
}

#[test]
fn replays_kernels_in_the_order_that_their_spans_ask_for() {
    let Some(mut gpu) = gpu() else { return };
    let values: Vec<f32> = (0..300).map(|i| (i as f32).sin()).collect();
    gpu.reserve(Memory::Weights, 1200).unwrap();
    gpu.reserve(Memory::Work, 16).unwrap();
    gpu.write(Memory::Weights, 0, &bytes(&values)).unwrap();
    let (source, text) = sums(70, Target::Device);
    let module = gpu.load_parts(&[(0..source.kernels().len(), text)], source.kernels()).unwrap();
    let launch = |arguments| Launch { kernel: 0, grid: [3, 1, 1], arguments };
    let read_and = |to| vec![Argument::Read(floats(Memory::Weights, 0, 300)), to, Argument::Int(100)];
    let sum = launch(read_and(Argument::Write(floats(Memory::Work, 0, 3))));
    let again = Launch {
        grid: [1, 1, 1],
        arguments: vec![
            Argument::Read(floats(Memory::Work, 0, 3)),
            Argument::Write(floats(Memory::Work, 3, 1)),
            Argument::Int(3),
        ],
        ..sum.clone()
    };
    let recording = gpu.record(module, &[sum, again]).unwrap();
    gpu.replay(recording, 2).unwrap();
    let found = read(&mut gpu, Memory::Work, 4);
    let expected: Vec<f64> = values.chunks(100).map(|block| block.iter().map(|x| f64::from(*x)).sum()).collect();
    for (found, expected) in found.iter().zip(expected.iter().copied().chain([expected.iter().sum()])) {
        assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} {expected}");
    }
    gpu.reserve(Memory::Work, 20).unwrap();
    assert!(gpu.replay(recording, 1).unwrap_err().to_string().contains("made anew"));
}

#[test]
fn replays_as_often_as_asked() {
    let Some(mut gpu) = gpu() else { return };
    gpu.reserve(Memory::Slots, 40).unwrap();
    gpu.write(Memory::Slots, 0, &bytes(&[3.0; 10])).unwrap();
    let (source, text) = scale(Target::Device);
    let module = gpu.load_parts(&[(0..source.kernels().len(), text)], source.kernels()).unwrap();
    let arguments = vec![Argument::Update(floats(Memory::Slots, 2, 4)), Argument::Long(4), Argument::Float(0.5)];
    let launch = Launch { kernel: 0, grid: [1, 1, 1], arguments };
    let twice = gpu.record(module, &[launch.clone(), launch.clone()]).unwrap();
    let once = gpu.record(module, std::slice::from_ref(&launch)).unwrap();
    gpu.replay(twice, 3).unwrap();
    gpu.replay(once, 1).unwrap();
    let scaled = 3.0 / 128.0;
    let expected = [3.0, 3.0, scaled, scaled, scaled, scaled, 3.0, 3.0, 3.0, 3.0];
    assert_eq!(read(&mut gpu, Memory::Slots, 10), expected);
    let nothing = gpu.record(module, &[]).unwrap();
    gpu.replay(nothing, 2).unwrap();
    let outside = Launch { arguments: vec![Argument::Update(floats(Memory::Slots, 2, 9))], ..launch };
    assert!(gpu.record(module, &[outside]).is_err());
    // From another thread, too.
    let found = std::thread::spawn(move || {
        gpu.replay(once, 1).unwrap();
        read(&mut gpu, Memory::Slots, 3)[2]
    });
    assert_eq!(found.join().unwrap(), scaled / 2.0);
}

#[test]
fn what_does_not_load_is_an_error_with_the_drivers_name_for_it() {
    let Some(gpu) = gpu() else { return };
    let Err(error) = super::handles::Library::new(b"no image\0") else { panic!("it was loaded") };
    let said = refused(&error, (99, 0), gpu.cuda.context.driver).to_string();
    assert!(said.contains("CUDA_ERROR_") && said.contains("NVRTC is 99.0"), "{said}");
    assert!(small("test_order", Target::Device).1.contains("test_order<P0>(a0)"));
}
