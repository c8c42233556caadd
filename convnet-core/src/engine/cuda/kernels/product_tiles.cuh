// Products of matrices, tile by tile: what convolutions and dense layers have in common. (Which matrices they
// multiply is in `product_load.cuh` and `product.cuh`.)
//
// A block makes TILE_M × TILE_N sums. It goes through k in steps of TILE_K: the step's numbers of A and B, fetched
// from memory a few steps ahead into registers, are put into shared memory, and every thread multiplies what belongs
// to its sums. Two buffers take turns, so that a step needs one barrier. What differs between products is given as
// types: two loaders (`fetch`: a step's numbers, in units of four neighbours) and a receiver of the sums (`put`).
//
// In single precision a thread has a small matrix of sums and reads whole float4s of both operands. In TF32 and
// bfloat16 a warp has one, made by tensor cores; numbers are rounded once, on their way into shared memory, and
// summed in single precision.
//
// Valid tiles, with the registers of a thread in the forward pass of a 3×3 convolution of 64 to 128 channels on
// sm_90, and KiB of shared memory of a block there (up to 6 more for gradients). Nothing spills. "-" is not valid.
// Where a multiprocessor has 65536 registers and is to hold 512 threads, each has 128 of them; the 145 to 162 of 256
// threads below may as well be held down to that, at the price of spilling a few words in some kernels.
//
//   TILE_M TILE_N TILE_K THREADS      F32        TF32       BF16
//    128    128     16     128       -        238, 37    220, 21
//    128    128     16     256     145, 32    124, 37    123, 21
//    128    128     32     128       -          -        253, 37
//    128    128     32     256       -          -        162, 37
//    128     64     16     128     167, 24    126, 29    126, 17
//    128     64     16     256     127, 24     93, 29      -
//    128     64     32     128       -          -        164, 29
//    128     64     32     256       -          -         94, 29
//    128     32     16     128     127, 20     94, 25      -
//    128     32     32     128       -          -        127, 25
//     64     64     16     128     127, 16    126, 19    108, 11
//     64     64     16     256     103, 16     86, 19      -
//     64     64     32     128     128, 32    124, 36    123, 19
//     64     64     32     256     103, 32     86, 36     80, 19
//     64     32     16     128      95, 12     72, 15      -
//     64     32     32     128     117, 24     78, 28     78, 15
//     64     32     32     256      80, 24     63, 28      -
//     32     32     16     128      80,  8     72, 10      -
//     32     32     32     128      95, 16     80, 19     78, 10
namespace product {

// The tiles of P, and who makes which sums.
template <class P> struct Tiling {
    static constexpr int M = P::TILE_M, N = P::TILE_N, K = P::TILE_K, THREADS = P::THREADS, PRECISION = P::PRECISION;
    static_assert(M == 32 || M == 64 || M == 128, "TILE_M is 32, 64 or 128");
    static_assert(N == 32 || N == 64 || N == 128, "TILE_N is 32, 64 or 128");
    static_assert(M >= N, "TILE_M is not less than TILE_N");
    static_assert(K == 16 || K == 32, "TILE_K is 16 or 32");
    static_assert(THREADS == 128 || THREADS == 256, "THREADS is 128 or 256");

    // Where the block's tile is, of the P::ACROSS that lie side by side.
    __device__ static unsigned row() { return blockIdx.x / P::ACROSS * M; }
    __device__ static int column() { return blockIdx.x % P::ACROSS * N; }

    // Sums of a thread, in single precision.
    static constexpr int SUMS = M * N / THREADS;
    static constexpr int ROWS = SUMS >= 32 ? 8 : 4, COLUMNS = SUMS / ROWS;
    static_assert(SUMS >= 8 && SUMS <= (PRECISION == F32 ? 64 : 128), "8 to 64 sums (128 by tensor cores) a thread");

    // Units of four numbers that a thread fetches for a step.
    static constexpr int A_UNITS = M * K / 4 / THREADS, B_UNITS = N * K / 4 / THREADS;
    static_assert(B_UNITS >= (PRECISION == BF16 ? 2 : 1), "each thread fetches a unit, or two to make pairs of");

    static_assert(PRECISION == BF16 || (M + N) * K <= 4096, "both buffers and more fit into 48 KiB");

    // Steps fetched ahead. One wait for memory takes as long as several steps of small tiles; large ones have no
    // registers to spare.
    static constexpr int FETCHED = 4 * (A_UNITS + B_UNITS);
    static constexpr int AHEAD = SUMS >= 64 || FETCHED > 16 ? 1 : FETCHED > 8 ? 2 : 4;
};

// How the TILE × TILE_K numbers of an operand lie in shared memory, by words of one number or, in bfloat16, a pair
// along k. ALONG_K: whether the units that are put there are neighbours along k.
template <int PRECISION, bool ALONG_K, int TILE, int TILE_K> struct Layout {
    static constexpr int DEEP = PRECISION == BF16 ? TILE_K / 2 : TILE_K; // words along k
    // For tensor cores in the order of the units, so that they are put as vectors. 4 or 8 words between the rows send
    // the 8 × 4 words that a warp reads at once to 32 banks.
    static constexpr bool K_INSIDE = ALONG_K && PRECISION != F32;
    static constexpr int STRIDE = K_INSIDE ? DEEP + 4 : PRECISION == F32 ? TILE : TILE + 8;
    static constexpr int WORDS = STRIDE * (K_INSIDE ? TILE : DEEP);
    // In single precision always along the tile. Units along k are taken apart; that their four stores find 32 banks,
    // blocks of 4 or 8 words change places.
    static constexpr int SWIZZLE = PRECISION == F32 && ALONG_K ? 128 / TILE_K : 0;

    __device__ static int word(int outer, int k) {
        if (K_INSIDE) return outer * STRIDE + k;
        return k * STRIDE + (SWIZZLE ? outer ^ (k / 4 * SWIZZLE) : outer);
    }
};

// Which units of an operand this thread fetches. ALONG_K: four neighbours along k, all units at the same k; else four
// neighbours along the tile, all units at the same four. Lanes that follow one another fetch what follows one
// another.
template <class T, bool ALONG_K, int TILE> struct Units {
    static constexpr bool PAIRS = T::PRECISION == BF16 && !ALONG_K; // units 2i and 2i + 1 at k and k + 1
    static constexpr int COUNT = TILE * T::K / 4 / T::THREADS;
    static constexpr int ACROSS = (ALONG_K ? T::K : TILE) / 4, DOWN = T::THREADS / ACROSS;
    typedef float Held[COUNT][4];

    __device__ static int across() { return threadIdx.x % ACROSS * 4; }
    __device__ static int down(int unit) {
        int first = threadIdx.x / ACROSS;
        return PAIRS ? 2 * (first + unit / 2 * DOWN) + unit % 2 : first + unit * DOWN;
    }

    __device__ static void put(float *tile, const Held &x) {
        typedef Layout<T::PRECISION, ALONG_K, TILE, T::K> Place;
        int four = across();
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            int line = down(i);
            if constexpr (T::PRECISION == F32 && ALONG_K) {
#pragma unroll
                for (int j = 0; j < 4; j++) tile[Place::word(line, four + j)] = x[i][j];
            } else if constexpr (T::PRECISION == F32) {
                *(float4 *)&tile[Place::word(four, line)] = make_float4(x[i][0], x[i][1], x[i][2], x[i][3]);
            } else if constexpr (T::PRECISION == TF32) {
                *(float4 *)&tile[ALONG_K ? Place::word(line, four) : Place::word(four, line)] =
                    bits(to_tf32(x[i][0]), to_tf32(x[i][1]), to_tf32(x[i][2]), to_tf32(x[i][3]));
            } else if constexpr (ALONG_K) {
                *(float2 *)&tile[Place::word(line, four / 2)] = make_float2(
                    __uint_as_float(to_bf16(x[i][0], x[i][1])), __uint_as_float(to_bf16(x[i][2], x[i][3])));
            } else if (i % 2 == 0) {
                const float(&low)[4] = x[i], (&high)[4] = x[i + 1 < COUNT ? i + 1 : i];
                *(float4 *)&tile[Place::word(four, line / 2)] =
                    bits(to_bf16(low[0], high[0]), to_bf16(low[1], high[1]), to_bf16(low[2], high[2]),
                         to_bf16(low[3], high[3]));
            }
        }
    }

