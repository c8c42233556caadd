//! What a data set holds, without its type: pixels, labels and the shape of a sample.
//!
//! Bytes stay bytes until a sample is used (MNIST takes 47 MB, not 188): [`Samples::write`] scales them by 1/255 on
//! the way into a batch, through a table, so that every value is exactly Keras's `x.astype("float32") / 255`.

use crate::shape::Shape;
use crate::{Error, Result};

/// Byte to value: `v as f32 / 255.0`.
static SCALED: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut v = 0;
    while v < 256 {
        table[v] = v as f32 / 255.0;
        v += 1;
    }
    table
};

/// The values of all samples, one after the other, channels last.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// Bytes, of which 0 stands for 0 and 255 for 1.
    Bytes(Vec<u8>),
    /// Values that are used as they are.
    Floats(Vec<f32>),
}

impl Pixels {
    /// How many values there are.
    pub fn len(&self) -> usize {
        match self {
            Pixels::Bytes(bytes) => bytes.len(),
            Pixels::Floats(floats) => floats.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of the values in `range`, which has to lie inside.
    fn copy(&self, range: std::ops::Range<usize>) -> Self {
        match self {
            Pixels::Bytes(bytes) => Pixels::Bytes(bytes[range].to_vec()),
            Pixels::Floats(floats) => Pixels::Floats(floats[range].to_vec()),
        }
    }
}

macro_rules! pixels_from {
    ($($variant:ident($value:ty);)*) => {$(
        impl From<Vec<$value>> for Pixels {
            fn from(values: Vec<$value>) -> Self {
                Pixels::$variant(values)
            }
        }

        impl From<&[$value]> for Pixels {
            fn from(values: &[$value]) -> Self {
                Pixels::$variant(values.to_vec())
            }
        }

        impl<const N: usize> From<[$value; N]> for Pixels {
            fn from(values: [$value; N]) -> Self {
                Pixels::$variant(values.into())
            }
        }
    )*};
}

pixels_from! {
    Bytes(u8);
    Floats(f32);
}

/// One class index for each sample, made from a `Vec`, slice or array of whole numbers.
///
/// A negative number, or one beyond `u32`, becomes an error when the set is made.
#[derive(Debug)]
pub struct Labels(Result<Vec<u32>>);

impl Labels {
    /// Takes what `convert` makes of each value; the first that it refuses is the error.
    fn collect<T: Copy + std::fmt::Display>(values: &[T], convert: impl Fn(T) -> Option<u32>) -> Self {
        let label = |(index, &value): (usize, &T)| {
            convert(value).ok_or_else(|| Error::Data {
                what: format!("label {index}"),
                expected: format!("a class index from 0 to {}", u32::MAX),
                found: value.to_string(),
            })
        };
        Labels(values.iter().enumerate().map(label).collect())
    }
}

macro_rules! labels_from {
    ($($label:ty: $convert:expr;)*) => {$(
        impl From<&[$label]> for Labels {
            fn from(labels: &[$label]) -> Self {
                Labels::collect(labels, $convert)
            }
        }

        impl From<Vec<$label>> for Labels {
            fn from(labels: Vec<$label>) -> Self {
                labels.as_slice().into()
            }
        }

        impl<const N: usize> From<[$label; N]> for Labels {
            fn from(labels: [$label; N]) -> Self {
                labels.as_slice().into()
            }
        }
    )*};
}

labels_from! {
    u8: |label| Some(label.into());
    u16: |label| Some(label.into());
    u32: Some;
    u64: |label| label.try_into().ok();
    usize: |label| label.try_into().ok();
    i32: |label| label.try_into().ok();
    i64: |label| label.try_into().ok();
}

/// Labelled samples of one shape. There is always at least one.
#[derive(Clone)]
pub struct Samples {
    pixels: Pixels,
    labels: Vec<u32>,
    shape: Shape,
}

impl Samples {
    /// Samples of `shape`, whose values follow one another in `pixels`, and a class index for each.
    ///
    /// # Errors
    /// [`Error::Data`] where the values are not exactly those of one sample a label, where there is no sample, where
    /// the shape has a size of zero, and where a label is negative.
    pub fn new(shape: Shape, pixels: impl Into<Pixels>, labels: impl Into<Labels>) -> Result<Self> {
        let (pixels, labels) = (pixels.into(), labels.into().0?);
        let wrong =
            |what: &str, expected: String, found: String| Err(Error::Data { what: what.to_owned(), expected, found });
        if shape.is_empty() {
            return wrong("shape of a sample", "sizes of at least 1".to_owned(), shape.to_string());
        }
        if labels.is_empty() && pixels.is_empty() {
            return wrong("data set", "at least one sample".to_owned(), "none".to_owned());
        }
        if Some(pixels.len()) != labels.len().checked_mul(shape.len()) {
            let (samples, left) = (pixels.len() / shape.len(), pixels.len() % shape.len());
            let found = match left {
                0 => format!("{} ({} values)", counted(samples, shape), pixels.len()),
                _ => format!("{} values, which is {} and {left} more", pixels.len(), counted(samples, shape)),
            };
            let expected = format!(
                "{} ({} values) for {} labels",
                counted(labels.len(), shape),
                labels.len().saturating_mul(shape.len()),
                labels.len()
            );
            return wrong(if shape.is_map() { "pixels" } else { "features" }, expected, found);
        }
        Ok(Samples { pixels, labels, shape })
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never true: samples without any are refused when they are made.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// How many values one sample has.
    pub fn size(&self) -> usize {
        self.shape.len()
    }

    /// The shape of one sample.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The class index of each sample.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The values of all samples, unscaled.
    pub fn pixels(&self) -> &Pixels {
        &self.pixels
    }

    /// The number of classes: the largest label and one.
    pub fn classes(&self) -> usize {
        self.labels.iter().max().map_or(0, |&label| (label as usize).saturating_add(1))
    }

    /// Writes the values of sample `index` to `out`, bytes scaled by 1/255.
    ///
    /// # Panics
    /// Where there is no such sample, or `out` is not exactly as long as a sample.
    pub fn write(&self, index: usize, out: &mut [f32]) {
        let size = self.size();
        assert!(index < self.len(), "sample {index} of {}", self.len());
        assert_eq!(out.len(), size, "a sample has {size} values");
        let range = index * size..(index + 1) * size;
        match &self.pixels {
            Pixels::Bytes(bytes) => {
                for (value, &byte) in out.iter_mut().zip(&bytes[range]) {
                    *value = SCALED[usize::from(byte)];
                }
            }
            Pixels::Floats(floats) => out.copy_from_slice(&floats[range]),
        }
    }

    /// The scaled values of sample `index`, if there is such a sample.
    pub fn get(&self, index: usize) -> Option<Vec<f32>> {
        (index < self.len()).then(|| {
            let mut values = vec![0.0; self.size()];
            self.write(index, &mut values);
            values
        })
    }

    /// A copy of the first `count` samples.
    ///
    /// # Errors
    /// [`Error::Argument`] unless `count` is from 1 to the number of samples.
    pub fn take(&self, count: usize) -> Result<Self> {
        if count == 0 || count > self.len() {
            return Err(out_of_range("count", format!("1 to {} samples", self.len()), count));
        }
        Ok(self.part(0..count))
    }

    /// Copies of the first `count` samples and of the rest.
    ///
    /// # Errors
    /// [`Error::Argument`] where one of the two would be empty.
    pub fn split_at(&self, count: usize) -> Result<(Self, Self)> {
        if count == 0 || count >= self.len() {
            let expected = format!("at least one sample on either side of the split of {}", self.len());
            return Err(out_of_range("count", expected, count));
        }
        Ok((self.part(0..count), self.part(count..self.len())))
    }

    /// Copies of the samples at `indices`, in that order; an index may come twice.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is no such sample, or no index.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        if indices.is_empty() {
            return Err(out_of_range("indices", "at least one index".to_owned(), "none"));
        }
        if let Some(&index) = indices.iter().find(|&&index| index >= self.len()) {
            return Err(out_of_range("indices", format!("indices below {}", self.len()), index));
        }
        let size = self.size();
        let ranges = indices.iter().map(|&index| index * size..(index + 1) * size);
        let pixels = match &self.pixels {
            Pixels::Bytes(bytes) => Pixels::Bytes(ranges.flat_map(|range| &bytes[range]).copied().collect()),
            Pixels::Floats(floats) => Pixels::Floats(ranges.flat_map(|range| &floats[range]).copied().collect()),
        };
        let labels = indices.iter().map(|&index| self.labels[index]).collect();
        Ok(Samples { pixels, labels, shape: self.shape })
    }

    /// A copy of the samples in `range`, which has to lie inside.
    fn part(&self, range: std::ops::Range<usize>) -> Self {
        let labels = self.labels[range.clone()].to_vec();
        let pixels = self.pixels.copy(range.start * self.size()..range.end * self.size());
        Samples { pixels, labels, shape: self.shape }
    }
}

/// `Samples((28, 28, 1): 60000 samples, 10 classes)`; the values themselves would fill the terminal.
impl std::fmt::Debug for Samples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Samples({}: {} samples, {} classes)", self.shape, self.len(), self.classes())
    }
}

/// `60000 images of 28×28×1`, `10 vectors of 784 features`.
fn counted(count: usize, shape: Shape) -> String {
    let plural = if count == 1 { "" } else { "s" };
    if shape.is_map() {
        format!("{count} image{plural} of {}×{}×{}", shape.height(), shape.width(), shape.channels())
    } else {
        format!("{count} vector{plural} of {} features", shape.len())
    }
}

fn out_of_range(argument: &'static str, expected: String, found: impl std::fmt::Display) -> Error {
    Error::Argument { argument, expected, found: found.to_string() }
}
