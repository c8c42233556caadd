//! Compiled kernels on disk: NVRTC takes seconds for a network, so what it made is kept.
//!
//! A file's name is the SHA-256 of all that its contents depend on; its first 32 bytes are the SHA-256 of the rest, so
//! that a damaged file is seen, and made again. The cache never is a reason to fail: where it cannot be read or
//! written, kernels are compiled each time.

use crate::Result;
use crate::whole_file::write_whole;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The folder for all that convnet can make again. Without it, `convnet` in the user's cache.
const VARIABLE: &str = "CONVNET_CACHE";

/// Where the files are.
pub(super) struct Cache {
    /// None where the user has no home.
    folder: Option<PathBuf>,
    most: Limits,
}

/// What the files may come to.
#[derive(Clone, Copy)]
struct Limits {
    files: usize,
    bytes: u64,
}

impl Cache {
    /// That of the user, for things of this kind.
    pub fn of_user(kind: &str) -> Cache {
        use etcetera::BaseStrategy;
        let given = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let users = || Some(etcetera::choose_base_strategy().ok()?.cache_dir().join("convnet"));
        Cache { folder: given.or_else(users).map(|folder| folder.join(kind)), ..Cache::none() }
    }

    /// One that keeps nothing.
    fn none() -> Cache {
        Cache { folder: None, most: Limits { files: 4096, bytes: 256 << 20 } }
    }

    /// What was made from `origin` (all that it depends on), or what `make` makes now.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get(&self, origin: &[&[u8]], make: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        if let Some(contents) = self.find(origin) {
            return Ok(contents);
        }
        let contents = make()?;
        self.put(origin, &contents);
        Ok(contents)
    }

    /// What was made from `origin`, if it is there.
    pub fn find(&self, origin: &[&[u8]]) -> Option<Vec<u8>> {
        read(&self.folder.as_ref()?.join(name(origin)))
    }

    /// Keeps what was made from `origin`.
    pub fn put(&self, origin: &[&[u8]], contents: &[u8]) {
        if let Some(folder) = &self.folder {
            self.keep(folder, &folder.join(name(origin)), contents);
        }
    }

    /// Puts a file into the folder; if that does not work, there is none.
    fn keep(&self, folder: &Path, path: &Path, contents: &[u8]) {
        let mut file = Sha256::digest(contents).to_vec();
        file.extend_from_slice(contents);
        if std::fs::create_dir_all(folder).is_ok() && write_whole(path, &file).is_ok() {
            self.trim(folder);
        }
    }

    /// Removes the files that were not used for the longest time until the rest is within the limits.
    fn trim(&self, folder: &Path) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        let ours = entries.flatten().filter(|entry| is_name(&entry.file_name().to_string_lossy()));
        let dated = ours.filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        });
        let mut files: Vec<_> = dated.collect();
        files.sort_by(|a, b| b.cmp(a));
        let mut bytes = 0;
        for (number, (_, length, path)) in files.iter().enumerate() {
            bytes += length;
            if number >= self.most.files || bytes > self.most.bytes {
                // Another process may have removed it.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// The SHA-256 of all parts. Lengths go into it, so that no two origins run together alike.
pub(super) fn digest(origin: &[&[u8]]) -> [u8; 32] {
    let mut sha256 = Sha256::new();
    for part in origin {
        sha256.update((part.len() as u64).to_le_bytes());
        sha256.update(part);
    }
    sha256.finalize().into()
}

/// The name of the file for an origin.
fn name(origin: &[&[u8]]) -> String {
    digest(origin).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a file may be one of the cache's.
fn is_name(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The contents of a file, if it is there and whole. It counts as used today.
fn read(path: &Path) -> Option<Vec<u8>> {
    let file = std::fs::read(path).ok()?;
    let (sha256, contents) = file.split_at_checked(32)?;
    if Sha256::digest(contents).as_slice() != sha256 {
        return None;
    }
    // Where it cannot be written, it only looks older than it is.
    let _ = std::fs::File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
    Some(contents.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use std::time::Duration;

    fn cache(folder: &Path, files: usize, bytes: u64) -> Cache {
        Cache { folder: Some(folder.join("convnet/kernels")), most: Limits { files, bytes } }
    }

    fn never() -> Result<Vec<u8>> {
        Err(Error::Cuda("made again".to_owned()))
    }

    fn set_age(path: &Path, seconds: u64) {
        let file = std::fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn makes_a_thing_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), 9, 999);
        assert_eq!(cache.get(&[b"ab", b"c"], || Ok(b"first".to_vec())).unwrap(), b"first");
        assert_eq!(cache.get(&[b"ab", b"c"], never).unwrap(), b"first");
        assert_eq!(cache.get(&[b"a", b"bc"], || Ok(Vec::new())).unwrap(), b"", "another origin");
        assert_eq!(cache.get(&[b"a", b"bc"], never).unwrap(), b"", "nothing is a thing, too");
    }

    #[test]
    fn finds_what_was_put() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), 9, 999);
        assert_eq!(cache.find(&[b"a"]), None);
        cache.put(&[b"a"], b"first");
        cache.put(&[b"a"], b"second");
        assert_eq!(cache.find(&[b"a"]).unwrap(), b"second");
        Cache::none().put(&[b"a"], b"nowhere");
    }

    #[test]
    fn makes_damaged_files_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), 9, 999);
        let path = cache.folder.as_ref().unwrap().join(name(&[b"x"]));
        let make = || Ok(b"contents".to_vec());
        cache.get(&[b"x"], make).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[35] ^= 1;
        for damaged in [&whole[..whole.len() - 1], &whole[..20], b"", &flipped] {
            std::fs::write(&path, damaged).unwrap();
            assert!(cache.get(&[b"x"], never).is_err());
            assert_eq!(cache.get(&[b"x"], make).unwrap(), b"contents");
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn removes_what_was_not_used_for_the_longest_time() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), 3, 3 * 132);
        let kernels = cache.folder.clone().unwrap();
        std::fs::create_dir_all(&kernels).unwrap();
        std::fs::write(kernels.join("another's"), [0; 999]).unwrap();
        let hundred = || Ok(vec![7; 100]);
        for (age, origin) in [(300, b"a"), (200, b"b"), (100, b"c")] {
            cache.get(&[origin], hundred).unwrap();
            set_age(&kernels.join(name(&[origin])), age);
        }
        cache.get(&[b"a"], never).unwrap();
        cache.get(&[b"d"], hundred).unwrap();
        let there = |origin: &[u8]| kernels.join(name(&[origin])).exists();
        assert_eq!([b"a", b"b", b"c", b"d"].map(|origin| there(origin)), [true, false, true, true], "files");
        for origin in [b"a", b"c", b"d"] {
            set_age(&kernels.join(name(&[origin])), 50);
        }
        cache.get(&[b"e"], || Ok(vec![7; 300])).unwrap();
        assert_eq!([b"a", b"c", b"d", b"e"].map(|origin| there(origin)), [false, false, false, true], "bytes");
        assert!(kernels.join("another's").exists());
    }

    #[test]
    fn does_without_a_folder() {
        assert_eq!(Cache::none().get(&[b"x"], || Ok(b"y".to_vec())).unwrap(), b"y");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("convnet"), b"a file in the way").unwrap();
        assert_eq!(cache(folder.path(), 9, 999).get(&[b"x"], || Ok(b"y".to_vec())).unwrap(), b"y");
    }
}
