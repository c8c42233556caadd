//! Downloads the files of MNIST into the user's cache.
//!
//! A file is checked before it gets its name: its contents, unpacked, have to have the published length and SHA-256
//! (the digest is that of the contents, since copies differ in how they are packed). It is put there as a whole, so
//! that the cache never holds half a file, whatever happens and however many processes download.

use super::idx::unpacked;
use super::mnist::FILES;
use crate::whole_file::write_whole;
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::Agent;

/// Where MNIST is: PyTorch's and TensorFlow's copies.
pub(super) const MIRRORS: [&str; 2] =
    ["https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"];

/// The longest wait for an address and for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// The longest that one file may take.
const WHOLE_FILE: Duration = Duration::from_secs(60);

/// No packed file is larger (the largest has 9.9 MB).
const LIMIT: u64 = 16 << 20;

/// What a file holds when it is unpacked.
pub(super) struct Contents {
    /// Its name, without `.gz`.
    pub name: &'static str,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256, in lower-case hexadecimal digits.
    pub sha256: &'static str,
}

/// The four files of MNIST.
pub(super) const CONTENTS: [Contents; 4] = [
    Contents {
        name: FILES[0],
        length: 47_040_016,
        sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    },
    Contents {
        name: FILES[1],
        length: 60_008,
        sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    },
    Contents {
        name: FILES[2],
        length: 7_840_016,
        sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    },
    Contents {
        name: FILES[3],
        length: 10_008,
        sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
];

/// The folder of the user's cache for MNIST (`~/.cache/convnet/mnist`); `None` where there is no home.
pub(super) fn cache_folder() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    let strategy = etcetera::choose_base_strategy().ok()?;
    Some(strategy.cache_dir().join("convnet").join("mnist"))
}

/// Downloads `files`, gzipped, from the first of the `mirrors` (addresses that end in a slash) that has them right,
/// into `folder`.
pub(super) fn download(mirrors: &[&str], files: &[Contents], folder: &Path) -> Result<()> {
    let agent: Agent = Agent::config_builder()
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(WHOLE_FILE))
        .build()
        .into();
    let mut mirrors = mirrors.to_vec();
    for file in files {
        let bytes = from_any(&agent, &mut mirrors, file)?;
        // Not before there is something to put into it.
        let failed = |source| Error::Io { action: "create", path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        write_whole(&folder.join(format!("{}.gz", file.name)), &bytes)?;
    }
    Ok(())
}

/// A file from the first mirror that has it right, which then comes first. The error is that of the last mirror.
fn from_any(agent: &Agent, mirrors: &mut [&str], file: &Contents) -> Result<Vec<u8>> {
    let mut failure = None;
    for _ in 0..mirrors.len() {
        let url = format!("{}{}.gz", mirrors[0], file.name);
        match fetch(agent, &url).and_then(|bytes| check(file, &bytes).map(|()| bytes)) {
            Ok(bytes) => return Ok(bytes),
            Err(reason) => failure = Some(Error::Download { url, reason }),
        }
        mirrors.rotate_left(1);
    }
    Err(failure.unwrap_or_else(|| Error::Download { url: file.name.to_owned(), reason: "no mirror".to_owned() }))
}

/// What stands at `url`, or why it cannot be had.
fn fetch(agent: &Agent, url: &str) -> Result<Vec<u8>, String> {
    let body = agent.get(url).call().map_err(|error| error.to_string())?.into_body();
    body.into_with_config().limit(LIMIT).read_to_vec().map_err(|error| error.to_string())
}

/// Whether gzipped `bytes` hold what they should, or why not.
fn check(file: &Contents, bytes: &[u8]) -> Result<(), String> {
    let mut contents = Vec::new();
    // One byte more than there should be is enough to know, and no bomb goes off.
    unpacked(bytes)
        .take(file.length + 1)
        .read_to_end(&mut contents)
        .map_err(|error| format!("it is no whole gzip file: {error}"))?;
    if contents.len() as u64 != file.length {
        let more = if contents.len() as u64 > file.length { " or more" } else { "" };
        return Err(format!("its contents have {}{more} bytes instead of {}", contents.len(), file.length));
    }
    let sha256: String = Sha256::digest(&contents).iter().map(|byte| format!("{byte:02x}")).collect();
    if sha256 != file.sha256 {
        return Err(format!("the SHA-256 of its contents is {sha256} instead of {}", file.sha256));
    }
    Ok(())
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
