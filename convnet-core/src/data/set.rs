//! Data sets whose types carry the shape of a sample.
//!
//! [`ImageSet`] and [`VectorSet`] are [`Samples`] with the shape in the type. `fit` and its kin ask for
//! [`DataFor`] the network's input, so that a set of another shape is an error of the compiler, in words.

use super::given::{IntoLabels, IntoPixels};
use super::samples::{Pixels, Samples};
use crate::Result;
use crate::shape::Shape;
use crate::shape::size::{InputShape, Map, Vector};

/// A labelled data set, as the engines read it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a data set",
    label = "a data set is expected here",
    note = "make one with `ImageSet::<HEIGHT, WIDTH, CHANNELS>::new(pixels, labels)` or \
            `VectorSet::<FEATURES>::new(features, labels)`"
)]
pub trait DataSet {
    /// The samples, without the types.
    fn samples(&self) -> &Samples;
}

/// A data set whose samples have the shape of a network's `Input`: [`Map`] or [`Vector`].
///
/// ```compile_fail,E0277
/// use convnet_core::data::{DataFor, ImageSet};
/// use convnet_core::shape::size::Map;
/// fn fit(set: &impl DataFor<Map<28, 28, 1>>) {}
/// fit(&ImageSet::<32, 32, 3>::new(vec![0u8; 3072], [0]).unwrap());
/// ```
#[diagnostic::on_unimplemented(
    message = "the data set `{Self}` does not fit the network, whose input is `{Input}`",
    label = "the samples of this data set do not have the shape of the network's input",
    note = "a network that begins with `Input(H, W, C)` takes an `ImageSet<H, W, C>`, one that begins with \
            `Input(N)` a `VectorSet<N>`: change the network's first layer or the data set's shape"
)]
pub trait DataFor<Input>: DataSet {}

/// Images of `H` × `W` pixels with `C` channels, channels last, and a class index for each.
///
/// ```
/// # fn main() -> convnet_core::Result<()> {
/// use convnet_core::data::ImageSet;
/// let set = ImageSet::<2, 2, 1>::new(vec![0u8, 255, 255, 0, 255, 0, 0, 255], [0, 1])?;
/// assert_eq!(set.image(0), Some(vec![0.0, 1.0, 1.0, 0.0]));
/// assert_eq!(format!("{set:?}"), "ImageSet<2, 2, 1>(2 images, 2 classes)");
///
/// let error = ImageSet::<2, 2, 1>::new(vec![0u8; 7], [0, 1]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "pixels: expected 2 images of 2×2×1 (8 values) for 2 labels, found 7 values, which is 1 image of 2×2×1 and 3 more"
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ImageSet<const H: usize, const W: usize, const C: usize>(Samples);

/// Vectors of `N` features and a class index for each.
#[derive(Clone)]
pub struct VectorSet<const N: usize>(Samples);

impl<const H: usize, const W: usize, const C: usize> ImageSet<H, W, C> {
    /// The shape of one image.
    pub const SHAPE: Shape = Map::<H, W, C>::SHAPE;

    /// Images, one after the other: bytes (scaled by 1/255 when they are used) or floats (used as they are). The
    /// labels are class indices: a `Vec`, slice or array of `u8`, `u16`, `u32`, `u64`, `usize`, `i32` or `i64`.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) where the values are not exactly those of one image a label, where there is
    /// no image, and where a label is negative.
    pub fn new(pixels: impl IntoPixels, labels: impl IntoLabels) -> Result<Self> {
        Samples::new(Self::SHAPE, pixels.into_pixels(), labels.into_labels()).map(Self)
    }

    /// The `H·W·C` values of image `index`, bytes scaled by 1/255; `None` if there is no such image.
    pub fn image(&self, index: usize) -> Option<Vec<f32>> {
        self.0.get(index)
    }

    /// The values of all images, unscaled.
    pub fn pixels(&self) -> &Pixels {
        self.0.pixels()
    }
}

impl<const N: usize> VectorSet<N> {
    /// The shape of one vector.
    pub const SHAPE: Shape = Vector::<N>::SHAPE;

    /// Vectors, one after the other: floats (used as they are) or bytes (scaled by 1/255 when they are used). The
    /// labels are class indices: a `Vec`, slice or array of `u8`, `u16`, `u32`, `u64`, `usize`, `i32` or `i64`.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) where the values are not exactly those of one vector a label, where there
    /// is no vector, and where a label is negative.
    pub fn new(features: impl IntoPixels, labels: impl IntoLabels) -> Result<Self> {
        Samples::new(Self::SHAPE, features.into_pixels(), labels.into_labels()).map(Self)
    }

    /// The `N` values of vector `index`, bytes scaled by 1/255; `None` if there is no such vector.
    pub fn vector(&self, index: usize) -> Option<Vec<f32>> {
        self.0.get(index)
    }

    /// The values of all vectors, unscaled.
    pub fn features(&self) -> &Pixels {
        self.0.pixels()
    }
}

impl<const H: usize, const W: usize, const C: usize> DataFor<Map<H, W, C>> for ImageSet<H, W, C> {}

