//! Reads IDX files, the format in which MNIST is published (LeCun, Cortes & Burges 1998), gzipped or not.
//!
//! A file is two zero bytes, a type code (0x08: unsigned bytes, the only one read here), the number of dimensions,
//! the size of each as a big-endian `u32`, and the values, the last dimension fastest. Headers are claims, not facts:
//! memory is only taken for values that are really there, and a file that is shorter or longer than its header says
//! is refused. Whether a file is gzipped is told from its first bytes, not from its name.

use crate::{Error, Result};
use std::io::{self, Read};
use std::path::Path;

/// The first two bytes of every gzip file (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The type code of unsigned bytes.
const BYTES: u8 = 0x08;

/// What an IDX file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// The size of each dimension, none of them zero: `[60000, 28, 28]`.
    pub sizes: Vec<usize>,
    /// The values, the last dimension fastest; as many as the product of the sizes.
    pub data: Vec<u8>,
}

/// Reads the IDX file of unsigned bytes at `path`, gzipped or not.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read; [`Error::File`], naming the field at fault, where its contents are
/// not those of one whole IDX file.
pub fn read_idx(path: impl AsRef<Path>) -> Result<Idx> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?;
    parse(path, &bytes)
}

/// Reads the contents of an IDX file; `path` is for the messages.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Idx> {
    if bytes.starts_with(&GZIP) {
        Reader { path, stream: unpacked(bytes) }.idx()
    } else {
        Reader { path, stream: bytes }.idx()
    }
}

/// The contents of a gzip file. Members may follow one another; anything else behind the last is an error.
pub(super) fn unpacked(bytes: &[u8]) -> impl Read + '_ {
    flate2::bufread::MultiGzDecoder::new(bytes)
}

/// An IDX file on its way in. Since the bytes are in memory already, the stream fails only where gzip does.
struct Reader<'a, S> {
    path: &'a Path,
    stream: S,
}

impl<S: Read> Reader<'_, S> {
    fn idx(mut self) -> Result<Idx> {
        let sizes = self.sizes()?;
        let data = self.data(&sizes)?;
        Ok(Idx { sizes, data })
    }

    fn sizes(&mut self) -> Result<Vec<usize>> {
        let magic = self.header::<4>("magic number")?;
        if magic[..2] != [0, 0] {
            let found = format!("{:02x} {:02x}", magic[0], magic[1]);
            return Err(self.wrong("magic number", "two zero bytes (an IDX file)", found));
        }
        if magic[2] != BYTES {
            let found = format!("0x{:02x} ({})", magic[2], type_name(magic[2]));
            return Err(self.wrong("type code", "0x08 (unsigned bytes)", found));
        }
        if magic[3] == 0 {
            return Err(self.wrong("number of dimensions", "at least 1", 0));
        }
        (0..magic[3]).map(|dimension| self.size(dimension)).collect()
    }

    fn size(&mut self, dimension: u8) -> Result<usize> {
        let field = format!("size of dimension {dimension}");
        match u32::from_be_bytes(self.header(&field)?) {
            0 => Err(self.wrong(field, "at least 1", 0)),
            size => Ok(size as usize),
        }
    }

    /// The next bytes of the header, all of which have to be there.
    fn header<const N: usize>(&mut self, field: &str) -> Result<[u8; N]> {
        let mut bytes = Vec::with_capacity(N);
        self.read(N as u64, &mut bytes)?;
        let found = bytes.len();
        bytes.try_into().map_err(|_| self.wrong(field, format!("{N} bytes"), format!("the end after {found}")))
    }

    fn data(&mut self, sizes: &[usize]) -> Result<Vec<u8>> {
        let product = sizes.iter().try_fold(1, |product: u64, &size| product.checked_mul(size as u64));
        let written = sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
        let Some(length) = product.filter(|&length| length < isize::MAX as u64) else {
            return Err(self.wrong("sizes", "a product that fits into memory", written));
        };
        let mut data = Vec::new();
        self.read(length, &mut data)?;
        let expected = format!("{length} values ({written})");
        if (data.len() as u64) < length {
            return Err(self.wrong("values", expected, data.len()));
        }
        // Also makes gzip check its checksum, which stands behind the last value.
        if self.read(1, &mut Vec::new())? > 0 {
            return Err(self.wrong("values", expected, "more bytes behind them"));
        }
        // It grew by doubling, and stays as long as the set does.
        data.shrink_to_fit();
        Ok(data)
    }

    /// Appends up to `limit` bytes to `out`, which grows only as they arrive.
    fn read(&mut self, limit: u64, out: &mut Vec<u8>) -> Result<usize> {
        let result = self.stream.by_ref().take(limit).read_to_end(out);
        result.map_err(|error| {
            let found = match error.kind() {
                io::ErrorKind::UnexpectedEof => "its end in the middle".to_owned(),
                _ => error.to_string(),
            };
            self.wrong("gzip", "a whole gzip stream with the right checksum", found)
        })
    }

    fn wrong(&self, field: impl Into<String>, expected: impl Into<String>, found: impl ToString) -> Error {
        let (field, expected, found) = (field.into(), expected.into(), found.to_string());
        Error::File { path: self.path.to_owned(), field, expected, found }
    }
}

