//! Finds MNIST: 60,000 training and 10,000 test images of handwritten digits (LeCun, Cortes & Burges 1998).
//!
//! Looked for in this order: the folder `$CONVNET_DATA/mnist`, then `$CONVNET_DATA` itself; the user's cache; the
//! mirrors on the net, from which it goes into the cache. Where none of these has it, the [digits that convnet draws
//! itself](super::drawn) stand in, and a note on stderr says so, and why. Files of the user's own that are broken or
//! incomplete are errors: nobody should train on drawn digits because of a damaged file. A broken cache is downloaded
//! anew; where that fails, the note says what is wrong with it.

use super::idx::read_idx;
use super::{ImageSet, drawn};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The four files, as published.
pub(super) const FILES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// How many digits are drawn where MNIST cannot be had: for training, and for the test.
const DRAWN: (usize, usize) = (30_000, 5_000);

/// Handwritten digits and where they are from.
#[derive(Clone, Debug)]
pub struct Mnist {
    /// The training set: MNIST's has 60,000 images.
    pub train: ImageSet<28, 28, 1>,
    /// The test set: MNIST's has 10,000 images.
    pub test: ImageSet<28, 28, 1>,
    /// Where the sets are from.
    pub source: Source,
}

/// Where digits are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// MNIST, from this folder.
    Folder(PathBuf),
    /// MNIST, from the user's cache, where an earlier download put it.
    Cache,
    /// MNIST, downloaded just now.
    Download,
    /// Not MNIST: drawn by convnet itself.
    Drawn,
}

/// `MNIST from /data/mnist`, …, `digits drawn by convnet (not MNIST)`.
impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Folder(folder) => write!(f, "MNIST from {}", folder.display()),
            Source::Cache => f.write_str("MNIST from the cache"),
            Source::Download => f.write_str("MNIST, downloaded"),
            Source::Drawn => f.write_str("digits drawn by convnet (not MNIST)"),
        }
    }
}

/// MNIST's training and test set, from `$CONVNET_DATA`, the cache or the net; digits that convnet draws itself where
/// none of them has it, which is said on stderr. [`find_mnist`] also tells where the sets are from.
///
/// # Errors
/// Where `$CONVNET_DATA` has files of MNIST that are incomplete or broken.
pub fn mnist() -> Result<(ImageSet<28, 28, 1>, ImageSet<28, 28, 1>)> {
    let found = find_mnist(None)?;
    Ok((found.train, found.test))
}

/// MNIST's training and test set from the folder `dir/mnist` or `dir` itself; the files may be gzipped.
///
/// # Errors
/// Where the files are not there, are incomplete, broken, or not MNIST's.
pub fn mnist_from(dir: impl AsRef<Path>) -> Result<(ImageSet<28, 28, 1>, ImageSet<28, 28, 1>)> {
    let found = find_mnist(Some(dir.as_ref()))?;
    Ok((found.train, found.test))
}

/// As [`mnist_from`] where `dir` is given, else as [`mnist`]; tells where the sets are from.
///
/// # Errors
/// Those of the two.
pub fn find_mnist(dir: Option<&Path>) -> Result<Mnist> {
    if let Some(dir) = dir {
        return below(dir)?.ok_or_else(|| Error::File {
            path: dir.to_owned(),
            field: "MNIST".to_owned(),
            expected: format!("{}, gzipped or not, there or in its folder `mnist`", FILES.join(", ")),
            found: if dir.is_dir() { "none of them" } else { "no such folder" }.to_owned(),
        });
    }
    let data = std::env::var_os("CONVNET_DATA").filter(|data| !data.is_empty()).map(PathBuf::from);
    search(data.as_deref(), cached)
}

/// Where MNIST was looked for in vain, a sentence for each place.
type Nowhere = Vec<String>;

/// MNIST below `data`, else from `cached`, which else says why not, else drawn.
fn search(data: Option<&Path>, cached: impl FnOnce() -> Result<Mnist, Nowhere>) -> Result<Mnist> {
    let looked = match data {
        None => "CONVNET_DATA is not set".to_owned(),
        Some(data) => match below(data)? {
            Some(found) => return Ok(found),
            None => format!("CONVNET_DATA={} does not have it", data.display()),
        },
    };
    match cached() {
        Ok(found) => Ok(found),
        Err(nowhere) => {
            let (train, test) = DRAWN;
            eprintln!("{}", note(&[vec![looked], nowhere].concat()));
            Ok(Mnist {
                train: drawn::drawn_digits(train, 1)?,
                test: drawn::drawn_digits(test, 2)?,
                source: Source::Drawn,
            })
        }
    }
}