    __device__ static float4 bits(unsigned a, unsigned b, unsigned c, unsigned d) {
        return make_float4(__uint_as_float(a), __uint_as_float(b), __uint_as_float(c), __uint_as_float(d));
    }
};

// COUNT neighbours, of which the first `count` exist; all if VECTOR, and then they are aligned.
template <int COUNT, bool VECTOR> __device__ inline void read(const float *from, float (&x)[COUNT], int count) {
    static_assert(COUNT == 2 || COUNT == 4, "float2 or float4");
    if constexpr (VECTOR && COUNT == 4) {
        float4 four = *(const float4 *)from;
        x[0] = four.x, x[1] = four.y, x[2] = four.z, x[3] = four.w;
    } else if constexpr (VECTOR) {
        float2 two = *(const float2 *)from;
        x[0] = two.x, x[1] = two.y;
    } else {
#pragma unroll
        for (int j = 0; j < COUNT; j++) x[j] = j < count ? from[j] : 0.0f;
    }
}

template <int COUNT, bool VECTOR> __device__ inline void write(float *to, const float (&x)[COUNT], int count) {
    static_assert(COUNT == 2 || COUNT == 4, "float2 or float4");
    if constexpr (VECTOR && COUNT == 4) {
        *(float4 *)to = make_float4(x[0], x[1], x[2], x[3]);
    } else if constexpr (VECTOR) {
        *(float2 *)to = make_float2(x[0], x[1]);
    } else {
#pragma unroll
        for (int j = 0; j < COUNT; j++)
            if (j < count) to[j] = x[j];
    }
}

