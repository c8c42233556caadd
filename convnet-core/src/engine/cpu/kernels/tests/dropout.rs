//! Dropout.

use super::{Case, assert_near, assert_same_bits, random, values, wide};
use crate::engine::cpu::kernel::{Backward, Forward, Kernel, Noise};
use crate::engine::cpu::kernels::dropout::{Dropout, stream_number};
use crate::engine::cpu::simd::Level;
use crate::layers::dropout::{Spec, reference};
use crate::train::random::{Purpose, Stream};
use rand::RngExt;

const NOISE: Noise = Noise { seed: 1, step: 7, layer: 3, image: 0 };

/// Output, and gradient of the input, of some images of `len` values.
fn run(kernel: &Dropout, noise: Noise, len: usize, x: &[f32], d: &[f32]) -> [Vec<f32>; 2] {
    let images = x.len() / len;
    let [mut output, mut d_input] = [0; 2].map(|_| vec![f32::NAN; x.len()]);
    let mut kept = vec![0xAA; images * kernel.kept()];
    kernel.forward(Forward {
        images,
        training: true,
        noise: Some(noise),
        weights: &[],
        derived: &[],
        input: x,
        output: &mut output,
        kept: &mut kept,
        scratch: &mut [],
    });
    kernel.backward(Backward {
        images,
        noise: Some(noise),
        weights: &[],
        derived: &[],
        input: x,
        output: &output,
        kept: &kept,
        d_output: &mut d.to_vec(),
        d_input: Some(&mut d_input),
        d_weights: &mut [],
        accumulate: false,
        scratch: &mut [],
    });
    [output, d_input]
}

/// Which of the ones that went in stayed.
fn stays(rate: f64, noise: Noise, images: usize, len: usize) -> Vec<bool> {
    let ones = vec![1.0; images * len];
    let [output, _] = run(&Dropout::new(Spec { rate }, len, Level::detect()), noise, len, &ones, &ones);
    output.iter().map(|y| *y != 0.0).collect()
}

/// Whether each value of an image stays is read off its stream, as the kernel's documentation says.
#[test]
fn random_tensors() {
    let random = &mut random(1);
    for i in 0..60 {
        let (images, len) = (random.random_range(1..=5), random.random_range(1..=700));
        let spec = Spec { rate: [0.0, 0.5, 0.1, 0.9, 0.25][i % 5] };
        let noise = Noise { seed: random.random(), step: random.random_range(0..1 << 32), layer: i, image: 3 * i };
        let (x, d) = (values(random, images * len), values(random, images * len));
        let stays: Vec<bool> = (0..images)
            .flat_map(|image| {
                let number = noise.step << 32 | (noise.layer as u64) << 22 | (noise.image + image) as u64;
                let mut stream = Stream::new(noise.seed, Purpose::Dropout, number);
                (0..len).map(move |_| f64::from(stream.word()) >= spec.rate * 4_294_967_296.0)
            })
            .collect();
        for level in Level::available() {
            let [output, d_input] = run(&Dropout::new(spec, len, level), noise, len, &x, &d);
            let name = format!("{level:?}: {spec:?} on {images} × {len}");
            assert_near(&name, &output, &reference::forward(&spec, &stays, &wide(&x)));
            assert_near(&name, &d_input, &reference::backward(&spec, &stays, &wide(&d)));
        }
    }
}

#[test]
fn the_share_of_zeros_is_the_rate() {
    for rate in [0.05, 0.3, 0.5, 0.8] {
        let dropped = stays(rate, NOISE, 20, 5_000).iter().filter(|stays| !**stays).count() as f64;
        // Six standard deviations of a binomial distribution.
        let tolerance = 6.0 * (100_000.0 * rate * (1.0 - rate)).sqrt();
        assert!((dropped - 100_000.0 * rate).abs() < tolerance, "{dropped} of 100000 dropped at a rate of {rate}");
    }
}

#[test]
fn groups_of_images_do_not_matter() {
    let (images, len) = (7, 300);
    let random = &mut random(2);
    let (x, d) = (values(random, images * len), values(random, images * len));
    let kernel = Dropout::new(Spec { rate: 0.4 }, len, Level::detect());
    let together = run(&kernel, NOISE, len, &x, &d);
    for cut in 1..images {
        let (x, d) = (x.split_at(cut * len), d.split_at(cut * len));
        let before = run(&kernel, NOISE, len, x.0, d.0);
        let behind = run(&kernel, Noise { image: cut, ..NOISE }, len, x.1, d.1);
        for ((together, before), behind) in together.iter().zip(before).zip(behind) {
            assert_same_bits(&format!("cut at {cut}"), &[before, behind].concat(), together);
        }
    }
}

#[test]
fn each_seed_step_layer_and_image_has_a_mask_of_its_own() {
    let others = [
        NOISE,
        Noise { seed: 2, ..NOISE },
        Noise { step: 8, ..NOISE },
        Noise { layer: 4, ..NOISE },
        Noise { image: 1, ..NOISE },
    ];
    let masks = others.map(|noise| stays(0.5, noise, 1, 1_000));
    for (i, a) in masks.iter().enumerate() {
        for b in &masks[..i] {
            let same = a.iter().zip(b).filter(|(a, b)| a == b).count();
            // Six standard deviations of 1000 fair coins.
            assert!((405..595).contains(&same), "{same} of 1000 are the same");
        }
    }
}

#[test]
fn the_fields_of_a_stream_s_number_do_not_overlap() {
    let number = |step, layer, image| stream_number(Noise { seed: 0, step, layer, image }, 0);
    assert_eq!(number(0, 0, (1 << 22) - 1), 0x3f_ffff);
    assert_eq!(number(0, 1023, 0), 0xffc0_0000);
    assert_eq!(number(0xffff_ffff, 0, 0), 0xffff_ffff_0000_0000);
    assert_eq!(number(1 << 32, 1 << 10, 1 << 22), 0, "beyond them they begin again");
}

/// Without noise both passes are the identity, also where a gradient is asked for.
#[test]
fn outside_of_training_nothing_happens() {
    let random = &mut random(3);
    let (x, d) = (values(random, 3 * 50), values(random, 3 * 50));
    for level in Level::available() {
        let kernel = Dropout::new(Spec { rate: 0.5 }, 50, level);
        let name = format!("{level:?}");
        let case = Case { name, kernel: &kernel, images: 3, weights: &[], input: &x, d_output: &d };
        case.check(&wide(&x), |_| [wide(&d), vec![]]);
    }
}
