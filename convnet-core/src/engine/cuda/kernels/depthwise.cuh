// Depthwise convolution: each channel is convolved by itself, with MULTIPLIER windows of its own.
//
// There is little to compute for each value that is read, so what counts is to read it seldom: a thread makes some
// neighbouring outputs of a row for its channels, and a value that lies in several of their windows comes from memory
// once. The gradient of the input is the same convolution with the kernel turned round, where the windows are one
// position apart; else each position asks the windows that cover it. The gradient of the kernel is a sum over all
// positions, of which each split of the grid makes a part.
//
// NaN: a tap outside the map is left out, so that an infinite or NaN weight meets no zeros of the border.

namespace depthwise {

// Results of a row that a thread makes together.
template <int WIDTH, int WINDOW> constexpr int TILE = WINDOW > 8 ? 1 : WIDTH >= 16 ? 4 : WIDTH >= 2 ? 2 : 1;

// N values, STEP apart.
template <int N, int STEP> __device__ inline maps::Values<N> gather(const float *from) {
    if constexpr (STEP == 1) {
        return maps::load<N>(from);
    } else {
        maps::Values<N> values;
        UNROLLED for (int i = 0; i < N; i++) values.at[i] = from[i * STEP];
        return values;
    }
}

// The channels of the input that outputs from `channel` on are made of.
template <int N, int MULTIPLIER> __device__ inline maps::Values<N> inputs(const float *position, int channel) {
    if constexpr (MULTIPLIER == 1) {
        return maps::load<N>(position + channel);
    } else {
        maps::Values<N> values;
        UNROLLED for (int i = 0; i < N; i++) values.at[i] = position[(channel + i) / MULTIPLIER];
        return values;
    }
}

// Adds to each result what a row of the kernel makes of a row of the map: result `t` takes column first + t · STRIDE
// + v · DILATION for tap `v`. `holds`: whether there is such a column; `value` and `weight`: what is there. Each
// column is read once.
template <int STRIDE, int DILATION, int WINDOW, int T, int N, class Holds, class Value, class Weight>
__device__ inline void add_row(maps::Values<N> (&sums)[T], int first, Holds holds, Value value, Weight weight) {
    if constexpr (T == 1) {
        for (int v = 0; v < WINDOW; v++) {
            int column = first + v * DILATION;
            if (holds(column)) maps::add_product(sums[0], value(column), weight(v));
        }
    } else {
        maps::Values<N> weights[WINDOW];
        UNROLLED for (int v = 0; v < WINDOW; v++) weights[v] = weight(v);
        UNROLLED for (int q = 0; q <= (T - 1) * STRIDE + (WINDOW - 1) * DILATION; q++) {
            bool wanted = false; // known to the compiler
            UNROLLED for (int t = 0; t < T; t++) {
                int from = q - t * STRIDE;
                wanted |= from >= 0 && from % DILATION == 0 && from / DILATION < WINDOW;
            }
            if (!wanted || !holds(first + q)) continue;
            maps::Values<N> x = value(first + q);
            UNROLLED for (int t = 0; t < T; t++) {
                int from = q - t * STRIDE;
                if (from >= 0 && from % DILATION == 0 && from / DILATION < WINDOW) {
                    maps::add_product(sums[t], x, weights[from / DILATION]);
                }
            }
        }
    }
}

// The same, where most rows lie wholly inside: those do without asking, so that all columns are on their way at once.
template <int STRIDE, int DILATION, int WINDOW, int WIDTH, int T, int N, class Value, class Weight>
__device__ inline void add_any_row(maps::Values<N> (&sums)[T], int first, Value value, Weight weight) {
    constexpr int LAST = (T - 1) * STRIDE + (WINDOW - 1) * DILATION;
    if (first >= 0 && first + LAST < WIDTH) {
        add_row<STRIDE, DILATION, WINDOW>(sums, first, [](int) { return true; }, value, weight);
    } else {
        auto holds = [](int column) { return (u32)column < (u32)WIDTH; };
        add_row<STRIDE, DILATION, WINDOW>(sums, first, holds, value, weight);
    }
}

} // namespace depthwise

