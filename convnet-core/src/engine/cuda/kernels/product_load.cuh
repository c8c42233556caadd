// The operands of `product_tiles.cuh`'s products, as convolutions have them: numbers are fetched from where they lie,
// so that no matrix of patches is ever written ("implicit GEMM").
//
// Each loader knows what is fixed for its thread (its pixels, or its channels) before the first step; a step only
// finds out where its k is. Sizes are constants, so divisions are multiplications. What lies outside of a map, of the
// matrix or of the part of k is zero. Four neighbours are one vector where their number and place allow it. Pixels of
// a batch are counted in 32 bits, and so are the numbers of one image and of a kernel; the numbers of a batch in 64.
namespace product {

// A loader's units; `see` is for loaders that look at what they fetched, once it is there.
template <class T, bool K_LINES, int TILE> struct Loader {
    static constexpr bool ALONG_K = K_LINES;
    typedef Units<T, ALONG_K, TILE> Place;
    typedef typename Place::Held Held;
    __device__ void see(const Held &) {}
};

// A map and the windows that look into it. PART: channels that a group has. A window's place (u, v) at pixel (i, j)
// looks at row (i * MULTIPLY + u * DILATION + SHIFT) / DIVIDE, where this is a row, and likewise for columns.
//
// For the forward pass: windows in the input, at the pixels of the output.
template <class P> struct Outward {
    static constexpr int PIXELS_H = P::OUT_HEIGHT, PIXELS_W = P::OUT_WIDTH;
    static constexpr int HEIGHT = P::HEIGHT, WIDTH = P::WIDTH, CHANNELS = P::CHANNELS, PART = P::CHANNELS / P::GROUPS;
    static constexpr int WINDOW_H = P::WINDOW_H, WINDOW_W = P::WINDOW_W;
    static constexpr int MULTIPLY_H = P::STRIDE_H, MULTIPLY_W = P::STRIDE_W, DIVIDE_H = 1, DIVIDE_W = 1;
    static constexpr int DILATION_H = P::DILATION_H, DILATION_W = P::DILATION_W;
    static constexpr int SHIFT_H = -P::PAD_TOP, SHIFT_W = -P::PAD_LEFT;
};

// For the gradient of the input: at its pixels, the pixels of the output that looked at them.
template <class P> struct Inward {
    static constexpr int PIXELS_H = P::HEIGHT, PIXELS_W = P::WIDTH;
    static constexpr int HEIGHT = P::OUT_HEIGHT, WIDTH = P::OUT_WIDTH, CHANNELS = P::FILTERS;
    static constexpr int PART = P::FILTERS / P::GROUPS;
    static constexpr int WINDOW_H = P::WINDOW_H, WINDOW_W = P::WINDOW_W;
    static constexpr int MULTIPLY_H = 1, MULTIPLY_W = 1, DIVIDE_H = P::STRIDE_H, DIVIDE_W = P::STRIDE_W;
    static constexpr int DILATION_H = -P::DILATION_H, DILATION_W = -P::DILATION_W;
    static constexpr int SHIFT_H = P::PAD_TOP, SHIFT_W = P::PAD_LEFT;
};

// Where in an image of a map row `row / DIVIDE_H` and column `column / DIVIDE_W` begin, or -1 if there are no such.
template <class Map> __device__ inline int place(int row, int column) {
    unsigned y = row, x = column; // negative ones become large
    if (y >= (unsigned)(Map::HEIGHT * Map::DIVIDE_H) || x >= (unsigned)(Map::WIDTH * Map::DIVIDE_W)) return -1;
    if (y % Map::DIVIDE_H != 0 || x % Map::DIVIDE_W != 0) return -1;
    return (y / Map::DIVIDE_H * Map::WIDTH + x / Map::DIVIDE_W) * Map::CHANNELS;
}

// A row of the matrix of patches: a pixel.
template <class Map> struct Pixel {
    unsigned image;
    int row, column;
    __device__ Pixel() {}
    __device__ explicit Pixel(unsigned m) {
        constexpr unsigned PIXELS = Map::PIXELS_H * Map::PIXELS_W;
        unsigned rest = m % PIXELS;
        image = m / PIXELS;
        row = (int)(rest / Map::PIXELS_W) * Map::MULTIPLY_H + Map::SHIFT_H;
        column = (int)(rest % Map::PIXELS_W) * Map::MULTIPLY_W + Map::SHIFT_W;
    }
    // What lies so far from the beginning of its image.
    __device__ const float *in(const float *map, int at) const {
        return map + (u64)image * (Map::HEIGHT * Map::WIDTH * Map::CHANNELS) + at;
    }
};

// A column of the matrix of patches: a place in the window and a channel of the group.
template <class Map> struct Tap {
    int row, column, channel;
    __device__ Tap() {}
    __device__ explicit Tap(unsigned k) {
        unsigned window = k / Map::PART;
        channel = k % Map::PART;
        row = (int)(window / Map::WINDOW_W) * Map::DILATION_H;
        column = (int)(window % Map::WINDOW_W) * Map::DILATION_W;
    }
};

constexpr int NOWHERE = -(1 << 30); // a row far outside of any map

// A(m, k) = what pixel m's window sees at tap k.
template <class T, class Map> struct Patches : Loader<T, true, T::M> {
    typedef Loader<T, true, T::M> Base;
    typedef typename Base::Place Place;
    static constexpr bool VECTOR = Map::CHANNELS % 4 == 0 && Map::PART % 4 == 0;
    const float *map;
    Pixel<Map> pixels[Place::COUNT];

    __device__ Patches(const float *map, int group, unsigned count) : map(map + group * Map::PART) {
#pragma unroll
        for (int i = 0; i < Place::COUNT; i++) {
            unsigned m = T::row() + Place::down(i);
            pixels[i] = Pixel<Map>(m);
            if (m >= count) pixels[i].row = NOWHERE;
        }
    }

    __device__ void fetch(typename Base::Held &x, unsigned first, unsigned end) const {
        unsigned k = first + Place::across();
        if constexpr (VECTOR) {
            Tap<Map> tap(k);
#pragma unroll
            for (int i = 0; i < Place::COUNT; i++) {
                int at = place<Map>(pixels[i].row + tap.row, pixels[i].column + tap.column);
                x[i][0] = x[i][1] = x[i][2] = x[i][3] = 0.0f;
                if (at >= 0 && k < end) read<4, true>(pixels[i].in(map, at + tap.channel), x[i], 4);
            }
        } else {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                Tap<Map> tap(k + j);
#pragma unroll
                for (int i = 0; i < Place::COUNT; i++) {
                    int at = place<Map>(pixels[i].row + tap.row, pixels[i].column + tap.column);
                    x[i][j] = at >= 0 && k + j < end ? *pixels[i].in(map, at + tap.channel) : 0.0f;
                }
            }
        }
    }
};

