//! MNIST found, not found, and broken, in folders of our own; the real files where `CONVNET_DATA` has them.

use super::*;

/// An IDX file of bytes.
fn idx(sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(data);
    bytes
}

/// Three training images and two test images, of one grey each.
fn small(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let images = |count: u32| idx(&[count, 28, 28], &vec![count as u8; 784 * count as usize]);
    let contents = [images(3), idx(&[3], &[7, 0, 9]), images(2), idx(&[2], &[1, 2])];
    for (name, bytes) in FILES.iter().zip(contents) {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

/// The sentence of the error, without the folder.
fn refusal(folder: &Path) -> String {
    let error = mnist_from(folder).expect_err("it has to be refused").to_string();
    error.replace(&format!("{}/", folder.display()), "").replace(&folder.display().to_string(), "FOLDER")
}

fn none() -> Result<Mnist, Nowhere> {
    Err(vec!["no cache".to_owned()])
}

#[test]
fn the_folder_or_its_mnist_is_read() {
    let home = tempfile::tempdir().unwrap();
    let inner = home.path().join("mnist");
    small(&inner);
    for dir in [home.path(), &inner] {
        let found = find_mnist(Some(dir)).unwrap();
        assert_eq!(found.source, Source::Folder(inner.clone()));
        assert_eq!((found.train.labels(), found.test.labels()), (&[7, 0, 9][..], &[1, 2][..]));
        assert_eq!(found.test.image(1), Some(vec![2.0 / 255.0; 784]));
    }
}

#[test]
fn other_names_of_the_files_are_known() {
    let home = tempfile::tempdir().unwrap();
    small(home.path());
    let rename = |from: &str, to: &str| std::fs::rename(home.path().join(from), home.path().join(to)).unwrap();
    rename("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte");
    rename("train-labels-idx1-ubyte", "train-labels-idx1-ubyte.gz");
    assert_eq!(mnist_from(home.path()).unwrap().0.len(), 3);
}

#[test]
fn what_is_missing_is_named() {
    let home = tempfile::tempdir().unwrap();
    let files = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte";
    let expected = format!("expected {files}, gzipped or not, there or in its folder `mnist`, found");
    assert_eq!(refusal(home.path()), format!("FOLDER: MNIST: {expected} none of them"));
    assert_eq!(refusal(&home.path().join("gone")), format!("FOLDER: MNIST: {expected} no such folder"));
    small(home.path());
    std::fs::remove_file(home.path().join(FILES[3])).unwrap();
    assert_eq!(
        refusal(home.path()),
        format!("FOLDER: MNIST: expected all four files ({files}), found no t10k-labels-idx1-ubyte")
    );
}

#[test]
fn files_that_are_not_mnists_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        small(home.path());
        std::fs::write(home.path().join(name), bytes).unwrap();
        refusal(home.path())
    };
    assert_eq!(
        refused(FILES[0], &idx(&[3, 28, 27], &[0; 3 * 28 * 27])),
        "train-images-idx3-ubyte: sizes: expected images of 28×28, found [3, 28, 27]"
    );
    assert_eq!(
        refused(FILES[0], &idx(&[2], &[0; 2])),
        "train-images-idx3-ubyte: sizes: expected images of 28×28, found [2]"
    );
    assert_eq!(
        refused(FILES[3], &idx(&[3], &[0; 3])),
        "t10k-labels-idx1-ubyte: sizes: expected [2], a label for each image of t10k-images-idx3-ubyte, found [3]"
    );
    assert_eq!(
        refused(FILES[1], &idx(&[3], &[0, 10, 11])),
        "train-labels-idx1-ubyte: label 1: expected a digit from 0 to 9, found 10"
    );
    assert_eq!(
        refused(FILES[2], &idx(&[2, 28, 28], &[0; 784])),
        "t10k-images-idx3-ubyte: values: expected 1568 values (2×28×28), found 784"
    );
}