// Block: any; grid: any along x.
template <class P>
__device__ void depthwise_conv2d_forward(const float *input, const float *weights, float *output, int images) {
    typedef maps::Vertical<P> V;
    constexpr int C = P::CHANNELS * P::MULTIPLIER, N = maps::TOGETHER<C>;
    constexpr int TILE = depthwise::TILE<P::OUT_WIDTH, P::WINDOW_W>, TILES = ceil_div(P::OUT_WIDTH, TILE);
    maps::each_place<P::OUT_HEIGHT, TILES, C>(images, [&](maps::Place to) {
        int j = to.column * TILE;
        maps::Values<N> sums[TILE], bias = maps::all<N>(0.0f);
        constexpr int TAPS = P::WINDOW_H * P::WINDOW_W;
        if constexpr (P::USE_BIAS) bias = maps::load_weights<P, N>(weights + TAPS * C + to.channel);
        UNROLLED for (int t = 0; t < TILE; t++) sums[t] = bias;
        for (int u = 0; u < P::WINDOW_H; u++) {
            int y = V::position(to.row, u);
            if (!V::holds(y)) continue;
            const float *row = input + maps::element_of<P::HEIGHT, P::WIDTH, P::CHANNELS>(to.image, y, 0, 0);
            auto value = [&](int x) {
                return depthwise::inputs<N, P::MULTIPLIER>(row + x * P::CHANNELS, to.channel);
            };
            auto weight = [&](int v) {
                return maps::load_weights<P, N>(weights + (u * P::WINDOW_W + v) * C + to.channel);
            };
            depthwise::add_any_row<P::STRIDE_W, P::DILATION_W, P::WINDOW_W, P::WIDTH>(
                sums, j * P::STRIDE_W - P::PAD_LEFT, value, weight);
        }
        float *first = output + maps::element_of<P::OUT_HEIGHT, P::OUT_WIDTH, C>(to.image, to.row, j, to.channel);
        UNROLLED for (int t = 0; t < TILE; t++) {
            UNROLLED for (int n = 0; n < N; n++) sums[t].at[n] = activate<P::ACTIVATION>(sums[t].at[n]);
            if (j + t < P::OUT_WIDTH) maps::store(first + t * C, sums[t]);
        }
    });
}

// Block: any; grid: any along x.
template <class P>
__device__ void depthwise_conv2d_backward_input(const float *d_output, const float *weights, const float *input,
                                                float *d_input, int images) {
    typedef maps::Vertical<P> V;
    typedef maps::Horizontal<P> H;
    constexpr int C = P::CHANNELS, M = P::MULTIPLIER, N = maps::TOGETHER<C>, KW = P::WINDOW_W;
    constexpr int TILE = P::STRIDE_W == 1 ? depthwise::TILE<P::WIDTH, KW> : 1, TILES = ceil_div(P::WIDTH, TILE);
    maps::each_place<P::HEIGHT, TILES, C>(images, [&](maps::Place to) {
        int x = to.column * TILE;
        maps::Values<N> sums[TILE];
        UNROLLED for (int t = 0; t < TILE; t++) sums[t] = maps::all<N>(0.0f);
        for (int k = 0; k < V::COVERING; k++) {
            int i, u;
            if (!V::covering(to.row, k, i, u)) continue;
            const float *row =
                d_output + maps::element_of<P::OUT_HEIGHT, P::OUT_WIDTH, C * M>(to.image, i, 0, to.channel * M);
            for (int m = 0; m < M; m++) {
                auto value = [&](int j) { return depthwise::gather<N, M>(row + j * (C * M) + m); };
                auto weight = [&](int v) {
                    const float *from = weights + ((u * KW + v) * C + to.channel) * M + m;
                    if constexpr (M == 1) return maps::load_weights<P, N>(from);
                    return depthwise::gather<N, M>(from);
                };
                if constexpr (P::STRIDE_W == 1) {
                    auto turned = [&](int v) { return weight(KW - 1 - v); };
                    depthwise::add_any_row<1, P::DILATION_W, KW, P::OUT_WIDTH>(
                        sums, x + P::PAD_LEFT - (KW - 1) * P::DILATION_W, value, turned);
                } else {
                    for (int l = 0; l < H::COVERING; l++) {
                        int j, v;
                        if (H::covering(x, l, j, v)) maps::add_product(sums[0], value(j), weight(v));
                    }
                }
            }
        }
        u64 first = maps::element_of<P::HEIGHT, P::WIDTH, C>(to.image, to.row, x, to.channel);
        UNROLLED for (int t = 0; t < TILE; t++) {
            if (x + t < P::WIDTH) maps::store_gradient<P>(d_input, input, first + t * C, sums[t]);
        }
    });
}

