//! Files that this crate wrote, files of others, and files that nobody should have written.

use super::*;
use crate::Network;
use crate::train::random::{Purpose, Stream};
use crate::weights::tests::Small;
use std::path::PathBuf;

const PLAN: Plan = Small::PLAN;

/// A folder with a file in it, gone when dropped.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("small.safetensors")
    }

    /// A file with these bytes.
    fn with(bytes: &[u8]) -> Self {
        let folder = Folder::new();
        std::fs::write(folder.path(), bytes).unwrap();
        folder
    }

    /// What comes of loading the file; the buffer must be as before where that fails.
    fn load(&self) -> Result<Vec<f32>> {
        let mut weights = vec![7.25; PLAN.params];
        let result = load(self.path(), &PLAN, &mut weights);
        assert!(result.is_ok() || weights.iter().all(|weight| *weight == 7.25), "an error changed the buffer");
        result.map(|()| weights)
    }
}

/// Every bit pattern is worth keeping: zeros of both signs, NaN, infinities, the smallest numbers.
fn odd_weights() -> Vec<f32> {
    let mut random = Stream::new(3, Purpose::Weights, 0);
    let mut weights: Vec<f32> = (0..PLAN.params).map(|_| f32::from_bits(random.word())).collect();
    weights[..5].copy_from_slice(&[-0.0, f32::NAN, f32::INFINITY, f32::from_bits(1), f32::MIN]);
    weights
}

/// A safetensors file written by hand.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// The tensors of `Small` in the plan's order, of a type with numbers of these bytes, changed by `change`.
fn written(dtype: &str, number: &[u8], change: impl Fn(&str) -> String) -> Vec<u8> {
    let mut at = 0;
    let tensors = [
        ("conv2d_1/kernel", "[3,3,2,8]"),
        ("conv2d_1/bias", "[8]"),
        ("dense_1/kernel", "[72,100]"),
        ("dense_1/bias", "[100]"),
    ];
    let header: Vec<String> = tensors
        .iter()
        .zip(PLAN.weights())
        .map(|((key, shape), (_, weight))| {
            let end = at + weight.len() * number.len();
            let entry = format!(r#""{key}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{at},{end}]}}"#);
            at = end;
            entry
        })
        .collect();
    file(&change(&format!("{{{}}}", header.join(","))), &number.repeat(PLAN.params))
}

#[test]
fn a_round_trip_keeps_every_bit() {
    let folder = Folder::new();
    let weights = odd_weights();
    save(folder.path(), &PLAN, &weights).unwrap();
    let bits = |weights: &[f32]| weights.iter().map(|weight| weight.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&folder.load().unwrap()), bits(&weights));
    let first = std::fs::read(folder.path()).unwrap();
    save(folder.path(), &PLAN, &weights).unwrap();
    assert_eq!(std::fs::read(folder.path()).unwrap(), first, "the same weights, the same bytes");
}

#[test]
fn a_file_has_keras_names_and_shapes() {
    let folder = Folder::new();
    save(folder.path(), &PLAN, &vec![0.5; PLAN.params]).unwrap();
    let bytes = std::fs::read(folder.path()).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut shapes: Vec<(&str, Vec<usize>)> = file.iter().map(|(key, tensor)| (key, tensor.shape().to_vec())).collect();
    shapes.sort();
    let expected = [
        ("conv2d_1/bias", vec![8]),
        ("conv2d_1/kernel", vec![3, 3, 2, 8]),
        ("dense_1/bias", vec![100]),
        ("dense_1/kernel", vec![72, 100]),
    ];
    assert_eq!(shapes, expected);
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let writer = &metadata.metadata().as_ref().unwrap()["convnet"];
    assert_eq!(*writer, format!("{}, network Small", env!("CARGO_PKG_VERSION")));
}

