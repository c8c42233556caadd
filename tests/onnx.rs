//! ONNX files of the random networks and of those over all layers, as a user writes them, and what they should compute.
//!
//! With `CONVNET_ONNX_DIR` set the files stay there: `NAME.onnx`, and beside it `NAME.input.f32` and `NAME.output.f32`
//! (little-endian floats: three images and our predictions), for scripts/onnx_check.py to hold ONNX Runtime against
//! them. Without it they go into a folder that is removed. What stands in the files is tested in convnet-core.

#[expect(dead_code, reason = "Keras's numbers are for the parity tests; here ONNX Runtime computes them")]
#[path = "support/keras.rs"]
mod keras;

use convnet::prelude::*;
use keras::{RANDOM_NETS, values, weights};
use std::path::Path;

include!("fixtures/random_nets.rs");
include!("fixtures/layer_nets.rs");

const IMAGES: usize = 3;

fn write_floats(path: &Path, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(path, bytes).unwrap();
}

/// Exports a network with the parity tests' weights, and writes inputs and predictions beside it.
fn export<N: Network>(folder: &Path, name: &str) {
    let mut model = Model::<N>::compile(Sgd::default(), MeanSquaredError::default());
    model.set_weights(&weights(&N::PLAN, RANDOM_NETS)).unwrap();
    let file = folder.join(format!("{name}.onnx"));
    model.export_onnx(&file).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), convnet::onnx::to_bytes(&N::PLAN, model.weights()).unwrap(), "{name}");

    let inputs = values(1, IMAGES * N::PLAN.input.len());
    let outputs = model.predict(&inputs).unwrap();
    assert!(outputs.iter().all(|output| output.is_finite()), "{name}");
    write_floats(&folder.join(format!("{name}.input.f32")), &inputs);
    write_floats(&folder.join(format!("{name}.output.f32")), &outputs);
}

#[test]
fn networks_are_exported() {
    let temporary = tempfile::tempdir().unwrap();
    let asked = std::env::var_os("CONVNET_ONNX_DIR").map(std::path::PathBuf::from);
    let folder = asked.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder).unwrap();
    macro_rules! run {
        ($net:ty, $name:literal) => {
            export::<$net>(folder, $name)
        };
    }
    for_each_net!(run);
    for_each_layer_net!(run);
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::<Net00>::compile(Sgd::default(), MeanSquaredError::default());
    let error = model.export_onnx(folder.path().join("none/net.onnx")).unwrap_err();
    assert!(matches!(error, convnet::Error::Io { action: "write", .. }), "{error}");
}