// Block: 256; grid: z = splits, x = any, best units · groups: a unit is a piece of the window of at most 9 taps,
// whose sums a thread holds in registers (all of 3×3; else UNIT_H · UNIT_W as below), and groups are those of
// maps::Block for CHANNELS · MULTIPLIER. Writes partials[split][tap, and behind the taps the bias][output channel].
template <class P>
__device__ void depthwise_conv2d_backward_weights(const float *input, const float *d_output, float *partials,
                                                  int images) {
    typedef maps::Vertical<P> V;
    typedef maps::Horizontal<P> H;
    constexpr int KH = P::WINDOW_H, KW = P::WINDOW_W, C = P::CHANNELS * P::MULTIPLIER;
    typedef maps::Block<C> Block;
    constexpr int N = Block::N, ROWS = KH * KW + (P::USE_BIAS ? 1 : 0);
    constexpr int UNIT_W = KW < 9 ? KW : 9, UNIT_H = KH < 9 / UNIT_W ? KH : 9 / UNIT_W;
    constexpr int UNITS_W = ceil_div(KW, UNIT_W), UNITS = ceil_div(KH, UNIT_H) * UNITS_W;
    constexpr u32 OUT = P::OUT_HEIGHT * P::OUT_WIDTH;
    Block block;
    u64 total = (u64)images * OUT;
    u64 begin = total * blockIdx.z / gridDim.z, end = total * (blockIdx.z + 1) / gridDim.z;
    float *part = partials + (u64)blockIdx.z * ROWS * C;
    for (int item = (int)blockIdx.x; item < UNITS * Block::GROUPS; item += (int)gridDim.x) {
        int unit = item / Block::GROUPS, group = item % Block::GROUPS, channel = block.channel(group);
        int u0 = unit / UNITS_W * UNIT_H, v0 = unit % UNITS_W * UNIT_W;
        maps::Values<N> sums[UNIT_H][UNIT_W], bias = maps::all<N>(0.0f);
        UNROLLED for (int a = 0; a < UNIT_H; a++) {
            UNROLLED for (int b = 0; b < UNIT_W; b++) sums[a][b] = maps::all<N>(0.0f);
        }
        if (block.works(group)) {
            u64 position = begin + block.part, image = position / OUT;
            u32 rest = (u32)(position % OUT);
            for (; position < end; position += Block::PARTS) {
                auto d = maps::load<N>(d_output + position * C + channel);
                maps::add(bias, d);
                // Taps behind the window's last are summed with the others, from inside the map, and never written.
                int y0 = V::position((int)(rest / P::OUT_WIDTH), u0);
                int x0 = H::position((int)(rest % P::OUT_WIDTH), v0);
                const float *map = input + image * ((u64)P::HEIGHT * P::WIDTH * P::CHANNELS);
                auto add_taps = [&](auto holds) {
                    UNROLLED for (int a = 0; a < UNIT_H; a++) {
                        UNROLLED for (int b = 0; b < UNIT_W; b++) {
                            int y = y0 + a * P::DILATION_H, x = x0 + b * P::DILATION_W;
                            if (!holds(y, x)) continue;
                            const float *from = map + (y * P::WIDTH + x) * P::CHANNELS;
                            maps::add_product(sums[a][b], depthwise::inputs<N, P::MULTIPLIER>(from, channel), d);
                        }
                    }
                };
                if (y0 >= 0 && y0 + (UNIT_H - 1) * P::DILATION_H < P::HEIGHT && x0 >= 0 &&
                    x0 + (UNIT_W - 1) * P::DILATION_W < P::WIDTH) {
                    add_taps([](int, int) { return true; });
                } else {
                    add_taps([](int y, int x) { return (u32)y < (u32)P::HEIGHT && (u32)x < (u32)P::WIDTH; });
                }
                rest += Block::PARTS;
                for (; rest >= OUT; rest -= OUT) image++;
            }
        }
        bool writes = block.works(group) && block.part == 0;
        UNROLLED for (int a = 0; a < UNIT_H; a++) {
            UNROLLED for (int b = 0; b < UNIT_W; b++) {
                maps::join_parts<Block::LANES, Block::PARTS>(sums[a][b].at, maps::Sum());
                if (writes && u0 + a < KH && v0 + b < KW) {
                    maps::store(part + ((u0 + a) * KW + v0 + b) * C + channel, sums[a][b]);
                }
            }
        }
        if (P::USE_BIAS && unit == 0) {
            maps::join_parts<Block::LANES, Block::PARTS>(bias.at, maps::Sum());
            if (writes) maps::store(part + KH * KW * C + channel, bias);
        }
    }
}