// The sums of a block in single precision. A warp is 4 × 8 threads. A thread's rows, and its columns, are groups of
// four (or two) far apart, so that a warp's reads of a group lie side by side.
template <class T, class A, class B> struct Scalar {
    static constexpr int ROWS = T::ROWS, COLUMNS = T::COLUMNS, WIDE = COLUMNS < 4 ? COLUMNS : 4;
    static constexpr int DOWN = T::M / (ROWS / 4), ACROSS = T::N / (COLUMNS / WIDE); // from group to group
    static constexpr int WARPS_ACROSS = T::N / COLUMNS / 8;
    static_assert(T::M / ROWS * (T::N / COLUMNS) == T::THREADS && WARPS_ACROSS > 0, "each sum has its thread");
    static_assert(DOWN % 32 == 0 && ACROSS % 32 == 0, "blocks change places within 32 words only");

    float sums[ROWS][COLUMNS];
    int row, column;

    __device__ Scalar() : sums{} {
        int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        row = (warp / WARPS_ACROSS * 4 + lane / 8) * 4;
        column = (warp % WARPS_ACROSS * 8 + lane % 8) * WIDE;
    }

    __device__ void step(const float *a, const float *b) {
#pragma unroll
        for (int k = 0; k < T::K; k++) {
            float x[ROWS / 4][4], y[COLUMNS / WIDE][WIDE];
#pragma unroll
            for (int i = 0; i < ROWS / 4; i++) read<4, true>(a + A::word(row, k) + i * DOWN, x[i], 4);
#pragma unroll
            for (int j = 0; j < COLUMNS / WIDE; j++)
                read<WIDE, true>(b + B::word(column, k) + j * ACROSS, y[j], WIDE);
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int j = 0; j < COLUMNS; j++)
                    sums[i][j] = fmaf(x[i / 4][i % 4], y[j / WIDE][j % WIDE], sums[i][j]);
        }
    }

    // What sums wait for is fetched for four rows before any of them is written: writes may be to where the next reads
    // are from, for all that the compiler knows, so one read would wait for another.
    template <class Out> __device__ void hand_over(const Out &out, unsigned m, int n) const {
        typename Out::template Held<WIDE> held[4];
#pragma unroll
        for (int j = 0; j < COLUMNS / WIDE; j++) {
            int to = n + column + j * ACROSS;
#pragma unroll
            for (int i = 0; i < 4; i++) out.of_columns(to, held[i]);
#pragma unroll
            for (int i = 0; i < ROWS / 4; i++) {
                unsigned from = m + row + i * DOWN;
#pragma unroll
                for (int l = 0; l < 4; l++) out.fetch(from + l, to, held[l]);
#pragma unroll
                for (int l = 0; l < 4; l++) {
                    float x[WIDE];
#pragma unroll
                    for (int w = 0; w < WIDE; w++) x[w] = sums[i * 4 + l][j * WIDE + w];
                    out.put(from + l, to, x, held[l]);
                }
            }
        }
    }
};

