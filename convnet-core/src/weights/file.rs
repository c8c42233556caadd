//! Weights in safetensors files: a JSON header with names, types and shapes, then the numbers.
//!
//! Each weight is a tensor of its own, `conv2d_1/kernel`, in Keras's shape and layout, so that any tool can read or
//! write such a file. What a file says of itself is not believed: the safetensors crate holds every size against the
//! file's length before anything is read, and [`load`] holds every tensor against the plan before anything is changed.

use crate::plan::{Plan, Weight};
use crate::whole_file::write_whole;
use crate::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// The key under which a file tells who wrote it and for which network.
const WRITER: &str = "convnet";

/// Writes the weights of a network, the flat parameter buffer, into a file. What was there is replaced once the new
/// file is complete. The same weights give the same bytes.
///
/// # Errors
/// [`Error::Io`] where the file cannot be written; [`Error::Data`] where the buffer has another length than the plan.
pub fn save(path: impl AsRef<Path>, plan: &Plan, weights: &[f32]) -> Result<()> {
    check_length(plan, weights)?;
    let tensors = plan.weights().map(|(layer, weight)| {
        let stored = Stored { weight, values: &weights[weight.range()] };
        (format!("{}/{}", layer.name, weight.name), stored)
    });
    // One entry only: the order of several would change from run to run.
    let writer = format!("{}, network {}", env!("CARGO_PKG_VERSION"), plan.network);
    let metadata = HashMap::from([(WRITER.to_owned(), writer)]);
    let path = path.as_ref();
    let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|error| Error::Io {
        action: "write",
        path: path.to_owned(),
        source: std::io::Error::other(error.to_string()),
    })?;
    write_whole(path, &bytes)
}

/// Reads the weights of a network from a file into the flat parameter buffer. Tensors of F32 come back bit by bit
/// (NaN among them: what was saved can be loaded); F16, BF16 and F64 are converted. On an error the buffer keeps what
/// it had.
///
/// # Errors
/// [`Error::Weights`] with the first weight, in the network's order, that the file lacks or has in another shape, or
/// else with the first that the network lacks; [`Error::File`] for a file that is no safetensors file, is damaged or
/// holds numbers of another type; [`Error::Io`] for one that cannot be read; [`Error::Data`] where the buffer has
/// another length than the plan.
pub fn load(path: impl AsRef<Path>, plan: &Plan, weights: &mut [f32]) -> Result<()> {
    check_length(plan, weights)?;
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| Error::File {
        path: path.to_owned(),
        field: "header".to_owned(),
        expected: "a complete safetensors file".to_owned(),
        found: error.to_string(),
    })?;

    let mut others: BTreeSet<&str> = file.names().into_iter().collect();
    let mut found = Vec::with_capacity(others.len());
    for (layer, weight) in plan.weights() {
        let key = format!("{}/{}", layer.name, weight.name);
        let Ok(tensor) = file.tensor(&key) else {
            return Err(Error::Weights { key, expected: sizes(weight.sizes()), found: missing(&file) });
        };
        if tensor.shape() != weight.sizes() {
            return Err(Error::Weights { key, expected: sizes(weight.sizes()), found: sizes(tensor.shape()) });
        }
        if converter(tensor.dtype()).is_none() {
            let expected = "numbers of type F32, F16, BF16 or F64".to_owned();
            return Err(Error::File { path: path.to_owned(), field: key, expected, found: tensor.dtype().to_string() });
        }
        others.remove(key.as_str());
        found.push((weight, tensor));
    }
    if let Some(key) = others.first() {
        let shape = file.tensor(key).map_or(String::new(), |tensor| sizes(tensor.shape()));
        return Err(Error::Weights { key: key.to_string(), expected: "no such weight".to_owned(), found: shape });
    }
    for (weight, tensor) in found {
        fill(&mut weights[weight.range()], &tensor);
    }
    Ok(())
}

fn check_length(plan: &Plan, weights: &[f32]) -> Result<()> {
    if weights.len() == plan.params {
        return Ok(());
    }
    Err(Error::Data {
        what: format!("weights of {}", plan.network),
        expected: format!("{} parameters", plan.params),
        found: weights.len().to_string(),
    })
}

/// `(3, 3, 1, 32)`
fn sizes(sizes: &[usize]) -> String {
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    format!("({})", sizes.join(", "))
}

/// What a file has instead of a weight that it lacks.
fn missing(file: &SafeTensors<'_>) -> String {
    const SHOWN: usize = 4;
    let mut names = file.names();
    names.sort_unstable();
    let rest = if names.len() > SHOWN { ", …" } else { "" };
    match names.len() {
        0 => "no weight at all".to_owned(),
        count => format!("no such weight among {count} ({}{rest})", names[..count.min(SHOWN)].join(", ")),
    }
}

/// How the bytes of a number become a float.
type Convert = fn(&[u8]) -> f32;

/// The converter of a type and its size in bytes; `None` for types that hold no weights.
fn converter(dtype: Dtype) -> Option<(Convert, usize)> {
    fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        std::array::from_fn(|i| bytes[i])
    }
    Some(match dtype {
        Dtype::F32 => (|bytes| f32::from_le_bytes(array(bytes)), 4),
        Dtype::F64 => (|bytes| f64::from_le_bytes(array(bytes)) as f32, 8),
        Dtype::F16 => (|bytes| half::f16::from_le_bytes(array(bytes)).to_f32(), 2),
        Dtype::BF16 => (|bytes| half::bf16::from_le_bytes(array(bytes)).to_f32(), 2),
        _ => return None,
    })
}

/// Converts a tensor of a type and length that were checked.
fn fill(values: &mut [f32], tensor: &TensorView<'_>) {
    if let Some((convert, size)) = converter(tensor.dtype()) {
        for (value, bytes) in values.iter_mut().zip(tensor.data().chunks_exact(size)) {
            *value = convert(bytes);
        }
    }
}

/// A weight on its way into a file.
struct Stored<'a> {
    weight: &'a Weight,
    values: &'a [f32],
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.weight.sizes()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

#[cfg(test)]
mod tests;
