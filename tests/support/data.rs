//! Where the real data are.

use std::path::PathBuf;

/// The data folder, or `None` (said on stderr) where `CONVNET_DATA` is not set: the calling test is to be skipped.
pub fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("CONVNET_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: CONVNET_DATA is not set");
    }
    folder
}
