// Batch normalisation of rows of CHANNELS values, a row for each position of each image.
//
// A training step looks at the whole batch twice: moments, statistics, normalize; backward_sums, backward_finish,
// backward. With moving statistics there is only moving, and going back moving_backward and moving_sums, which
// backward_finish ends, too. Sums over rows are made in parts, one for each block along x, and every part in a fixed
// order, whatever the machine.
//
// Statistics are four rows of CHANNELS floats: the mean; what is missing from it to the mean in f64; the variance;
// 1/√(variance + EPSILON). A value is normalised as ((x − mean) − rest) · inverse: where the mean is far larger than
// the deviation, the first difference is exact, so that a mean of ten thousand deviations costs no digits but those
// that the input itself does not have. The weights of a layer are gamma (if SCALE), beta (if CENTER), moving mean,
// moving variance.
//
// GPUs for games are slow in f64: a sum of each value and its square would take longer than reading them. So short
// runs of rows are summed in f32, around a pivot that is their first value, and only runs are added in f64. A pivot
// that lies far off the mean is itself part of the variance, so it never costs digits. Differences of more than 10¹⁹
// overflow, and the channel becomes NaN.
//
// NaN: a NaN or an infinity in a channel makes the whole batch NaN in this channel, and the moving statistics with
// it. With moving statistics it stays where it is.