/// What users are told where digits are drawn: the essence in the first line, the places below.
fn note(nowhere: &[String]) -> String {
    let (train, test) = DRAWN;
    let essence = format!(
        "convnet: MNIST not found; training on {train} + {test} digits that convnet draws itself (scores on them are \
         not MNIST's)"
    );
    nowhere.iter().fold(essence, |note, why| note + "\n    " + why)
}

/// MNIST from the user's cache, filled from the net if need be.
#[cfg(feature = "download")]
fn cached() -> Result<Mnist, Nowhere> {
    use super::download::{CONTENTS, MIRRORS, cache_folder, download};
    let folder = cache_folder().ok_or_else(|| vec!["no home folder, so no cache to download to".to_owned()])?;
    cached_in(&folder, || download(&MIRRORS, &CONTENTS, &folder))
}

/// Without the feature there is no cache either.
#[cfg(not(feature = "download"))]
fn cached() -> Result<Mnist, Nowhere> {
    Err(vec!["the feature `download` is off".to_owned()])
}

/// MNIST from the cache in `folder`; `download` fills it where it is empty or broken.
#[cfg(feature = "download")]
fn cached_in(folder: &Path, download: impl FnOnce() -> Result<()>) -> Result<Mnist, Nowhere> {
    let before = match inside(folder) {
        Ok(Some(found)) => return Ok(Mnist { source: Source::Cache, ..found }),
        Ok(None) => format!("{} does not have it", folder.display()),
        Err(why) => format!("the cache is of no use: {why}"),
    };
    let after = match download().and_then(|()| inside(folder)) {
        Ok(Some(found)) => return Ok(Mnist { source: Source::Download, ..found }),
        Ok(None) => format!("the files downloaded to {} are gone", folder.display()),
        Err(why) => why.to_string(),
    };
    Err(vec![before, after])
}

/// MNIST from `dir/mnist` or `dir`; `None` where neither has any of its files.
fn below(dir: &Path) -> Result<Option<Mnist>> {
    match inside(&dir.join("mnist"))? {
        Some(found) => Ok(Some(found)),
        None => inside(dir),
    }
}

/// MNIST from the files in `folder`; `None` where it has none of them.
fn inside(folder: &Path) -> Result<Option<Mnist>> {
    let paths = FILES.map(|name| locate(folder, name));
    if paths.iter().all(Option::is_none) {
        return Ok(None);
    }
    if let Some(missing) = paths.iter().position(Option::is_none) {
        return Err(Error::File {
            path: folder.to_owned(),
            field: "MNIST".to_owned(),
            expected: format!("all four files ({})", FILES.join(", ")),
            found: format!("no {}", FILES[missing]),
        });
    }
    let [train_images, train_labels, test_images, test_labels] = paths.map(Option::unwrap_or_default);
    Ok(Some(Mnist {
        train: digits(&train_images, &train_labels)?,
        test: digits(&test_images, &test_labels)?,
        source: Source::Folder(folder.to_owned()),
    }))
}

/// The file `name` in `folder`, gzipped or not; some copies have a dot in the place of the second hyphen.
fn locate(folder: &Path, name: &str) -> Option<PathBuf> {
    let dotted = name.replace("-idx", ".idx");
    [name, &dotted]
        .into_iter()
        .flat_map(|name| [folder.join(name), folder.join(format!("{name}.gz"))])
        .find(|path| path.is_file())
}

/// A set from its two files.
fn digits(images: &Path, labels: &Path) -> Result<ImageSet<28, 28, 1>> {
    let wrong = |path: &Path, field: String, expected: String, found: String| {
        Err(Error::File { path: path.to_owned(), field, expected, found })
    };
    let (pixels, classes) = (read_idx(images)?, read_idx(labels)?);
    let [count, 28, 28] = pixels.sizes[..] else {
        return wrong(images, "sizes".to_owned(), "images of 28×28".to_owned(), format!("{:?}", pixels.sizes));
    };
    if classes.sizes != [count] {
        let expected = format!("[{count}], a label for each image of {}", images.display());
        return wrong(labels, "sizes".to_owned(), expected, format!("{:?}", classes.sizes));
    }
    if let Some(index) = classes.data.iter().position(|&label| label > 9) {
        let found = classes.data[index].to_string();
        return wrong(labels, format!("label {index}"), "a digit from 0 to 9".to_owned(), found);
    }
    ImageSet::new(pixels.data, classes.data)
}

#[cfg(test)]
#[path = "mnist_tests.rs"]
mod tests;