// The sums of a block by tensor cores: each warp has ROWS × COLUMNS pieces of 16 × 8.
template <class T, class A, class B> struct Tensor {
    static constexpr int WARPS = T::THREADS / 32;
    // Warps are added along the side where their part is longer, since squares read least.
    __device__ static constexpr int warps_down() {
        int down = 1, across = 1;
        while (down * across < WARPS) (T::M / down >= T::N / across ? down : across) *= 2;
        return down;
    }
    static constexpr int WARPS_DOWN = warps_down(), WARPS_ACROSS = WARPS / WARPS_DOWN;
    static constexpr int ROWS = T::M / WARPS_DOWN / 16, COLUMNS = T::N / WARPS_ACROSS / 8;
    static_assert(ROWS > 0 && COLUMNS > 0, "each warp has sums");

    float sums[ROWS][COLUMNS][4];
    int row, column, g, t;

    __device__ Tensor() : sums{} {
        int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        g = lane / 4, t = lane % 4;
        row = warp / WARPS_ACROSS * ROWS * 16;
        column = warp % WARPS_ACROSS * COLUMNS * 8;
    }

    __device__ void step(const float *a, const float *b) {
#pragma unroll
        for (int k = 0; k < A::DEEP; k += 8) { // 8 words: 8 numbers of TF32, or 16 of bfloat16
            unsigned x[ROWS][4], y[COLUMNS][2];
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int l = 0; l < 4; l++)
                    x[i][l] = __float_as_uint(a[A::word(row + i * 16 + g + l % 2 * 8, k + t + l / 2 * 4)]);
#pragma unroll
            for (int j = 0; j < COLUMNS; j++)
#pragma unroll
                for (int l = 0; l < 2; l++)
                    y[j][l] = __float_as_uint(b[B::word(column + j * 8 + g, k + t + l * 4)]);
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int j = 0; j < COLUMNS; j++) {
                    if constexpr (T::PRECISION == BF16) multiply_bf16(sums[i][j], x[i], y[j]);
                    else multiply_tf32(sums[i][j], x[i], y[j]);
                }
        }
    }

    // As above, row by row.
    template <class Out> __device__ void hand_over(const Out &out, unsigned m, int n) const {
        typename Out::template Held<2> held[COLUMNS];
        int to = n + column + t * 2;
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) out.of_columns(to + j * 8, held[j]);
#pragma unroll
        for (int i = 0; i < ROWS; i++)
#pragma unroll
            for (int l = 0; l < 2; l++) {
                unsigned from = m + row + i * 16 + g + l * 8;
#pragma unroll
                for (int j = 0; j < COLUMNS; j++) out.fetch(from, to + j * 8, held[j]);
#pragma unroll
                for (int j = 0; j < COLUMNS; j++) {
                    float x[2] = {sums[i][j][l * 2], sums[i][j][l * 2 + 1]};
                    out.put(from, to + j * 8, x, held[j]);
                }
            }
    }
};

template <bool SCALAR, class T, class A, class B> struct Core { typedef Tensor<T, A, B> Type; };
template <class T, class A, class B> struct Core<true, T, A, B> { typedef Scalar<T, A, B> Type; };

// The steps of k that part `split` of `splits` has, of `count` numbers: [begin, end), perhaps none.
template <class T> struct Range {
    unsigned begin, end;
    __device__ Range(unsigned count, unsigned split, unsigned splits) {
        unsigned steps = (count + T::K - 1) / T::K, part = (steps + splits - 1) / splits * T::K;
        u64 from = (u64)part * split, to = from + part;
        begin = from < count ? (unsigned)from : count;
        end = to < count ? (unsigned)to : count;
    }
};

// This block's tile of a product over `range`, handed to `out`. Thread by thread, `b` also sees all that it fetched.
template <class T, class A, class B, class Out>
__device__ inline void multiply(const A &a, B &b, Range<T> range, const Out &out) {
    typedef Layout<T::PRECISION, A::ALONG_K, T::M, T::K> PlaceA;
    typedef Layout<T::PRECISION, B::ALONG_K, T::N, T::K> PlaceB;
    alignas(16) __shared__ float tiles[2][PlaceA::WORDS + PlaceB::WORDS];
    static_assert(sizeof(tiles) + T::THREADS * sizeof(float4) <= 48 * 1024, "with `SummedMatrix`'s");
    typename A::Held held_a[T::AHEAD];
    typename B::Held held_b[T::AHEAD];
    typename Core<T::PRECISION == F32, T, PlaceA, PlaceB>::Type core;
    int buffer = 0;
#pragma unroll
    for (int d = 0; d < T::AHEAD; d++) {
        a.fetch(held_a[d], range.begin + d * T::K, range.end);
        b.fetch(held_b[d], range.begin + d * T::K, range.end);
    }
    for (unsigned first = range.begin; first < range.end; first += T::AHEAD * T::K) {
#pragma unroll
        for (int d = 0; d < T::AHEAD; d++) {
            unsigned k = first + d * T::K;
            if (k >= range.end) break;
            float *tile_a = tiles[buffer], *tile_b = tile_a + PlaceA::WORDS;
            A::Place::put(tile_a, held_a[d]);
            B::Place::put(tile_b, held_b[d]);
            b.see(held_b[d]);
            // Who passes has also left the other buffer behind: the step before was multiplied before this barrier.
            __syncthreads();
            a.fetch(held_a[d], k + T::AHEAD * T::K, range.end);
            b.fetch(held_b[d], k + T::AHEAD * T::K, range.end);
            core.step(tile_a, tile_b);
            buffer ^= 1;
        }
    }
    core.hand_over(out, T::row(), T::column());
}

} // namespace product
