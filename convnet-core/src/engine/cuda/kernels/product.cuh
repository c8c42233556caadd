// Convolutions and dense layers as products of matrices; a dense layer is a convolution of maps of one pixel by
// windows of one. `product_tiles.cuh` multiplies, `product_load.cuh` says what.
//
//   convolve_forward           pixels of the output × taps      times  taps × filters
//   convolve_backward_input    pixels of the input × (u, v, f)  times  (u, v, f) × channels
//   convolve_backward_weights  taps × pixels of the output      times  pixels × filters
//
// (A tap is a place in the window and a channel.) Blocks: x = tiles, those of a group's columns first (blocks that run
// together then read the same rows of what is large, and all of the kernel, which is small), z = groups × splits, the
// group first. A split is a part of k, summed by blocks of its own: where there are too few tiles to fill a device, or
// so many numbers to sum that one run of them would lose digits. The parts are then added in a fixed order, by
// `finish_forward`, `finish_backward_input` or whoever takes the gradient of the weights.
//
// The gradient of the bias is the sums of the output's gradient over all pixels. The blocks of the first row of tiles
// have all of it in hand once, and make these sums beside the product, in single precision always.
namespace product {

// Sums that wait for the other parts', or a gradient of weights: rows of STRIDE numbers, of which a group has COUNT.
template <int STRIDE, int COUNT> struct Raw {
    static constexpr bool VECTOR = STRIDE % 4 == 0 && COUNT % 4 == 0;
    float *to;
    unsigned rows;

    template <int WIDE> struct Held {};
    template <int WIDE> __device__ void of_columns(int, Held<WIDE> &) const {}
    template <int WIDE> __device__ void fetch(unsigned, int, Held<WIDE> &) const {}

    template <int WIDE> __device__ void put(unsigned m, int n, const float (&x)[WIDE], const Held<WIDE> &) const {
        if (m < rows && n < COUNT) write<WIDE, VECTOR>(to + (u64)m * STRIDE + n, x, COUNT - n);
    }
};

// The values of a layer: with the bias, through the activation.
template <class P> struct Activated {
    static constexpr int COUNT = P::FILTERS / P::GROUPS;
    static constexpr bool VECTOR = P::FILTERS % 4 == 0 && COUNT % 4 == 0;
    float *to;
    unsigned rows;
    const float *biases; // of the group; they are aligned like the weights, as floats

    template <int WIDE> struct Held { float bias[WIDE]; };

    template <int WIDE> __device__ void of_columns(int n, Held<WIDE> &held) const {
        if constexpr (P::USE_BIAS) read<WIDE, false>(biases + n, held.bias, COUNT - n);
    }

    template <int WIDE> __device__ void fetch(unsigned, int, Held<WIDE> &) const {}

    template <int WIDE> __device__ void put(unsigned m, int n, const float (&x)[WIDE], const Held<WIDE> &held) const {
        if (m >= rows || n >= COUNT) return;
        float y[WIDE];
#pragma unroll
        for (int j = 0; j < WIDE; j++) y[j] = activate<P::ACTIVATION>(P::USE_BIAS ? x[j] + held.bias[j] : x[j]);
        write<WIDE, VECTOR>(to + (u64)m * P::FILTERS + n, y, COUNT - n);
    }
};

// What the gradient of an input is made of besides its sums: what is there already, and the input.
template <class P, int WIDE, bool VECTOR> struct Beside {
    float d[WIDE], y[WIDE];

    __device__ void fetch(const float *d_input, const float *input, int count) {
        if constexpr (P::ADD) read<WIDE, VECTOR>(d_input, d, count);
        if constexpr (P::INPUT_ACTIVATION != LINEAR) read<WIDE, VECTOR>(input, y, count);
    }

    // Added to what is there, taken through the activation above.
    __device__ void give(float *d_input, const float (&x)[WIDE], int count) const {
        float sums[WIDE];
#pragma unroll
        for (int j = 0; j < WIDE; j++) {
            sums[j] = P::ADD ? d[j] + x[j] : x[j];
            if constexpr (P::INPUT_ACTIVATION != LINEAR) sums[j] = before_activation<P::INPUT_ACTIVATION>(sums[j], y[j]);
        }
        write<WIDE, VECTOR>(d_input, sums, count);
    }
};

template <class P> struct Gradient {
    static constexpr int COUNT = P::CHANNELS / P::GROUPS;
    static constexpr bool VECTOR = P::CHANNELS % 4 == 0 && COUNT % 4 == 0;
    float *d_input;
    const float *input;
    unsigned rows;

    template <int WIDE> using Held = Beside<P, WIDE, VECTOR>;
    template <int WIDE> __device__ void of_columns(int, Held<WIDE> &) const {}

    template <int WIDE> __device__ void fetch(unsigned m, int n, Held<WIDE> &held) const {
        u64 at = (u64)m * P::CHANNELS + n;
        if (m < rows && n < COUNT) held.fetch(d_input + at, input + at, COUNT - n);
    }

    template <int WIDE> __device__ void put(unsigned m, int n, const float (&x)[WIDE], const Held<WIDE> &held) const {
        if (m < rows && n < COUNT) held.give(d_input + (u64)m * P::CHANNELS + n, x, COUNT - n);
    }
};

// The sum of all parts of WIDE neighbours at `at`.
template <int WIDE>
__device__ inline void add_parts(const float *partials, u64 at, u64 size, int splits, float (&sum)[4]) {
    sum[0] = sum[1] = sum[2] = sum[3] = 0.0f;
    for (int split = 0; split < splits; split++, at += size) {
        float x[4];
        read<4, WIDE == 4>(partials + at, x, WIDE);
#pragma unroll
        for (int j = 0; j < WIDE; j++) sum[j] += x[j];
    }
}

template <class P>
__device__ void convolve_forward(const float *input, const float *weights, float *output, int images) {
    typedef Tiling<P> T;
    constexpr unsigned PIXELS = P::OUT_HEIGHT * P::OUT_WIDTH, FILTERS = P::FILTERS / P::GROUPS;
    constexpr unsigned K = P::WINDOW_H * P::WINDOW_W * (P::CHANNELS / P::GROUPS);
    int group = blockIdx.z % P::GROUPS, split = blockIdx.z / P::GROUPS;
    unsigned rows = images * PIXELS;
    Patches<T, Outward<P>> a(input, group, rows);
    Matrix<T, P::FILTERS, FILTERS> b(weights, group);
    if constexpr (P::SPLIT) {
        Raw<P::FILTERS, FILTERS> out{output + (u64)split * rows * P::FILTERS + group * FILTERS, rows};
        multiply<T>(a, b, Range<T>(K, split, gridDim.z / P::GROUPS), out);
    } else {
        const float *biases = weights + (u64)K * P::FILTERS + group * FILTERS;
        multiply<T>(a, b, Range<T>(K, 0, 1), Activated<P>{output + group * FILTERS, rows, biases});
    }
}

// What `convolve_forward` leaves to be done with SPLIT: on a grid along x, of any size.
template <class P>
__device__ void finish_forward(const float *partials, const float *weights, float *output, int images, int splits) {
    constexpr int WIDE = P::FILTERS % 4 == 0 ? 4 : 1;
    constexpr u64 K = P::WINDOW_H * P::WINDOW_W * (P::CHANNELS / P::GROUPS);
    u64 size = (u64)images * (P::OUT_HEIGHT * P::OUT_WIDTH) * P::FILTERS;
    for (u64 i = thread_number() * WIDE; i < size; i += thread_count() * WIDE) {
        float sum[4];
        add_parts<WIDE>(partials, i, size, splits, sum);
        if constexpr (P::USE_BIAS) {
            const float *biases = weights + K * P::FILTERS + i % P::FILTERS;
#pragma unroll
            for (int j = 0; j < WIDE; j++) sum[j] += biases[j];
        }
#pragma unroll
        for (int j = 0; j < WIDE; j++) sum[j] = activate<P::ACTIVATION>(sum[j]);
        write<4, WIDE == 4>(output + i, sum, WIDE);
    }
}

template <class P>
__device__ void convolve_backward_input(const float *d_output, const float *weights, const float *input,
                                        float *d_input, int images) {
    typedef Tiling<P> T;
    constexpr unsigned PIXELS = P::HEIGHT * P::WIDTH, CHANNELS = P::CHANNELS / P::GROUPS;
    constexpr unsigned K = P::WINDOW_H * P::WINDOW_W * (P::FILTERS / P::GROUPS);
    int group = blockIdx.z % P::GROUPS, split = blockIdx.z / P::GROUPS;
    unsigned rows = images * PIXELS;
    Patches<T, Inward<P>> a(d_output, group, rows);
    TurnedKernel<T, P> b(weights, group);
    if constexpr (P::SPLIT) {
        Raw<P::CHANNELS, CHANNELS> out{d_input + (u64)split * rows * P::CHANNELS + group * CHANNELS, rows};
        multiply<T>(a, b, Range<T>(K, split, gridDim.z / P::GROUPS), out);
    } else {
        Gradient<P> out{d_input + group * CHANNELS, input + group * CHANNELS, rows};
        multiply<T>(a, b, Range<T>(K, 0, 1), out);
    }
}

// What `convolve_backward_input` leaves to be done with SPLIT: on a grid along x, of any size.
template <class P>
__device__ void finish_backward_input(const float *partials, const float *input, float *d_input, int images,
                                      int splits) {
    constexpr int WIDE = P::CHANNELS % 4 == 0 ? 4 : 1;
    u64 size = (u64)images * (P::HEIGHT * P::WIDTH) * P::CHANNELS;
    for (u64 i = thread_number() * WIDE; i < size; i += thread_count() * WIDE) {
        float sum[4];
        Beside<P, 4, WIDE == 4> beside;
        beside.fetch(d_input + i, input + i, WIDE);
        add_parts<WIDE>(partials, i, size, splits, sum);
        beside.give(d_input + i, sum, WIDE);
    }
}

// Writes `partials[split][rows][FILTERS]`, rows as the weights have them: those of the kernel, then, if USE_BIAS, the
// bias. The tiles of rows are those of the kernel alone.
template <class P>
__device__ void convolve_backward_weights(const float *input, const float *d_output, float *partials, int images) {
    typedef Tiling<P> T;
    constexpr unsigned PIXELS = P::OUT_HEIGHT * P::OUT_WIDTH, FILTERS = P::FILTERS / P::GROUPS;
    constexpr unsigned ROWS = P::WINDOW_H * P::WINDOW_W * (P::CHANNELS / P::GROUPS), ALL = ROWS + P::USE_BIAS;
    int group = blockIdx.z % P::GROUPS, split = blockIdx.z / P::GROUPS;
    Range<T> range(images * PIXELS, split, gridDim.z / P::GROUPS);
    float *part = partials + (u64)split * ALL * P::FILTERS;
    Raw<P::FILTERS, FILTERS> out{part + group * FILTERS, ROWS};
    TurnedPatches<T, Outward<P>> a(input, group);
    if constexpr (P::USE_BIAS) {
        SummedMatrix<T, P::FILTERS, FILTERS> b(d_output, group);
        multiply<T>(a, b, range, out);
        if (T::row() == 0) b.finish(part + (u64)ROWS * P::FILTERS, group);
    } else {
        Matrix<T, P::FILTERS, FILTERS> b(d_output, group);
        multiply<T>(a, b, range, out);
    }
}

} // namespace product

using product::convolve_backward_input;
using product::convolve_backward_weights;
using product::convolve_forward;
using product::finish_backward_input;
using product::finish_forward;
