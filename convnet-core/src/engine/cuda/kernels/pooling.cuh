// Pooling: a window slides over a map, or is as large as the map, and leaves each channel's largest value or its
// mean.
//
// Windows look only at what is inside the map; one that holds nothing of it gives 0, and its gradient goes nowhere.
// The gradient of the input is gathered: each position asks the windows that cover it, of which there is one at most
// where windows do not overlap. So nothing is added from several threads, and every value is written once.
//
// NaN: a window with a NaN gives NaN, so that the loss shows it; the gradient of a maximum goes to one of its taps.

namespace pooling {

template <bool SMALL> struct Numbers {
    typedef u8 Type;
};
template <> struct Numbers<false> {
    typedef u32 Type;
};
// What holds the number of a tap.
template <class P> using Number = typename Numbers<P::WINDOW_H * P::WINDOW_W <= 256>::Type;

template <int N> __device__ inline void store_numbers(u8 *to, const u32 (&taps)[N]) {
    if constexpr (N == 4) {
        *(u32 *)to = taps[0] | taps[1] << 8 | taps[2] << 16 | taps[3] << 24;
    } else {
        UNROLLED for (int i = 0; i < N; i++) to[i] = (u8)taps[i];
    }
}

template <int N> __device__ inline void store_numbers(u32 *to, const u32 (&taps)[N]) {
    UNROLLED for (int i = 0; i < N; i++) to[i] = taps[i];
}

template <int N> __device__ inline void load_numbers(u32 (&taps)[N], const u8 *from) {
    if constexpr (N == 4) {
        u32 all = *(const u32 *)from;
        UNROLLED for (int i = 0; i < N; i++) taps[i] = all >> 8 * i & 255u;
    } else {
        UNROLLED for (int i = 0; i < N; i++) taps[i] = from[i];
    }
}

template <int N> __device__ inline void load_numbers(u32 (&taps)[N], const u32 *from) {
    UNROLLED for (int i = 0; i < N; i++) taps[i] = from[i];
}

// A value and where it stands among others.
struct Largest {
    float value;
    u32 place;
};

// The larger of two, the first of equals; a NaN is larger than all numbers.
struct Larger {
    __device__ inline Largest operator()(Largest a, Largest b) const {
        bool a_nan = isnan(a.value), b_nan = isnan(b.value);
        if (a_nan != b_nan) return a_nan ? a : b;
        if (!a_nan && a.value != b.value) return a.value > b.value ? a : b;
        return a.place < b.place ? a : b;
    }
};

// Calls `work` with each output whose window covers a place of the input: where it lies, and which row and column of its
// window the place is in.
template <class P, class Work> __device__ inline void each_covering(const maps::Place &to, Work work) {
    typedef maps::Vertical<P> V;
    typedef maps::Horizontal<P> H;
    for (int k = 0; k < V::COVERING; k++) {
        int row, u;
        if (!V::covering(to.row, k, row, u)) continue;
        for (int l = 0; l < H::COVERING; l++) {
            int column, v;
            if (H::covering(to.column, l, column, v)) work(row, column, u, v);
        }
    }
}

} // namespace pooling

// Block: any; grid: any along x. `places` gets the tap of each output, the first of the largest, if KEEP; an empty
// window gets 0, and no position will ask for it.
template <class P>
__device__ void max_pooling2d_forward(const float *input, float *output, pooling::Number<P> *places, int images) {
    typedef maps::Vertical<P> V;
    typedef maps::Horizontal<P> H;
    constexpr int C = P::CHANNELS, N = maps::TOGETHER<C>;
    maps::each_place<P::OUT_HEIGHT, P::OUT_WIDTH, C>(images, [&](maps::Place to) {
        maps::Values<N> largest = maps::all<N>(0.0f);
        u32 taps[N] = {};
        bool first = true;
        for (int u = 0; u < P::WINDOW_H; u++) {
            int y = V::position(to.row, u);
            if (!V::holds(y)) continue;
            for (int v = 0; v < P::WINDOW_W; v++) {
                int x = H::position(to.column, v);
                if (!H::holds(x)) continue;
                u64 from = maps::element_of<P::HEIGHT, P::WIDTH, C>(to.image, y, x, to.channel);
                auto values = maps::load<N>(input + from);
                UNROLLED for (int i = 0; i < N; i++) {
                    // Nothing is greater than a NaN that is there already.
                    if (first || values.at[i] > largest.at[i] || isnan(values.at[i])) {
                        largest.at[i] = values.at[i];
                        taps[i] = (u32)(u * P::WINDOW_W + v);
                    }
                }
                first = false;
            }
        }
        u64 element = maps::element_of<P::OUT_HEIGHT, P::OUT_WIDTH, C>(to.image, to.row, to.column, to.channel);
        maps::store(output + element, largest);
        if constexpr (P::KEEP) pooling::store_numbers(places + element, taps);
    });
}

