//! Networks as ONNX files, to be run by ONNX Runtime, OpenVINO, a browser or a telephone.
//!
//! [`to_bytes`] walks the plan: [`graph`] holds the file's graph while it grows and knows in which memory order each
//! tensor exists, [`layers`] says which operators a layer becomes, [`settings`] how windows and numbers are written,
//! [`kernels`] reorders weights, [`proto`] is the file format. The file's input and output are as
//! [`crate::model::Model::predict`] has them (channels last); inside, maps are channels first, as ONNX's operators
//! want them, and are transposed where the memory order matters.

mod graph;
mod kernels;
mod layers;
mod proto;
mod settings;

use crate::plan::Plan;
use crate::whole_file::write_whole;
use crate::{Error, Result};
use graph::Graph;
use prost::Message;
use proto::{ModelProto, OperatorSetIdProto};
use std::path::Path;

/// The version of ONNX's operators: ONNX Runtime knows it since 1.12 (2022).
const OPSET: i64 = 17;
/// The version of the file format that goes with it.
const IR_VERSION: i64 = 8;
/// A protocol buffer ends at 2 GiB; this much is left for everything but the weights.
const MAX_WEIGHT_BYTES: usize = (1 << 31) - (1 << 24);

/// A network with its weights (the flat parameter buffer) as the bytes of an ONNX file. The same weights give the
/// same bytes.
///
/// The graph has one input, `input`, of shape `(N, height, width, channels)` or `(N, features)` for any number `N` of
/// images, and one output, `output`: the outputs of [`crate::model::Model::predict`] as `(N, …)`. Nodes and
/// initialisers are named after the plan: `conv2d_1`, `conv2d_1/kernel`.
///
/// # Errors
/// [`Error::Data`] where the buffer has another length than the plan, for weights of 2 GiB and more, which the format
/// cannot hold, and for a setting that ONNX's operators do not have.
pub fn to_bytes(plan: &Plan, weights: &[f32]) -> Result<Vec<u8>> {
    check_weights(plan, weights)?;
    let mut graph = Graph::new(plan, weights);
    for layer in plan.layers {
        layers::append(&mut graph, layer)?;
    }
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "convnet".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph.finish(plan)),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
    };
    Ok(model.encode_to_vec())
}

/// Writes a network with its weights into an ONNX file; see [`to_bytes`]. The file appears whole or not at all.
///
/// # Errors
/// Those of [`to_bytes`], and [`Error::Io`] where the file cannot be written.
pub fn export(path: impl AsRef<Path>, plan: &Plan, weights: &[f32]) -> Result<()> {
    write_whole(path.as_ref(), &to_bytes(plan, weights)?)
}

fn check_weights(plan: &Plan, weights: &[f32]) -> Result<()> {
    let (expected, found) = if weights.len() != plan.params {
        (format!("{} parameters", plan.params), weights.len().to_string())
    } else if size_of_val(weights) > MAX_WEIGHT_BYTES {
        (format!("at most {MAX_WEIGHT_BYTES} bytes for an ONNX file"), size_of_val(weights).to_string())
    } else {
        return Ok(());
    };
    Err(Error::Data { what: format!("weights of {}", plan.network), expected, found })
}

#[cfg(test)]
mod tests;