#[test]
fn files_of_other_tools_and_types_are_read() {
    let same = |header: &str| header.to_owned();
    let numbers: [(&str, &[u8]); 4] = [
        ("F32", &1.5f32.to_le_bytes()),
        ("F64", &1.5f64.to_le_bytes()),
        ("F16", &[0x00, 0x3e]),
        ("BF16", &[0xc0, 0x3f]),
    ];
    for (dtype, number) in numbers {
        assert!(Folder::with(&written(dtype, number, same)).load().unwrap().iter().all(|weight| *weight == 1.5));
    }
    // Spaces behind the header, and metadata, as Python's safetensors writes them.
    let spaced = |header: &str| header.replacen('{', r#"{"__metadata__":{"format":"np"},"#, 1) + "   ";
    assert_eq!(Folder::with(&written("F32", &2.0f32.to_le_bytes(), spaced)).load().unwrap()[0], 2.0);
}

/// The message for a file of floats with a changed header.
fn refused(change: impl Fn(&str) -> String) -> String {
    Folder::with(&written("F32", &[0; 4], change)).load().unwrap_err().to_string()
}

#[test]
fn the_first_weight_that_differs_is_named() {
    assert_eq!(
        refused(|header| header.replace("[3,3,2,8]", "[3,3,8,2]").replace("[100]", "[10,10]")),
        "weights of another network: conv2d_1/kernel: expected (3, 3, 2, 8), found (3, 3, 8, 2)"
    );
    assert_eq!(
        refused(|header| header.replace("[100]", "[10,10]")),
        "weights of another network: dense_1/bias: expected (100), found (10, 10)"
    );
    assert_eq!(
        refused(|header| header.replace("dense_1/kernel", "dense/kernel")),
        "weights of another network: dense_1/kernel: expected (72, 100), found no such weight among 4 \
         (conv2d_1/bias, conv2d_1/kernel, dense/kernel, dense_1/bias)"
    );
    assert_eq!(
        refused(|header| {
            let end = 4 * PLAN.params;
            let more = format!(r#","dense_2/bias":{{"dtype":"F32","shape":[0],"data_offsets":[{end},{end}]}}}}"#);
            header[..header.len() - 1].to_owned() + &more
        }),
        "weights of another network: dense_2/bias: expected no such weight, found (0)"
    );
    assert!(Folder::with(&file("{}", &[])).load().unwrap_err().to_string().ends_with("found no weight at all"));
}

#[test]
fn numbers_that_are_no_weights_are_refused() {
    let folder = Folder::with(&written("I32", &[0; 4], str::to_owned));
    let Err(Error::File { field, found, .. }) = folder.load() else { panic!("integers were loaded") };
    assert_eq!([field.as_str(), found.as_str()], ["conv2d_1/kernel", "I32"]);
}

#[test]
fn what_is_no_file_of_weights_is_refused() {
    let folder = Folder::new();
    assert!(matches!(folder.load(), Err(Error::Io { action: "read", .. })), "no file");
    std::fs::create_dir(folder.path()).unwrap();
    assert!(matches!(folder.load(), Err(Error::Io { .. })), "a folder");
    assert!(matches!(save(folder.path(), &PLAN, &vec![0.0; PLAN.params]), Err(Error::Io { action: "write", .. })));
    let good = written("F32", &[0; 4], str::to_owned);
    for bytes in [
        &[][..],
        b"text, not weights",
        b"\x89HDF\r\n\x1a\n\0\0\0\0\0\0",
        &[255; 16],
        &good[..good.len() - 1],
        &good[..7],
        &[&good[..], b"more"].concat(),
        &file("[]", &[]),
        &file("{\"a\":1}", &[]),
    ] {
        let Err(Error::File { field, .. }) = Folder::with(bytes).load() else { panic!("{} bytes loaded", bytes.len()) };
        assert_eq!(field, "header");
    }
}

#[test]
fn a_header_is_not_believed() {
    let huge = usize::MAX;
    for change in [
        ("[3,3,2,8]".to_owned(), format!("[{huge},{huge},2,8]")),
        ("[0,576]".to_owned(), format!("[0,{huge}]")),
        ("[0,576]".to_owned(), "[576,0]".to_owned()),
        ("[576,608]".to_owned(), "[0,32]".to_owned()),
        ("[72,100]".to_owned(), "[72,101]".to_owned()),
    ] {
        let change = |header: &str| {
            assert!(header.contains(&change.0));
            header.replace(&change.0, &change.1)
        };
        assert!(matches!(Folder::with(&written("F32", &[0; 4], change)).load(), Err(Error::File { .. })));
    }
}

#[test]
fn damaged_files_never_panic_and_never_change_the_buffer() {
    let good = written("F32", &[0; 4], str::to_owned);
    let folder = Folder::new();
    let mut random = Stream::new(11, Purpose::Shuffle, 0);
    for round in 0..3000 {
        let mut bytes = good.clone();
        // Mostly in the header: that is where the sizes are.
        for _ in 0..1 + random.below(4) {
            let place = random.below(if round % 4 == 0 { bytes.len() as u32 } else { 450 }) as usize;
            bytes[place] = random.word() as u8;
        }
        if round % 3 == 0 {
            bytes.truncate(random.below(bytes.len() as u32) as usize);
        }
        std::fs::write(folder.path(), bytes).unwrap();
        let _ = folder.load();
    }
}

#[test]
fn a_buffer_of_another_length_is_refused() {
    let folder = Folder::new();
    for len in [0, PLAN.params - 1, PLAN.params + 1] {
        assert!(matches!(save(folder.path(), &PLAN, &vec![0.0; len]), Err(Error::Data { .. })));
        assert!(matches!(load(folder.path(), &PLAN, &mut vec![0.0; len]), Err(Error::Data { .. })));
    }
    assert!(!folder.path().exists());
}