// Block: any; grid: any along x.
template <class P>
__device__ void max_pooling2d_backward(const float *d_output, const pooling::Number<P> *places, const float *input,
                                       float *d_input, int images) {
    constexpr int C = P::CHANNELS, N = maps::TOGETHER<C>;
    maps::each_place<P::HEIGHT, P::WIDTH, C>(images, [&](maps::Place to) {
        maps::Values<N> sum = maps::all<N>(0.0f);
        pooling::each_covering<P>(to, [&](int row, int column, int u, int v) {
            u64 from = maps::element_of<P::OUT_HEIGHT, P::OUT_WIDTH, C>(to.image, row, column, to.channel);
            auto d = maps::load<N>(d_output + from);
            u32 taps[N];
            pooling::load_numbers(taps, places + from);
            UNROLLED for (int n = 0; n < N; n++) {
                if (taps[n] == (u32)(u * P::WINDOW_W + v)) sum.at[n] += d.at[n];
            }
        });
        u64 element = maps::element_of<P::HEIGHT, P::WIDTH, C>(to.image, to.row, to.column, to.channel);
        maps::store_gradient<P>(d_input, input, element, sum);
    });
}

// Block: any; grid: any along x. Sums go row by row of the window, so that rounding stays small in large ones.
template <class P> __device__ void average_pooling2d_forward(const float *input, float *output, int images) {
    typedef maps::Vertical<P> V;
    typedef maps::Horizontal<P> H;
    constexpr int C = P::CHANNELS, N = maps::TOGETHER<C>;
    maps::each_place<P::OUT_HEIGHT, P::OUT_WIDTH, C>(images, [&](maps::Place to) {
        maps::Values<N> sum = maps::all<N>(0.0f);
        for (int u = 0; u < P::WINDOW_H; u++) {
            int y = V::position(to.row, u);
            if (!V::holds(y)) continue;
            maps::Values<N> row = maps::all<N>(0.0f);
            for (int v = 0; v < P::WINDOW_W; v++) {
                int x = H::position(to.column, v);
                if (!H::holds(x)) continue;
                u64 from = maps::element_of<P::HEIGHT, P::WIDTH, C>(to.image, y, x, to.channel);
                maps::add(row, maps::load<N>(input + from));
            }
            maps::add(sum, row);
        }
        int inside = V::count(to.row) * H::count(to.column);
        float count = inside > 0 ? (float)inside : 1.0f;
        UNROLLED for (int n = 0; n < N; n++) sum.at[n] /= count;
        u64 element = maps::element_of<P::OUT_HEIGHT, P::OUT_WIDTH, C>(to.image, to.row, to.column, to.channel);
        maps::store(output + element, sum);
    });
}

// Block: any; grid: any along x.
template <class P>
__device__ void average_pooling2d_backward(const float *d_output, const float *input, float *d_input, int images) {
    constexpr int C = P::CHANNELS, N = maps::TOGETHER<C>;
    maps::each_place<P::HEIGHT, P::WIDTH, C>(images, [&](maps::Place to) {
        maps::Values<N> sum = maps::all<N>(0.0f);
        pooling::each_covering<P>(to, [&](int row, int column, int, int) {
            u64 from = maps::element_of<P::OUT_HEIGHT, P::OUT_WIDTH, C>(to.image, row, column, to.channel);
            auto d = maps::load<N>(d_output + from);
            // This position is in the window, so there is one at least.
            float inside = (float)(maps::Vertical<P>::count(row) * maps::Horizontal<P>::count(column));
            UNROLLED for (int n = 0; n < N; n++) sum.at[n] += d.at[n] / inside;
        });
        u64 element = maps::element_of<P::HEIGHT, P::WIDTH, C>(to.image, to.row, to.column, to.channel);
        maps::store_gradient<P>(d_input, input, element, sum);
    });
}
