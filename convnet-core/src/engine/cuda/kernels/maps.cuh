// What the kernels on maps share: how the values of a map are dealt out to threads, and where windows lie.
//
// Maps are [image][row][column][channel], so neighbouring threads take neighbouring channels, four at a time where
// their number allows it (tensors begin at multiples of 256 bytes): memory is read in whole lines, and the numbers of
// rows and columns are worked out once for four values. Comes before the families that use it.

// Arrays of a thread lie in registers only where the loops over them are unrolled.
#ifdef __CUDACC_RTC__
#define UNROLLED _Pragma("unroll")
#else
#define UNROLLED
#endif

namespace maps {

// Stores four values at once. NVRTC takes the store of a float4 apart, and does not always join it again.
__device__ inline void store_four(float *to, float4 x) {
#ifdef __CUDACC_RTC__
    asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};"
                 :: "l"(__cvta_generic_to_global(to)), "f"(x.x), "f"(x.y), "f"(x.z), "f"(x.w) : "memory");
#else
    *(float4 *)to = x;
#endif
}

// Neighbouring channels that a thread takes together.
template <int CHANNELS> constexpr int TOGETHER = CHANNELS % 4 == 0 ? 4 : 1;

template <int N> struct Values {
    float at[N];
};

template <int N> __device__ inline Values<N> all(float x) {
    Values<N> values;
    UNROLLED for (int i = 0; i < N; i++) values.at[i] = x;
    return values;
}

template <int N> __device__ inline Values<N> load(const float *from) {
    if constexpr (N == 4) {
        float4 x = *(const float4 *)from;
        return {x.x, x.y, x.z, x.w};
    } else {
        Values<N> values;
        UNROLLED for (int i = 0; i < N; i++) values.at[i] = from[i];
        return values;
    }
}

// Some of a layer's weights, from a place that is a multiple of N floats behind the layer's first. Layers' weights lie
// one behind the other: only where P::ALIGNED does a layer's first begin where four can be read at once.
template <class P, int N> __device__ inline Values<N> load_weights(const float *from) {
    if constexpr (P::ALIGNED) {
        return load<N>(from);
    } else {
        Values<N> values;
        UNROLLED for (int i = 0; i < N; i++) values.at[i] = from[i];
        return values;
    }
}

template <int N> __device__ inline void store(float *to, Values<N> x) {
    if constexpr (N == 4) {
        store_four(to, make_float4(x.at[0], x.at[1], x.at[2], x.at[3]));
    } else {
        UNROLLED for (int i = 0; i < N; i++) to[i] = x.at[i];
    }
}

template <int N> __device__ inline void add(Values<N> &to, Values<N> x) {
    UNROLLED for (int i = 0; i < N; i++) to.at[i] += x.at[i];
}

template <int N> __device__ inline void add_product(Values<N> &to, Values<N> a, Values<N> b) {
    UNROLLED for (int i = 0; i < N; i++) to.at[i] = fmaf(a.at[i], b.at[i], to.at[i]);
}

// The last step of every kernel that makes the gradient of its input; `element` is the first of the values.
template <class P, int N>
__device__ inline void store_gradient(float *d_input, const float *input, u64 element, Values<N> d) {
    if constexpr (P::ADD) add(d, load<N>(d_input + element));
    if constexpr (P::INPUT_ACTIVATION != LINEAR) {
        Values<N> y = load<N>(input + element);
        UNROLLED for (int i = 0; i < N; i++) d.at[i] = before_activation<P::INPUT_ACTIVATION>(d.at[i], y.at[i]);
    }
    store(d_input + element, d);
}

// The number of a value in maps of this shape.
template <int HEIGHT, int WIDTH, int CHANNELS>
__device__ inline u64 element_of(u64 image, int row, int column, int channel) {
    return image * ((u64)HEIGHT * WIDTH * CHANNELS) + (u32)((row * WIDTH + column) * CHANNELS + channel);
}

// Where a thread's values are.
struct Place {
    u64 image;
    int row, column, channel;
};

// Calls `f` with the place of each TOGETHER<CHANNELS> values that are this thread's, of maps of all images; any grid
// along x will do. Only two divisions are by 64 bits, and they are before the loop.
template <int HEIGHT, int WIDTH, int CHANNELS, class F> __device__ inline void each_place(int images, F f) {
    constexpr u32 SLOTS = CHANNELS / TOGETHER<CHANNELS>, SIZE = HEIGHT * WIDTH * SLOTS;
    u64 image = thread_number() / SIZE, images_on = thread_count() / SIZE;
    u32 at = (u32)(thread_number() % SIZE), on = (u32)(thread_count() % SIZE);
    while (image < (u64)images) {
        u32 position = at / SLOTS;
        int channel = (int)(at % SLOTS) * TOGETHER<CHANNELS>;
        f(Place{image, (int)(position / WIDTH), (int)(position % WIDTH), channel});
        image += images_on;
        at += on;
        if (at >= SIZE) {
            at -= SIZE;
            image++;
        }
    }
}