// A(m, k) = what pixel k's window sees at tap m: the patches turned round.
template <class T, class Map> struct TurnedPatches : Loader<T, false, T::M> {
    typedef Loader<T, false, T::M> Base;
    typedef typename Base::Place Place;
    static constexpr bool VECTOR = Map::CHANNELS % 4 == 0 && Map::PART % 4 == 0;
    static constexpr int TAPS = VECTOR ? 1 : 4;
    static constexpr unsigned ROWS = Map::WINDOW_H * Map::WINDOW_W * Map::PART;
    const float *map;
    Tap<Map> taps[TAPS];

    __device__ TurnedPatches(const float *map, int group) : map(map + group * Map::PART) {
#pragma unroll
        for (int j = 0; j < TAPS; j++) {
            unsigned m = T::row() + Place::across() + j;
            taps[j] = Tap<Map>(m);
            if (m >= ROWS) taps[j].row = NOWHERE;
        }
    }

    __device__ void fetch(typename Base::Held &x, unsigned first, unsigned end) const {
#pragma unroll
        for (int i = 0; i < Place::COUNT; i++) {
            unsigned k = first + Place::down(i);
            Pixel<Map> pixel(k);
#pragma unroll
            for (int j = 0; j < TAPS; j++) {
                int at = place<Map>(pixel.row + taps[j].row, pixel.column + taps[j].column);
                const float *from = pixel.in(map, at + taps[j].channel);
                bool is = at >= 0 && k < end;
                if constexpr (VECTOR) {
                    x[i][0] = x[i][1] = x[i][2] = x[i][3] = 0.0f;
                    if (is) read<4, true>(from, x[i], 4);
                } else {
                    x[i][j] = is ? *from : 0.0f;
                }
            }
        }
    }
};