namespace normalization {

// Rows that are summed in f32.
constexpr int RUN = 16;

// Where the moving mean lies among the weights; behind it the moving variance.
template <class P> constexpr int MOVING = P::CHANNELS * ((P::SCALE ? 1 : 0) + (P::CENTER ? 1 : 0));

// Some channels' statistics.
template <int N> struct Statistics {
    maps::Values<N> mean, rest, inverse;
    __device__ inline float normalized(float x, int n) const {
        return ((x - mean.at[n]) - rest.at[n]) * inverse.at[n];
    }
};

template <class P, int N> __device__ inline Statistics<N> of_batch(const float *statistics, int channel) {
    constexpr int C = P::CHANNELS;
    return {maps::load<N>(statistics + channel), maps::load<N>(statistics + C + channel),
            maps::load<N>(statistics + 3 * C + channel)};
}

template <class P, int N> __device__ inline Statistics<N> moving(const float *weights, int channel) {
    auto mean = maps::load_weights<P, N>(weights + MOVING<P> + channel);
    auto inverse = maps::load_weights<P, N>(weights + MOVING<P> + P::CHANNELS + channel);
    UNROLLED for (int n = 0; n < N; n++) inverse.at[n] = 1.0f / sqrtf(inverse.at[n] + P::EPSILON);
    return {mean, maps::all<N>(0.0f), inverse};
}

template <class P, int N> __device__ inline maps::Values<N> gamma(const float *weights, int channel) {
    if constexpr (P::SCALE) return maps::load_weights<P, N>(weights + channel);
    return maps::all<N>(1.0f);
}

template <class P, int N> __device__ inline maps::Values<N> beta(const float *weights, int channel) {
    if constexpr (P::CENTER) return maps::load_weights<P, N>(weights + MOVING<P> - P::CHANNELS + channel);
    return maps::all<N>(0.0f);
}

// Calls what `make(channel)` gives with the first element of each of this thread's rows, for each of its channels:
// what a channel needs stays in registers.
template <class P, class Make> __device__ inline void each_row(int images, Make make) {
    typedef maps::Block<P::CHANNELS> Block;
    Block block;
    u64 rows = (u64)images * P::POSITIONS;
    for (int group = (int)blockIdx.y; group < Block::GROUPS; group += (int)gridDim.y) {
        if (!block.works(group)) continue;
        int channel = block.channel(group);
        auto f = make(channel);
        u64 first = (u64)blockIdx.x * Block::PARTS + block.part, step = (u64)gridDim.x * Block::PARTS;
        for (u64 row = first; row < rows; row += step) {
            f(row * P::CHANNELS + channel);
        }
    }
}

// Outputs with the statistics that `of_channel` gives, through the activation behind the layer.
template <class P, class Of>
__device__ inline void normalize_rows(const float *input, const float *weights, float *output, int images,
                                      Of of_channel) {
    constexpr int N = maps::TOGETHER<P::CHANNELS>;
    each_row<P>(images, [&](int channel) {
        auto of = of_channel(channel);
        auto scale = gamma<P, N>(weights, channel), shift = beta<P, N>(weights, channel);
        return [=](u64 at) {
            auto x = maps::load<N>(input + at);
            UNROLLED for (int n = 0; n < N; n++)
                x.at[n] = activate<P::ACTIVATION>(fmaf(of.normalized(x.at[n], n), scale.at[n], shift.at[n]));
            maps::store(output + at, x);
        };
    });
}

// Two sums of each channel over this block's run of rows. `make(channel)` gives what adds up some rows of a thread:
// it gets the first element, the distance from row to row, their number, which is RUN but at the end, and the sums.
template <class P, class Make> __device__ inline void sum_rows(double *partials, int images, Make make) {
    typedef maps::Block<P::CHANNELS> Block;
    constexpr int N = Block::N, C = P::CHANNELS;
    Block block;
    u64 rows = (u64)images * P::POSITIONS;
    u64 begin = rows * blockIdx.x / gridDim.x, end = rows * (blockIdx.x + 1) / gridDim.x;
    for (int group = (int)blockIdx.y; group < Block::GROUPS; group += (int)gridDim.y) {
        int channel = block.channel(group);
        double first[N] = {}, second[N] = {};
        if (block.works(group)) {
            auto add = make(channel);
            constexpr u64 STEP = (u64)Block::PARTS * C;
            for (u64 row = begin + block.part; row < end; row += RUN * Block::PARTS) {
                u64 left = (end - row + Block::PARTS - 1) / Block::PARTS;
                if (left >= RUN) {
                    add(row * C + channel, STEP, RUN, first, second);
                } else {
                    add(row * C + channel, STEP, (int)left, first, second);
                }
            }
        }
        maps::join_parts<Block::LANES, Block::PARTS>(first, maps::Sum());
        maps::join_parts<Block::LANES, Block::PARTS>(second, maps::Sum());
        if (block.works(group) && block.part == 0) {
            double *to = partials + (u64)blockIdx.x * (2 * C) + channel;
            UNROLLED for (int n = 0; n < N; n++) {
                to[n] = first[n];
                to[C + n] = second[n];
            }
        }
    }
}

// What adds up gradients times normalised values, and gradients.
template <class P, int N> struct Products {
    const float *input, *d_output;
    Statistics<N> statistics;
    __device__ inline void operator()(u64 at, u64 step, int count, double (&products)[N], double (&sums)[N]) const {
        maps::Values<N> product = maps::all<N>(0.0f), sum = maps::all<N>(0.0f);
        for (int i = 0; i < count; i++, at += step) {
            auto x = maps::load<N>(input + at), d = maps::load<N>(d_output + at);
            UNROLLED for (int n = 0; n < N; n++) {
                product.at[n] = fmaf(d.at[n], statistics.normalized(x.at[n], n), product.at[n]);
                sum.at[n] += d.at[n];
            }
        }
        UNROLLED for (int n = 0; n < N; n++) {
            products[n] += product.at[n];
            sums[n] += sum.at[n];
        }
    }
};

// Calls `f` with each channel and its two sums over all parts, eight channels in a block.
template <class P, class F> __device__ inline void each_total(const double *partials, int parts, F f) {
    constexpr int LANES = 8, PARTS = 256 / LANES, C = P::CHANNELS;
    int lane = (int)threadIdx.x % LANES, first = (int)threadIdx.x / LANES;
    for (int group = (int)blockIdx.x; group < ceil_div(C, LANES); group += (int)gridDim.x) {
        int channel = group * LANES + lane;
        double sums[2] = {0.0, 0.0};
        for (int part = first; part < parts && channel < C; part += PARTS) {
            sums[0] += partials[(u64)part * (2 * C) + channel];
            sums[1] += partials[(u64)part * (2 * C) + C + channel];
        }
        maps::join_parts<LANES, PARTS>(sums, maps::Sum());
        if (first == 0 && channel < C) f(channel, sums[0], sums[1]);
    }
}

} // namespace normalization

