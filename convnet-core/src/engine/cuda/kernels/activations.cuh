// Activations as layers of their own, rectifiers with all their settings, and rescaling.
//
// All but softmax look at one value at a time. Softmax gives a row to each warp, whatever its length: the lanes
// stride through it three times (maximum, sum, quotient), of which the last two find it in the first-level cache.

// Softmax of a row by one warp. A row with a NaN or with +∞ becomes NaN.
template <int ROW> __device__ inline void softmax_row(const float *x, float *y) {
    int lane = threadIdx.x % 32;
    float largest = __uint_as_float(0xff800000u); // −∞
    for (int i = lane; i < ROW; i += 32) largest = fmaxf(largest, x[i]);
    largest = warp_max(largest);
    float sum = 0.0f;
    for (int i = lane; i < ROW; i += 32) {
        float power = expf(x[i] - largest);
        y[i] = power;
        sum += power;
    }
    sum = warp_sum(sum);
    for (int i = lane; i < ROW; i += 32) y[i] = y[i] / sum;
}

// P::SIZE values an image, P::ROW along the last axis. `output` may be `input`.
template <class P> __device__ void activation_forward(const float *input, float *output, int images) {
    if constexpr (P::ACTIVATION == SOFTMAX) {
        u64 rows = (u64)images * (P::SIZE / P::ROW);
        for (u64 row = thread_number() / 32; row < rows; row += thread_count() / 32) {
            softmax_row<P::ROW>(input + row * P::ROW, output + row * P::ROW);
        }
    } else {
        constexpr int N = at_once(P::SIZE);
        each((u64)images * (P::SIZE / N), [&](auto i) {
            Few<N> x = few<N>(input, i);
            for (int k = 0; k < N; k++) x[k] = activate<P::ACTIVATION>(x[k]);
            put(output, i, x);
        });
    }
}

// `output` is what the activation made. `d_input` may be `d_output` where nothing is added.
template <class P>
__device__ void activation_backward(const float *output, const float *d_output, const float *input, float *d_input,
                                    int images) {
    if constexpr (P::ACTIVATION == SOFTMAX) {
        u64 rows = (u64)images * (P::SIZE / P::ROW);
        for (u64 row = thread_number() / 32; row < rows; row += thread_count() / 32) {
            u64 first = row * P::ROW;
            float along = 0.0f;
            for (int i = threadIdx.x % 32; i < P::ROW; i += 32) along += d_output[first + i] * output[first + i];
            along = warp_sum(along);
            for (int i = threadIdx.x % 32; i < P::ROW; i += 32) {
                Few<1> d = {output[first + i] * (d_output[first + i] - along)};
                hand_up<P>(d_input, input, first + i, d);
            }
        }
    } else {
        constexpr int N = at_once(P::SIZE);
        each((u64)images * (P::SIZE / N), [&](auto i) {
            Few<N> d = few<N>(d_output, i), y = few<N>(output, i);
            for (int k = 0; k < N; k++) d[k] = before_activation<P::ACTIVATION>(d[k], y[k]);
            hand_up<P>(d_input, input, i, d);
        });
    }
}

// A rectifier: above P::THRESHOLD a value stays, but for P::MAX_VALUE (if P::CEILING says that there is one), else it
// is P::NEGATIVE_SLOPE · (x − threshold). LeakyReLU has neither ceiling nor threshold.
template <class P> __device__ inline float rectified(float x) {
    if (!(x > P::THRESHOLD)) {
        // A slope of 0 must not make NaN of −∞.
        if (P::NEGATIVE_SLOPE == 0.0f) return x != x ? x : 0.0f;
        return P::NEGATIVE_SLOPE * (x - P::THRESHOLD);
    }
    if constexpr (P::CEILING) return x < P::MAX_VALUE ? x : P::MAX_VALUE;
    return x;
}

// Its slope at x. Where its pieces meet that is the slope of the operations that Keras makes it of in TensorFlow:
// `relu6` is flat at its ceiling, `clip_by_value` is not; `leaky_relu` has a slope at 0, all else is flat at the
// threshold. NaN counts as below.
template <class P> __device__ inline float rectifier_slope(float x) {
    if (x > P::THRESHOLD) {
        if constexpr (P::CEILING) {
            constexpr float AT_CEILING = P::MAX_VALUE == 6.0f && P::THRESHOLD == 0.0f ? 0.0f : 1.0f;
            return x < P::MAX_VALUE ? 1.0f : x > P::MAX_VALUE ? 0.0f : AT_CEILING;
        }
        return 1.0f;
    }
    constexpr float AT_THRESHOLD = !P::CEILING && P::THRESHOLD == 0.0f ? P::NEGATIVE_SLOPE : 0.0f;
    return x == P::THRESHOLD ? AT_THRESHOLD : P::NEGATIVE_SLOPE;
}

template <class P> __device__ void rectifier_forward(const float *input, float *output, int images) {
    constexpr int N = at_once(P::SIZE);
    each((u64)images * (P::SIZE / N), [&](auto i) {
        Few<N> x = few<N>(input, i);
        for (int k = 0; k < N; k++) x[k] = rectified<P>(x[k]);
        put(output, i, x);
    });
}

// `input` is the layer's, since the output may be the same on both sides of the threshold.
template <class P>
__device__ void rectifier_backward(const float *input, const float *d_output, float *d_input, int images) {
    constexpr int N = at_once(P::SIZE);
    each((u64)images * (P::SIZE / N), [&](auto i) {
        Few<N> x = few<N>(input, i), d = few<N>(d_output, i);
        for (int k = 0; k < N; k++) {
            float slope = rectifier_slope<P>(x[k]);
            // What does not get through does not show, not even if it is infinite.
            d[k] = slope == 0.0f ? 0.0f : slope * d[k];
        }
        hand_up<P>(d_input, input, i, d);
    });
}

// x · P::SCALE + P::OFFSET
template <class P> __device__ void rescaling_forward(const float *input, float *output, int images) {
    constexpr int N = at_once(P::SIZE);
    each((u64)images * (P::SIZE / N), [&](auto i) {
        Few<N> x = few<N>(input, i);
        for (int k = 0; k < N; k++) x[k] = x[k] * P::SCALE + P::OFFSET;
        put(output, i, x);
    });
}

template <class P>
__device__ void rescaling_backward(const float *d_output, const float *input, float *d_input, int images) {
    constexpr int N = at_once(P::SIZE);
    each((u64)images * (P::SIZE / N), [&](auto i) {
        Few<N> d = few<N>(d_output, i);
        for (int k = 0; k < N; k++) d[k] = d[k] * P::SCALE;
        hand_up<P>(d_input, input, i, d);
    });
}