// B(k, n) = row k of a matrix with STRIDE columns, of which a group has COUNT.
template <class T, int STRIDE, int COUNT> struct Matrix : Loader<T, false, T::N> {
    typedef Loader<T, false, T::N> Base;
    typedef typename Base::Place Place;
    const float *columns;
    int count;    // columns of this thread that exist
    bool aligned; // whether they are one vector

    __device__ Matrix(const float *matrix, int group) {
        int n = T::column() + Place::across();
        count = COUNT - n;
        columns = matrix + group * COUNT + n;
        aligned = STRIDE % 4 == 0 && COUNT % 4 == 0 && (u64)matrix % 16 == 0;
    }

    __device__ void fetch(typename Base::Held &x, unsigned first, unsigned end) const {
#pragma unroll
        for (int i = 0; i < Place::COUNT; i++) {
            unsigned k = first + Place::down(i);
            const float *from = columns + (u64)k * STRIDE;
            x[i][0] = x[i][1] = x[i][2] = x[i][3] = 0.0f;
            if (k < end && count > 0) {
                if (aligned) read<4, true>(from, x[i], 4);
                else read<4, false>(from, x[i], count);
            }
        }
    }
};

// The same, and sums of the thread's columns as they are, before any rounding.
template <class T, int STRIDE, int COUNT> struct SummedMatrix : Matrix<T, STRIDE, COUNT> {
    typedef Matrix<T, STRIDE, COUNT> Base;
    typedef typename Base::Place Place;
    float sums[4];

    __device__ SummedMatrix(const float *matrix, int group) : Base(matrix, group), sums{} {}

    __device__ void see(const typename Base::Held &x) {
#pragma unroll
        for (int i = 0; i < Place::COUNT; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) sums[j] += x[i][j];
    }

    // The sums over all rows, to this block's columns of `row`. Every thread of the block takes part.
    __device__ void finish(float *row, int group) const {
        __shared__ float all[Place::DOWN][T::N];
#pragma unroll
        for (int j = 0; j < 4; j++) all[threadIdx.x / Place::ACROSS][Place::across() + j] = sums[j];
        __syncthreads();
        int n = T::column() + threadIdx.x;
        if (threadIdx.x >= T::N || n >= COUNT) return;
        float sum = 0.0f;
        for (int i = 0; i < Place::DOWN; i++) sum += all[i][threadIdx.x];
        row[group * COUNT + n] = sum;
    }
};

// B(k, n) = the kernel's weight from channel n to what k says, a place in the window and a filter.
template <class T, class P> struct TurnedKernel : Loader<T, true, T::N> {
    typedef Loader<T, true, T::N> Base;
    typedef typename Base::Place Place;
    static constexpr int CHANNELS = P::CHANNELS / P::GROUPS, FILTERS = P::FILTERS / P::GROUPS;
    const float *kernel;
    bool aligned;

    __device__ TurnedKernel(const float *weights, int group) : kernel(weights + group * FILTERS) {
        aligned = P::FILTERS % 4 == 0 && FILTERS % 4 == 0 && (u64)weights % 16 == 0;
    }

    __device__ void fetch(typename Base::Held &x, unsigned first, unsigned end) const {
        unsigned k = first + Place::across();
        int at[4];
#pragma unroll
        for (int j = 0; j < 4; j++) at[j] = (k + j) / FILTERS * (CHANNELS * P::FILTERS) + (k + j) % FILTERS;
#pragma unroll
        for (int i = 0; i < Place::COUNT; i++) {
            int n = T::column() + Place::down(i);
            const float *from = kernel + n * P::FILTERS;
            x[i][0] = x[i][1] = x[i][2] = x[i][3] = 0.0f;
            if (n >= CHANNELS || k >= end) continue;
            if (aligned) {
                read<4, true>(from + at[0], x[i], 4);
            } else {
#pragma unroll
                for (int j = 0; j < 4; j++)
                    if (k + j < end) x[i][j] = from[at[j]];
            }
        }
    }
};

} // namespace product