fn type_name(code: u8) -> &'static str {
    match code {
        0x09 => "signed bytes",
        0x0b => "16-bit integers",
        0x0c => "32-bit integers",
        0x0d => "32-bit floats",
        0x0e => "64-bit floats",
        _ => "no type of the IDX format",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use rand_xoshiro::Xoshiro256PlusPlus;
    use rand_xoshiro::rand_core::{Rng, SeedableRng};
    use std::io::Write;

    fn file(sizes: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, BYTES, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Idx> {
        parse(Path::new("f"), bytes)
    }

    fn refusal(bytes: &[u8]) -> String {
        read(bytes).expect_err("it has to be refused").to_string()
    }

    #[test]
    fn tensors_of_any_rank_are_read_gzipped_or_not() {
        let data: Vec<u8> = (0..24).collect();
        for sizes in [&[24][..], &[4, 6], &[2, 3, 4], &[1, 2, 3, 4], &[1; 255]] {
            let data = &data[..sizes.iter().product::<u32>() as usize];
            let whole = file(sizes, data);
            let expected = Idx { sizes: sizes.iter().map(|&size| size as usize).collect(), data: data.to_vec() };
            assert_eq!(read(&whole).unwrap(), expected);
            assert_eq!(read(&gzipped(&whole)).unwrap(), expected);
        }
    }

    #[test]
    fn gzip_is_told_by_its_contents_and_may_have_members() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not-by-its-name.idx");
        let whole = file(&[3], &[7, 8, 9]);
        std::fs::write(&path, [gzipped(&whole[..5]), gzipped(&whole[5..])].concat()).unwrap();
        assert_eq!(read_idx(&path).unwrap().data, [7, 8, 9]);
    }

    #[test]
    fn no_more_memory_is_kept_than_the_values_take() {
        let whole = file(&[100_001], &[3; 100_001]);
        assert_eq!([&whole[..], &gzipped(&whole)].map(|bytes| read(bytes).unwrap().data.capacity()), [100_001; 2]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_idx("no/such/file").unwrap_err();
        assert!(matches!(&error, Error::Io { action: "read", .. }), "{error}");
        assert!(error.to_string().starts_with("cannot read no/such/file: "), "{error}");
    }

    #[test]
    fn bad_headers_are_refused() {
        assert_eq!(refusal(b""), "f: magic number: expected 4 bytes, found the end after 0");
        assert_eq!(refusal(&[0, 0, 8]), "f: magic number: expected 4 bytes, found the end after 3");
        assert_eq!(refusal(b"<html></html>"), "f: magic number: expected two zero bytes (an IDX file), found 3c 68");
        assert_eq!(
            refusal(&[0, 0, 0x0d, 1, 0, 0, 0, 1, 0, 0, 0, 0]),
            "f: type code: expected 0x08 (unsigned bytes), found 0x0d (32-bit floats)"
        );
        assert_eq!(refusal(&[0, 0, 8, 0, 5]), "f: number of dimensions: expected at least 1, found 0");
        assert_eq!(refusal(&file(&[3, 0, 2], &[])), "f: size of dimension 1: expected at least 1, found 0");
        assert_eq!(
            refusal(&file(&[3, 2], &[])[..10]),
            "f: size of dimension 1: expected 4 bytes, found the end after 2"
        );
    }

    #[test]
    fn data_have_to_be_as_long_as_the_header_says() {
        assert_eq!(refusal(&file(&[2, 2], &[1; 3])), "f: values: expected 4 values (2×2), found 3");
        let long = "f: values: expected 4 values (2×2), found more bytes behind them";
        assert_eq!(refusal(&file(&[2, 2], &[1; 5])), long);
        assert_eq!(refusal(&gzipped(&file(&[2, 2], &[1; 5]))), long);
        assert_eq!(
            refusal(&file(&[u32::MAX, u32::MAX, 5], &[1; 5])),
            "f: sizes: expected a product that fits into memory, found 4294967295×4294967295×5"
        );
        // Claims 16 exabytes less a bit, has five bytes: the answer comes at once.
        assert!(refusal(&file(&[u32::MAX, 1 << 30], &[1; 5])).ends_with("found 5"));
    }

    #[test]
    fn bad_gzip_is_refused() {
        let data: Vec<u8> = (0..=255).collect();
        let whole = gzipped(&file(&[256], &data));
        let gzip = "f: gzip: expected a whole gzip stream with the right checksum, found";
        assert_eq!(refusal(&whole[..whole.len() / 2]), format!("{gzip} its end in the middle"));
        assert_eq!(refusal(&whole[..whole.len() - 4]), format!("{gzip} its end in the middle"));
        let mut checksum = whole.clone();
        let at = whole.len() - 8;
        checksum[at] ^= 1;
        let message = refusal(&checksum);
        assert!(message.starts_with(gzip) && message.contains("checksum"), "{message}");
        let mut header = whole.clone();
        header[2] = 9;
        assert!(refusal(&header).starts_with(gzip));
        assert!(refusal(&[&whole[..], b"behind"].concat()).starts_with(gzip));
    }

    /// Cut anywhere, or with any bits flipped, a file is refused or read as something whose sizes match its data,
    /// never larger than what its bytes can hold.
    #[test]
    fn damaged_files_never_panic_or_claim_memory() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1998);
        let mut below = |n: usize| (rng.next_u64() % n as u64) as usize;
        let data: Vec<u8> = (0..6 * 5 * 4).map(|_| below(256) as u8).collect();
        let whole = file(&[6, 5, 4], &data);
        for original in [whole.clone(), gzipped(&whole)] {
            for cut in 0..original.len() {
                assert!(read(&original[..cut]).is_err(), "cut to {cut} bytes");
            }
            for _ in 0..20_000 {
                let mut bytes = original.clone();
                for _ in 0..1 + below(3) {
                    // Half of the flips in the header, where they do most harm.
                    let at = if below(2) == 0 { below(16) } else { below(bytes.len()) };
                    bytes[at] ^= 1 << below(8);
                }
                bytes.truncate(bytes.len() - below(3));
                if let Ok(idx) = read(&bytes) {
                    assert_eq!(idx.sizes.iter().product::<usize>(), idx.data.len());
                    // Deflate packs at best 1032 to 1.
                    assert!(idx.data.capacity() <= 1032 * bytes.len());
                }
            }
        }
    }
}
