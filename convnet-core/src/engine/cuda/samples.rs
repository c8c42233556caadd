//! Kernels for the tests of both machines.

use super::backend::{Memory, Span};
use super::source::{ArgumentType, Constant, Element, Kernel, Source, Target};

/// The templates.
const TEMPLATES: &str = r"
template <class P> __device__ void test_sums(const float *x, float *sums, int n) {
    __shared__ float shares[P::SHARES];
    for (int i = threadIdx.x; i < P::SHARES; i += blockDim.x) {
        float sum = 0.0f;
        for (int j = i; j < n; j += P::SHARES) sum += x[(size_t)blockIdx.x * n + j];
        shares[i] = sum;
    }
    __syncthreads();
    float sum = 0.0f;
    for (int i = threadIdx.x; i < P::SHARES; i += blockDim.x) sum += shares[P::SHARES - 1 - i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}
template <class P> __device__ void test_scale(float *x, u64 n, float by) {
    for (u64 i = thread_number(); i < n; i += thread_count()) x[i] *= by;
}
template <class P> __device__ void test_accumulate(float *sum) {
    if (threadIdx.x == 0) sum[0] += 1.0f;
}
template <class P> __device__ void test_order(float *x) { x[0] = threadIdx.x; }
template <class P> __device__ void test_state(float *x) { x[0] = sizeof(State); }
";

/// A source with one kernel, and its text with `TEMPLATES`.
fn source(kernel: Kernel, target: Target) -> (Source, String) {
    let mut source = Source::default();
    source.add(kernel);
    let text = source.text(target).replacen("\nstruct P0 ", &format!("{TEMPLATES}\nstruct P0 "), 1);
    (source, text)
}

pub(super) fn sums(shares: i64, target: Target) -> (Source, String) {
    use ArgumentType::{Const, Int, Mut};
    let arguments = vec![Const(Element::F32), Mut(Element::F32), Int];
    source(
        Kernel {
            template: "test_sums",
            constants: vec![("SHARES", Constant::Int(shares))],
            threads: 64,
            resident: 1,
            arguments,
        },
        target,
    )
}

pub(super) fn scale(target: Target) -> (Source, String) {
    let arguments = vec![ArgumentType::Mut(Element::F32), ArgumentType::Long, ArgumentType::Float];
    source(Kernel { template: "test_scale", constants: Vec::new(), threads: 32, resident: 1, arguments }, target)
}

pub(super) fn small(template: &'static str, target: Target) -> (Source, String) {
    source(
        Kernel {
            template,
            constants: Vec::new(),
            threads: 96,
            resident: 1,
            arguments: vec![ArgumentType::Mut(Element::F32)],
        },
        target,
    )
}

pub(super) fn floats(memory: Memory, at: usize, count: usize) -> Span {
    Span { memory, element: Element::F32, at: 4 * at, bytes: 4 * count }
}

pub(super) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}