#[test]
fn a_folder_comes_before_the_cache_and_broken_files_are_errors() {
    let home = tempfile::tempdir().unwrap();
    small(home.path());
    let found = search(Some(home.path()), || panic!("the folder has it")).unwrap();
    assert_eq!(found.source, Source::Folder(home.path().to_owned()));
    std::fs::write(home.path().join(FILES[0]), b"broken").unwrap();
    assert!(search(Some(home.path()), || panic!("a broken file is not passed over")).is_err());
}

#[test]
fn without_mnist_digits_are_drawn() {
    let empty = tempfile::tempdir().unwrap();
    for data in [None, Some(empty.path())] {
        let found = search(data, none).unwrap();
        assert_eq!((found.train.len(), found.test.len()), DRAWN);
        assert_eq!(found.source, Source::Drawn);
        assert_eq!((found.train.classes(), found.test.classes()), (10, 10));
        assert_ne!(found.train.image(0), found.test.image(0));
    }
}

#[test]
fn the_note_begins_with_the_essence() {
    let note = note(&["CONVNET_DATA is not set".to_owned(), "no cache".to_owned()]);
    assert_eq!(
        note.lines().collect::<Vec<_>>(),
        [
            "convnet: MNIST not found; training on 30000 + 5000 digits that convnet draws itself (scores on them are \
             not MNIST's)",
            "    CONVNET_DATA is not set",
            "    no cache",
        ]
    );
}

#[cfg(feature = "download")]
#[test]
fn the_cache_is_filled_once_and_mended() {
    let cache = tempfile::tempdir().unwrap();
    let fill = || {
        small(cache.path());
        Ok(())
    };
    assert_eq!(cached_in(cache.path(), fill).unwrap().source, Source::Download);
    assert_eq!(cached_in(cache.path(), || panic!("it is there")).unwrap().source, Source::Cache);
    std::fs::write(cache.path().join(FILES[2]), b"broken").unwrap();
    assert_eq!(cached_in(cache.path(), fill).unwrap().source, Source::Download);
}

#[cfg(feature = "download")]
#[test]
fn what_is_wrong_with_the_cache_is_told() {
    let cache = tempfile::tempdir().unwrap();
    let offline = || Err(Error::Download { url: "u".to_owned(), reason: "r".to_owned() });
    let told = || cached_in(cache.path(), offline).unwrap_err();
    let place = cache.path().display().to_string();
    let failed = "cannot download u: r".to_owned();
    assert_eq!(told(), [format!("{place} does not have it"), failed.clone()]);

    small(cache.path());
    std::fs::write(cache.path().join(FILES[2]), b"broken").unwrap();
    let broken = "magic number: expected two zero bytes (an IDX file), found 62 72";
    assert_eq!(told(), [format!("the cache is of no use: {place}/{}: {broken}", FILES[2]), failed.clone()]);

    std::fs::remove_file(cache.path().join(FILES[2])).unwrap();
    let [incomplete, download] = <[String; 2]>::try_from(told()).unwrap();
    assert!(incomplete.starts_with(&format!("the cache is of no use: {place}: MNIST: expected all four files")));
    assert!(incomplete.ends_with(", found no t10k-images-idx3-ubyte"), "{incomplete}");
    assert_eq!(download, failed);
}

/// Sums over the pixels, known from other readers of the real files.
#[test]
fn the_real_mnist_is_read() {
    let Some(data) = std::env::var_os("CONVNET_DATA") else {
        eprintln!("skipped: CONVNET_DATA is not set");
        return;
    };
    let (train, test) = mnist_from(data).unwrap();
    assert_eq!(format!("{train:?} {test:?}"), MNIST);
    assert_eq!((&train.labels()[..5], &test.labels()[..5]), (&[5, 0, 4, 1, 9][..], &[7, 2, 1, 0, 4][..]));
    let sum = |set: &ImageSet<28, 28, 1>| match set.pixels() {
        crate::data::Pixels::Bytes(bytes) => bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>(),
        crate::data::Pixels::Floats(_) => panic!("MNIST is kept as bytes"),
    };
    assert_eq!((sum(&train), sum(&test)), (1_567_298_545, 264_923_200));
}

const MNIST: &str = "ImageSet<28, 28, 1>(60000 images, 10 classes) ImageSet<28, 28, 1>(10000 images, 10 classes)";
