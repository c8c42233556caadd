//! The listing of a Keras model: what `convnet!` takes, from what `model.to_json()` or `model.save()` wrote.
//!
//! ```text
//! cargo run --release --example keras_to_convnet -- model.keras
//! ```

use clap::Parser;
use convnet::{Error, Result};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

/// Prints the `convnet!` listing of a Keras model.
#[derive(Parser)]
struct Options {
    /// JSON that `model.to_json()` returned, or a `.keras` file.
    model: PathBuf,
}

/// How every zip file begins.
const ZIP: &[u8] = b"PK";
/// The file of a `.keras` file that holds the model's configuration.
const CONFIG: &str = "config.json";

fn main() -> Result<()> {
    let Options { model } = Options::parse();
    let listing = convnet::from_keras(&configuration(&model)?).map_err(|error| match error {
        // It knows the text, we know where that came from.
        Error::Data { what, expected, found } => Error::File { path: model, field: what, expected, found },
        other => other,
    })?;
    print!("{listing}");
    Ok(())
}

/// The text of the configuration in a file.
fn configuration(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?;
    let text =
        if bytes.starts_with(ZIP) { unpacked(bytes) } else { String::from_utf8(bytes).map_err(|e| e.to_string()) };
    text.map_err(|found| {
        let expected = format!("JSON, or a .keras file with {CONFIG} in it");
        Error::File { path: path.to_owned(), field: "configuration".to_owned(), expected, found }
    })
}

fn unpacked(bytes: Vec<u8>) -> Result<String, String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    let mut file = archive.by_name(CONFIG).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}