// One axis of a window that slides over a map.
template <int SIZE, int OUT, int WINDOW, int STRIDE, int DILATION, int PAD> struct Axis {
    // Whether no window reaches over the border.
    static constexpr bool INSIDE = PAD == 0 && (OUT - 1) * STRIDE + (WINDOW - 1) * DILATION < SIZE;
    // Whether this position of the map exists.
    static __device__ inline bool holds(int position) { return INSIDE || (u32)position < (u32)SIZE; }
    // Where a tap of a window lies.
    static __device__ inline int position(int output, int tap) { return output * STRIDE + tap * DILATION - PAD; }
    // How many taps of a window lie inside the map.
    static __device__ inline int count(int output) {
        if (INSIDE) return WINDOW;
        int start = output * STRIDE - PAD;
        int first = start < 0 ? (-start + DILATION - 1) / DILATION : 0;
        int behind = start < SIZE ? (SIZE - start + DILATION - 1) / DILATION : 0;
        behind = behind < WINDOW ? behind : WINDOW;
        return behind > first ? behind - first : 0;
    }
    // How many windows may cover a position. Without dilation the windows that reach it are neighbours; with it each
    // tap is asked for the window in which it lies there.
    static constexpr int COVERING = DILATION == 1 ? ceil_div(WINDOW, STRIDE) : WINDOW;
    // Number `k` of them, in rising order: its output, and the tap that lies there. False if there is no such window.
    static __device__ inline bool covering(int position, int k, int &output, int &tap) {
        u32 at = (u32)(position + PAD);
        if (DILATION == 1) {
            output = (int)(at / STRIDE) - (COVERING - 1 - k);
            tap = (int)at - output * STRIDE;
            return output >= 0 && output < OUT && tap < WINDOW;
        }
        tap = WINDOW - 1 - k;
        int start = (int)at - tap * DILATION;
        output = (int)((u32)start / STRIDE);
        return start >= 0 && (u32)start % STRIDE == 0 && output < OUT;
    }
};

template <class P>
using Vertical = Axis<P::HEIGHT, P::OUT_HEIGHT, P::WINDOW_H, P::STRIDE_H, P::DILATION_H, P::PAD_TOP>;
template <class P>
using Horizontal = Axis<P::WIDTH, P::OUT_WIDTH, P::WINDOW_W, P::STRIDE_W, P::DILATION_W, P::PAD_LEFT>;

// How a block of 256 threads shares out rows of CHANNELS values: a lane is some channels, a group the lanes of a
// block (at most 512 bytes of a row, so that there are several parts, and many blocks where rows are few), and the
// parts take the rows in turn. A few threads may be left over.
template <int CHANNELS> struct Block {
    static constexpr int N = TOGETHER<CHANNELS>, SLOTS = CHANNELS / N, GROUPS = ceil_div(SLOTS, 32);
    static constexpr int LANES = ceil_div(SLOTS, GROUPS), PARTS = 256 / LANES;
    int lane, part;
    __device__ inline Block() : lane((int)threadIdx.x % LANES), part((int)threadIdx.x / LANES) {}
    // The first of this thread's channels.
    __device__ inline int channel(int group) const { return (group * LANES + lane) * N; }
    // Whether this thread has any.
    __device__ inline bool works(int group) const { return part < PARTS && group * LANES + lane < SLOTS; }
};

struct Sum {
    template <class T> __device__ inline T operator()(T a, T b) const { return a + b; }
};

// Joins what the parts of a lane have, as a tree that depends on nothing but LANES and PARTS; part 0 gets the result.
// All 256 threads of the block take part.
template <int LANES, int PARTS, class Join, int N, class T> __device__ inline void join_parts(T (&x)[N], Join join) {
    __shared__ T shared[N * 256];
    int thread = (int)threadIdx.x, part = thread / LANES;
    __syncthreads(); // those who still read the last result
    UNROLLED for (int i = 0; i < N; i++) shared[i * 256 + thread] = x[i];
    int half = 1;
    while (half * 2 < PARTS) half *= 2;
    for (; half > 0; half /= 2) {
        __syncthreads();
        if (part < half && part + half < PARTS) {
            UNROLLED for (int i = 0; i < N; i++) {
                T &mine = shared[i * 256 + thread];
                mine = join(mine, shared[i * 256 + thread + half * LANES]);
            }
        }
    }
    UNROLLED for (int i = 0; i < N; i++) x[i] = shared[i * 256 + thread];
}

} // namespace maps