impl<const N: usize> DataFor<Vector<N>> for VectorSet<N> {}

/// The samples of a data set, one after the other: scaled values and class index.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    samples: &'a Samples,
    next: usize,
}

impl Iterator for Iter<'_> {
    type Item = (Vec<f32>, u32);

    fn next(&mut self) -> Option<Self::Item> {
        let values = self.samples.get(self.next)?;
        let label = self.samples.labels()[self.next];
        self.next += 1;
        Some((values, label))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.samples.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// What the two typed sets have in common.
macro_rules! typed_set {
    ($set:ident<$($size:ident),*>, $samples:literal) => {
        impl<$(const $size: usize),*> $set<$($size),*> {
            #[doc = concat!("How many ", $samples, " there are.")]
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Never true: an empty set is refused when it is made.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// The class index of each sample.
            pub fn labels(&self) -> &[u32] {
                self.0.labels()
            }

            /// The number of classes: the largest label and one.
            pub fn classes(&self) -> usize {
                self.0.classes()
            }

            #[doc = concat!("A copy of the first `count` ", $samples, ".")]
            ///
            /// # Errors
            /// [`Error::Argument`](crate::Error::Argument) unless `count` is from 1 to the size of the set.
            pub fn take(&self, count: usize) -> Result<Self> {
                self.0.take(count).map(Self)
            }

            #[doc = concat!("Copies of the first `count` ", $samples, " and of the rest.")]
            /// Keras's `validation_split` validates on the second part.
            ///
            /// # Errors
            /// [`Error::Argument`](crate::Error::Argument) where one of the two would be empty.
            pub fn split_at(&self, count: usize) -> Result<(Self, Self)> {
                let (first, rest) = self.0.split_at(count)?;
                Ok((Self(first), Self(rest)))
            }

            #[doc = concat!("Copies of the ", $samples, " at `indices`, in that order; an index may come twice.")]
            ///
            /// # Errors
            /// [`Error::Argument`](crate::Error::Argument) where there is no such sample, or no index.
            pub fn select(&self, indices: &[usize]) -> Result<Self> {
                self.0.select(indices).map(Self)
            }

            /// The samples, one after the other: scaled values and class index.
            pub fn iter(&self) -> Iter<'_> {
                Iter { samples: &self.0, next: 0 }
            }
        }

        impl<$(const $size: usize),*> DataSet for $set<$($size),*> {
            fn samples(&self) -> &Samples {
                &self.0
            }
        }

        impl<'a, $(const $size: usize),*> IntoIterator for &'a $set<$($size),*> {
            type Item = (Vec<f32>, u32);
            type IntoIter = Iter<'a>;

            fn into_iter(self) -> Iter<'a> {
                self.iter()
            }
        }

        #[doc = concat!("The type and the size of the set; the values themselves would fill the terminal.")]
        impl<$(const $size: usize),*> std::fmt::Debug for $set<$($size),*> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let sizes = [$($size.to_string()),*].join(", ");
                write!(
                    f,
                    concat!(stringify!($set), "<{}>({} ", $samples, ", {} classes)"),
                    sizes,
                    self.len(),
                    self.classes()
                )
            }
        }
    };
}