// Block: 256; grid: x = parts, y any, best ceil(C / 32) with C = CHANNELS, or CHANNELS / 4 where that is whole.
// Writes partials[part][sums of values, sums of squares][channel].
template <class P> __device__ void normalization_moments(const float *input, double *partials, int images) {
    constexpr int N = maps::TOGETHER<P::CHANNELS>;
    normalization::sum_rows<P>(partials, images, [&](int) {
        return [=](u64 at, u64 step, int count, double(&sums)[N], double(&squares)[N]) {
            auto pivot = maps::load<N>(input + at);
            maps::Values<N> sum = maps::all<N>(0.0f), square = maps::all<N>(0.0f);
            for (int i = 1; i < count; i++) {
                at += step;
                auto x = maps::load<N>(input + at);
                UNROLLED for (int n = 0; n < N; n++) {
                    float difference = x.at[n] - pivot.at[n];
                    sum.at[n] += difference;
                    square.at[n] = fmaf(difference, difference, square.at[n]);
                }
            }
            // Σx = Σ(x − p) + np, and Σx² = Σ(x − p)² + 2pΣ(x − p) + np².
            UNROLLED for (int n = 0; n < N; n++) {
                double p = pivot.at[n], s = sum.at[n], np = count * p;
                sums[n] += s + np;
                squares[n] += square.at[n] + p * (2.0 * s + np);
            }
        };
    });
}

// Block: 256; grid: any along x, best ceil(CHANNELS / 8).
template <class P>
__device__ void normalization_statistics(const double *partials, float *statistics, int images, int parts) {
    double rows = (double)images * P::POSITIONS;
    normalization::each_total<P>(partials, parts, [&](int channel, double sum, double squares) {
        constexpr int C = P::CHANNELS;
        double mean = sum / rows, variance = squares / rows - mean * mean;
        // Rounding may leave a little less than nothing; a NaN has to stay.
        if (variance < 0.0) variance = 0.0;
        float rounded = (float)mean;
        statistics[channel] = rounded;
        statistics[C + channel] = (float)(mean - rounded);
        statistics[2 * C + channel] = (float)variance;
        statistics[3 * C + channel] = (float)(1.0 / sqrt(variance + (double)P::EPSILON));
    });
}

// Block: 256; grid: any along x, y any, best x alone.
template <class P>
__device__ void normalization_normalize(const float *input, const float *statistics, const float *weights,
                                        float *output, int images) {
    auto of = [&](int channel) {
        return normalization::of_batch<P, maps::TOGETHER<P::CHANNELS>>(statistics, channel);
    };
    normalization::normalize_rows<P>(input, weights, output, images, of);
}

// Block and grid: as normalize.
template <class P>
__device__ void normalization_moving(const float *input, const float *weights, float *output, int images) {
    auto of = [&](int channel) {
        return normalization::moving<P, maps::TOGETHER<P::CHANNELS>>(weights, channel);
    };
    normalization::normalize_rows<P>(input, weights, output, images, of);
}

// Block and grid: as moments. Writes partials[part][sums of d · normalised x, sums of d][channel].
template <class P>
__device__ void normalization_backward_sums(const float *input, const float *d_output, const float *statistics,
                                            double *partials, int images) {
    constexpr int N = maps::TOGETHER<P::CHANNELS>;
    normalization::sum_rows<P>(partials, images, [&](int channel) {
        auto of = normalization::of_batch<P, N>(statistics, channel);
        return normalization::Products<P, N>{input, d_output, of};
    });
}

// The same with the moving statistics.
template <class P>
__device__ void normalization_moving_sums(const float *input, const float *d_output, const float *weights,
                                          double *partials, int images) {
    constexpr int N = maps::TOGETHER<P::CHANNELS>;
    normalization::sum_rows<P>(partials, images, [&](int channel) {
        auto of = normalization::moving<P, N>(weights, channel);
        return normalization::Products<P, N>{input, d_output, of};
    });
}

