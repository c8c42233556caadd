// Where several tensors become one, and gradients of one tensor come from several sides.
//
// A sum of several tensors is made two at a time. The gradient of a sum is that of each of its terms: a `split` of
// the whole. Channels are the last axis, so a part of a concatenation is some columns of each row.

// a + b, through the activation behind it; `output` may be `a`.
template <class P> __device__ void add_forward(const float *a, const float *b, float *output, int images) {
    constexpr int N = at_once(P::SIZE);
    each((u64)images * (P::SIZE / N), [&](auto i) {
        Few<N> x = few<N>(a, i), y = few<N>(b, i);
        for (int k = 0; k < N; k++) x[k] = activate<P::ACTIVATION>(x[k] + y[k]);
        put(output, i, x);
    });
}

// Where the values from N·i on of a part lie in the whole, in units of N values.
template <class P, int N, class Number> __device__ inline u64 place_in_whole(Number i) {
    if constexpr (P::PART == P::TOTAL) return i;
    Number row = i / (P::PART / N), column = i - row * (P::PART / N);
    return (u64)row * (P::TOTAL / N) + P::OFFSET / N + column;
}

// P::PART channels of each of P::ROWS positions go to the columns from P::OFFSET on of P::TOTAL.
template <class P> __device__ void join(const float *part, float *whole, int images) {
    constexpr int N = at_once(P::PART, P::OFFSET, P::TOTAL);
    each((u64)images * P::ROWS * (P::PART / N),
         [&](auto i) { put(whole, place_in_whole<P, N>(i), few<N>(part, i)); });
}

// The gradient of a part out of that of the whole.
template <class P> __device__ void split(const float *d_whole, const float *input, float *d_part, int images) {
    constexpr int N = at_once(P::PART, P::OFFSET, P::TOTAL);
    each((u64)images * P::ROWS * (P::PART / N),
         [&](auto i) { hand_up<P>(d_part, input, i, few<N>(d_whole, place_in_whole<P, N>(i))); });
}
