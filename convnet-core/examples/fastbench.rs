//! Throwaway.
use convnet_core::engine::cpu::{kernel::*, kernels::fast3x3::select, simd::Level};
use convnet_core::layers::*;
use convnet_core::shape::*;
use std::time::Instant;
fn al(n: usize) -> &'static mut [f32] {
    let v = vec![0f32; n + 16].leak();
    let o = v.as_ptr().align_offset(64);
    &mut v[o..o + n]
}
fn main() {
    let raw = std::fs::read("/tmp/mnist-images.raw").unwrap();
    let conv = |f| {
        let a = Axis { window: 3, stride: 1, dilation: 1, padding: Padding::Valid };
        Op::Conv2D(conv2d::Spec {
            filters: f,
            vertical: a,
            horizontal: a,
            activation: Activation::Relu,
            use_bias: true,
        })
    };
    let a = Axis { window: 2, stride: 2, dilation: 1, padding: Padding::Valid };
    let pool = Op::MaxPooling2D(max_pooling2d::Spec { vertical: a, horizontal: a });
    let n = 8;
    let sets = 8;
    let exact = std::env::args().nth(1).is_some_and(|a| a == "exact");
    let level = Level::detect();
    let s = Shape::map;
    let plan = [
        (vec![(conv(32), s(28, 28, 1), s(26, 26, 32)), (pool, s(26, 26, 32), s(13, 13, 32))], true),
        (vec![(conv(64), s(13, 13, 32), s(11, 11, 64)), (pool, s(11, 11, 64), s(5, 5, 64))], false),
        (vec![(conv(64), s(5, 5, 64), s(3, 3, 64))], false),
    ];
    let mut seed = 1u64;
    let mut rnd = move || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let mut inputs: Vec<&'static mut [f32]> = (0..sets)
        .map(|i| {
            let x = al(n * 784);
            for (j, x) in x.iter_mut().enumerate() {
                *x = raw[16 + (i * n * 784 + j)] as f32 / 255.0;
            }
            x
        })
        .collect();
    for (ops, first) in &plan {
        let (k, _) = select(ops, *first, exact, level).unwrap();
        let (c, f) = (ops[0].1.channels(), ops[0].2.channels());
        let w = al(9 * c * f + f);
        let lim = (6.0 / (9 * (c + f)) as f32).sqrt();
        for w in &mut w[..9 * c * f] {
            *w = rnd() * lim;
        }
        let der = al(k.derived());
        k.prepare(w, der);
        let mut tp = f64::MAX;
        for _ in 0..50 {
            let t = Instant::now();
            k.prepare(w, der);
            tp = tp.min(t.elapsed().as_secs_f64());
        }
        let olen = ops.last().unwrap().2.len();
        let ilen = ops[0].1.len();
        let scratch = al(k.scratch(n));
        let mut outs: Vec<_> = (0..sets).map(|_| al(n * olen)).collect();
        let mut kept: Vec<_> = (0..sets).map(|_| vec![0u8; n * k.kept()]).collect();
        let dout: Vec<_> = (0..sets)
            .map(|_| {
                let d = al(n * olen);
                for x in d.iter_mut() {
                    *x = rnd() * 0.01;
                }
                d
            })
            .collect();
        let dw = al(w.len());
        let din = al(n * ilen);
        let reps = 60;
        let (mut tf, mut ti, mut tb) = (vec![f64::MAX; sets], vec![f64::MAX; sets], vec![f64::MAX; sets]);
        let mut dscr = al(n * olen);
        let mut pos = 0usize;
        for _ in 0..reps {
            for i in 0..sets {
                let t = Instant::now();
                k.forward(Forward {
                    images: n,
                    training: true,
                    weights: w,
                    derived: der,
                    input: inputs[i],
                    output: outs[i],
                    kept: &mut kept[i],
                    scratch,
                });
                tf[i] = tf[i].min(t.elapsed().as_secs_f64());
                let t = Instant::now();
                k.forward(Forward {
                    images: 1,
                    training: false,
                    weights: w,
                    derived: der,
                    input: &inputs[i][..ilen],
                    output: &mut outs[i][..olen],
                    kept: &mut [],
                    scratch,
                });
                ti[i] = ti[i].min(t.elapsed().as_secs_f64());
                dscr.copy_from_slice(dout[i]);
                let t = Instant::now();
                k.backward(Backward {
                    images: n,
                    weights: w,
                    derived: der,
                    input: inputs[i],
                    output: outs[i],
                    kept: &kept[i],
                    d_output: &mut dscr,
                    d_input: if *first { None } else { Some(din) },
                    d_weights: dw,
                    accumulate: true,
                    scratch,
                });
                tb[i] = tb[i].min(t.elapsed().as_secs_f64());
            }
        }
        for o in &outs {
            pos += o.iter().filter(|x| **x > 0.0).count();
        }
        let us = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64 * 1e6;
        println!(
            "{c:3}->{f:3}: fwd {:7.1}  fwd1 {:6.1}  bwd {:7.1}  prepare {:6.1}  active {:.2}",
            us(&tf),
            us(&ti),
            us(&tb),
            tp * 1e6,
            pos as f64 / (sets * n * olen) as f64
        );
        inputs = outs;
    }
}