typed_set!(ImageSet<H, W, C>, "images");
typed_set!(VectorSet<N>, "vectors");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    /// The sentence of the error.
    fn refusal<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.expect_err("it has to be refused").to_string()
    }

    fn ramp() -> ImageSet<1, 2, 1> {
        ImageSet::new(vec![0u8, 51, 102, 153, 204, 255], [2, 0, 1]).unwrap()
    }

    #[test]
    fn bytes_are_scaled_as_keras_does() {
        let bytes: Vec<u8> = (0..=255).collect();
        let set = ImageSet::<16, 16, 1>::new(bytes, [0u8]).unwrap();
        let expected: Vec<f32> = (0..256).map(|v| v as f32 / 255.0).collect();
        assert_eq!(set.image(0), Some(expected));
        assert_eq!(set.image(1), None);
        assert!(matches!(set.pixels(), Pixels::Bytes(bytes) if bytes.len() == 256));
    }

    #[test]
    fn floats_are_used_as_they_are() {
        let set = VectorSet::<2>::new([-1.0, 300.0, 0.5, 0.25], vec![1i64, 0]).unwrap();
        assert_eq!(set.vector(0), Some(vec![-1.0, 300.0]));
        assert_eq!(set.vector(1), Some(vec![0.5, 0.25]));
        assert_eq!(set.labels(), [1, 0]);
    }

    #[test]
    fn a_set_is_iterated_in_order() {
        let set = ramp();
        assert_eq!((&set).into_iter().len(), 3);
        let samples: Vec<_> = set.iter().collect();
        assert_eq!(samples[1], (vec![102.0 / 255.0, 153.0 / 255.0], 0));
        assert_eq!(samples.iter().map(|sample| sample.1).collect::<Vec<_>>(), [2, 0, 1]);
    }

    #[test]
    fn debug_is_short() {
        assert_eq!(format!("{:?}", ramp()), "ImageSet<1, 2, 1>(3 images, 3 classes)");
        let vectors = VectorSet::<3>::new([0.0; 6], [0, 1]).unwrap();
        assert_eq!(format!("{vectors:?}"), "VectorSet<3>(2 vectors, 2 classes)");
        assert_eq!(format!("{:?}", vectors.samples()), "Samples((3): 2 samples, 2 classes)");
    }

    #[test]
    fn parts_keep_their_labels() {
        let set = ramp();
        let (train, validation) = set.split_at(2).unwrap();
        assert_eq!((train.labels(), validation.labels()), (&[2, 0][..], &[1][..]));
        assert_eq!(validation.image(0), set.image(2));
        let chosen = set.select(&[2, 0, 2]).unwrap();
        assert_eq!(chosen.labels(), [1, 2, 1]);
        assert_eq!((chosen.image(0), chosen.image(1)), (set.image(2), set.image(0)));
        let first = set.take(1).unwrap();
        assert_eq!((first.len(), first.classes(), first.image(0)), (1, 3, set.image(0)));
    }

    #[test]
    fn parts_that_do_not_exist_are_refused() {
        let set = ramp();
        assert_eq!(refusal(set.take(0)), "count: expected 1 to 3 samples, found 0");
        assert_eq!(refusal(set.take(4)), "count: expected 1 to 3 samples, found 4");
        let split = "count: expected at least one sample on either side of the split of 3, found";
        assert_eq!(refusal(set.split_at(0)), format!("{split} 0"));
        assert_eq!(refusal(set.split_at(3)), format!("{split} 3"));
        assert_eq!(refusal(set.select(&[0, 3])), "indices: expected indices below 3, found 3");
        assert_eq!(refusal(set.select(&[])), "indices: expected at least one index, found none");
    }

    #[test]
    fn pixels_have_to_match_the_labels() {
        type Images = ImageSet<2, 2, 3>;
        assert_eq!(
            refusal(Images::new(vec![0u8; 25], [0u8, 1])),
            "pixels: expected 2 images of 2×2×3 (24 values) for 2 labels, \
             found 25 values, which is 2 images of 2×2×3 and 1 more"
        );
        assert_eq!(
            refusal(Images::new(vec![0.0; 12], [0u8, 1])),
            "pixels: expected 2 images of 2×2×3 (24 values) for 2 labels, found 1 image of 2×2×3 (12 values)"
        );
        assert_eq!(
            refusal(Images::new(vec![0.0; 12], Vec::<u8>::new())),
            "pixels: expected 0 images of 2×2×3 (0 values) for 0 labels, found 1 image of 2×2×3 (12 values)"
        );
        assert_eq!(
            refusal(VectorSet::<4>::new(vec![0.0; 3], [1u8])),
            "features: expected 1 vector of 4 features (4 values) for 1 labels, \
             found 3 values, which is 0 vectors of 4 features and 3 more"
        );
    }

    #[test]
    fn empty_sets_and_shapes_are_refused() {
        let none = ImageSet::<2, 2, 1>::new(Vec::<u8>::new(), Vec::<u8>::new());
        assert_eq!(refusal(none), "data set: expected at least one sample, found none");
        let flat = ImageSet::<2, 0, 1>::new(Vec::<u8>::new(), [0u8; 5]);
        assert_eq!(refusal(flat), "shape of a sample: expected sizes of at least 1, found (2, 0, 1)");
        let huge = VectorSet::<{ usize::MAX }>::new([0u8; 4], [0u8; 4]);
        assert!(matches!(huge, Err(Error::Data { .. })));
    }

    #[test]
    fn labels_have_to_be_class_indices() {
        let refused = ImageSet::<1, 1, 1>::new([0u8; 3], [4, -1, -2]);
        assert_eq!(refusal(refused), "label 1: expected a class index from 0 to 4294967295, found -1");
        let refused = ImageSet::<1, 1, 1>::new([0u8], vec![1u64 << 32]);
        assert_eq!(refusal(refused), "label 0: expected a class index from 0 to 4294967295, found 4294967296");
        let sets = [
            ImageSet::<1, 1, 1>::new([0u8], vec![7u8]),
            ImageSet::new([0u8], vec![7u16]),
            ImageSet::new([0u8], [7u32].as_slice()),
            ImageSet::new([0u8].as_slice(), vec![7usize]),
            ImageSet::new([0u8], vec![7i32]),
        ];
        assert!(sets.into_iter().all(|set| set.unwrap().labels() == [7]));
        assert_eq!(VectorSet::<1>::new([0.0], [u32::MAX]).unwrap().classes(), 1 << 32);
    }

    #[test]
    #[should_panic(expected = "sample 3 of 3")]
    fn a_sample_that_does_not_exist_cannot_be_written() {
        ramp().samples().write(3, &mut [0.0; 2]);
    }

    #[test]
    fn sets_fit_networks_of_their_shape() {
        fn fits<Input: InputShape, Set: DataFor<Input>>(set: &Set) {
            assert_eq!(set.samples().shape(), Input::SHAPE);
        }
        fits::<Map<1, 2, 1>, _>(&ramp());
        fits::<Vector<2>, _>(&VectorSet::<2>::new([0.0; 2], [0]).unwrap());
    }
}