// Block: 256; grid: any along x, best ceil(CHANNELS / 8). `sums`: the two rows of partials, over all parts.
template <class P>
__device__ void normalization_backward_finish(const double *partials, float *sums, float *d_weights, int parts) {
    normalization::each_total<P>(partials, parts, [&](int channel, double products, double gradients) {
        constexpr int C = P::CHANNELS, MOVING = normalization::MOVING<P>;
        sums[channel] = (float)products;
        sums[C + channel] = (float)gradients;
        if constexpr (P::SCALE) d_weights[channel] = (float)products;
        if constexpr (P::CENTER) d_weights[MOVING - C + channel] = (float)gradients;
        d_weights[MOVING + channel] = 0.0f;
        d_weights[MOVING + C + channel] = 0.0f;
    });
}

// Block and grid: as normalize.
template <class P>
__device__ void normalization_backward(const float *input, const float *d_output, const float *statistics,
                                       const float *weights, const float *sums, float *d_input, int images) {
    constexpr int C = P::CHANNELS, N = maps::TOGETHER<C>;
    float rows = (float)((u64)images * P::POSITIONS);
    normalization::each_row<P>(images, [&](int channel) {
        auto of = normalization::of_batch<P, N>(statistics, channel);
        auto scale = normalization::gamma<P, N>(weights, channel);
        auto along = maps::load<N>(sums + channel), mean = maps::load<N>(sums + C + channel);
        UNROLLED for (int n = 0; n < N; n++) {
            scale.at[n] *= of.inverse.at[n];
            along.at[n] /= -rows;
            mean.at[n] /= rows;
        }
        return [=](u64 at) {
            auto x = maps::load<N>(input + at), d = maps::load<N>(d_output + at);
            UNROLLED for (int n = 0; n < N; n++) {
                float straight = d.at[n] - mean.at[n];
                d.at[n] = fmaf(of.normalized(x.at[n], n), along.at[n], straight) * scale.at[n];
            }
            maps::store_gradient<P>(d_input, input, at, d);
        };
    });
}

// Block and grid: as normalize.
template <class P>
__device__ void normalization_moving_backward(const float *input, const float *d_output, const float *weights,
                                              float *d_input, int images) {
    constexpr int N = maps::TOGETHER<P::CHANNELS>;
    normalization::each_row<P>(images, [&](int channel) {
        auto scale = normalization::gamma<P, N>(weights, channel);
        auto of = normalization::moving<P, N>(weights, channel);
        UNROLLED for (int n = 0; n < N; n++) scale.at[n] *= of.inverse.at[n];
        return [=](u64 at) {
            auto d = maps::load<N>(d_output + at);
            UNROLLED for (int n = 0; n < N; n++) d.at[n] *= scale.at[n];
            maps::store_gradient<P>(d_input, input, at, d);
        };
    });
}

// All normalisations' moving means and variances, a row of `table` for each block of 256 threads: where the layer's
// begin among the parameters, its channels, the first of its means and variances that is the block's, the bits of its
// momentum, and the first float of the batch's statistics in `work`, lower and upper half. `weights` and `previous`: all
// parameters. Like the update it looks at `stopped`, so that a step is done as a whole.
template <class P>
__device__ void normalization_follow(const u32 *table, const float *work, float *weights, float *previous,
                                     State *state) {
    if (state->stopped) return; // all threads alike
    const u32 *row = table + blockIdx.x * 8;
    int channels = (int)row[1], i = (int)(row[2] + threadIdx.x);
    if (i >= 2 * channels) return;
    u64 at = (u64)row[0] + i;
    const float *statistics = work + ((u64)row[5] << 32 | row[4]);
    double momentum = (double)__uint_as_float(row[3]);
    double batch = (double)statistics[channels + i];
    if (i < channels) batch += (double)statistics[i];
    float before = weights[at];
    // One minus the momentum as it is here, so that a batch like the last one moves nothing.
    float after = (float)((double)before * momentum + batch * (1.0 - momentum));
    previous[at] = before;
    weights[at] = after;
    if (!isfinite(after)) {
        state->fault_step = state->step;
        state->fault = WEIGHTS_NOT_FINITE;
    }
}
