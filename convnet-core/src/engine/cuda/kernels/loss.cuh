// Losses, as `train/loss/row.rs` has them: the loss of each image, whether it counts as right, and the gradient with
// respect to the last layer's values before their activation.
//
// An image has a warp, whose lanes stride through the outputs. What an activation makes of a value is computed anew
// wherever it is asked for, which is cheaper than to keep it. The images' losses are then added up by one block, in
// double precision and in a fixed order, and this block decides whether training goes on.

// What a loss is.
constexpr int CATEGORICAL_CROSSENTROPY = 0, BINARY_CROSSENTROPY = 1, SQUARED_ERROR = 2;

namespace loss_of {

// Keras's `epsilon()`: probabilities keep this distance from 0 and 1.
constexpr float EPSILON = 1e-7f;

// Whether loss and activation cancel, so that the loss is computed on what the activation gets.
template <class P> __device__ constexpr bool cancels() {
    return !P::FROM_LOGITS && ((P::ACTIVATION == SOFTMAX && P::KIND == CATEGORICAL_CROSSENTROPY) ||
                               (P::ACTIVATION == SIGMOID && P::KIND == BINARY_CROSSENTROPY));
}

// What the activation makes of an image's values.
template <class P, int ACTIVATION> struct Values {
    const float *z;
    float largest, sum; // for softmax: the largest of z, and the sum of the powers above it

    __device__ explicit Values(const float *z) : z(z), largest(0.0f), sum(1.0f) {
        if constexpr (ACTIVATION == SOFTMAX) {
            largest = __uint_as_float(0xff800000u); // −∞
            for (int i = threadIdx.x % 32; i < P::OUTPUTS; i += 32) largest = fmaxf(largest, z[i]);
            largest = warp_max(largest);
            sum = 0.0f;
            for (int i = threadIdx.x % 32; i < P::OUTPUTS; i += 32) sum += expf(z[i] - largest);
            sum = warp_sum(sum);
        }
    }

    __device__ float at(int i) const {
        if constexpr (ACTIVATION == SOFTMAX) return expf(z[i] - largest) / sum;
        if constexpr (ACTIVATION == RELU) return z[i] > 0.0f ? z[i] : 0.0f;
        return activate<ACTIVATION>(z[i]);
    }
};

// What output i should be.
template <class P> __device__ inline float target(u32 label, int i) {
    float sharp = P::OUTPUTS == 1 ? (float)label : (u32)i == label ? 1.0f : 0.0f;
    float spread = P::KIND == CATEGORICAL_CROSSENTROPY ? (float)P::OUTPUTS : 2.0f;
    return sharp * (1.0f - P::SMOOTHING) + P::SMOOTHING / spread;
}

// A probability kept off 0 and 1. NaN stays.
__device__ inline float clip(float p) {
    float raised = p < EPSILON ? EPSILON : p;
    return raised > 1.0f - EPSILON ? 1.0f - EPSILON : raised;
}

// Each rule below is made by all lanes of a warp: it has the image's loss, and for each output the slope of the loss
// along its value.

// −Σ tᵢ ln softmax(v)ᵢ = Σ tᵢ (ln Σ eᵛ − vᵢ), shifted by the largest v; the slope is softmax(v) − t.
template <class P, class V> struct SoftmaxCrossentropy {
    const V &values;
    u32 label;
    double loss;
    float largest, share;

    __device__ SoftmaxCrossentropy(const V &values, u32 label) : values(values), label(label), loss(0.0) {
        largest = __uint_as_float(0xff800000u); // −∞
        for (int i = threadIdx.x % 32; i < P::OUTPUTS; i += 32) largest = fmaxf(largest, values.at(i));
        largest = warp_max(largest);
        double sum = 0.0;
        for (int i = threadIdx.x % 32; i < P::OUTPUTS; i += 32) sum += (double)expf(values.at(i) - largest);
        sum = warp_sum(sum);
        double logarithm = log(sum);
        for (int i = threadIdx.x % 32; i < P::OUTPUTS; i += 32) {
            float wanted = target<P>(label, i);
            // Not times zero: an impossible class may have a logit of −∞.
            if (wanted != 0.0f) loss += (double)wanted * (logarithm - (double)(values.at(i) - largest));
        }
        loss = warp_sum(loss);
        // NaN among the logits of other classes must not pass unseen.
        if (sum != sum) loss = sum;
        share = (float)(1.0 / sum);
    }

    __device__ float slope(int i) const { return expf(values.at(i) - largest) * share - target<P>(label, i); }
};

// The mean of ln(1 + eᵛ) − t·v, as max(v, 0) − t·v + ln(1 + e⁻|ᵛ|); the slope is (sigmoid(v) − t)/n.
template <class P, class V> struct SigmoidCrossentropy {
    const V &values;
    u32 label;
    double loss;

    __device__ SigmoidCrossentropy(const V &values, u32 label) : values(values), label(label), loss(0.0) {
        for (int i = threadIdx.x % 32; i < P::OUTPUTS; i += 32) {
            double wanted = target<P>(label, i), v = values.at(i);
            loss += (v > 0.0 ? v : 0.0) - wanted * v + log1p(exp(v > 0.0 ? -v : v));
        }
        loss = warp_sum(loss) / P::OUTPUTS;
    }

    __device__ float slope(int i) const {
        return (1.0f / (1.0f + expf(-values.at(i))) - target<P>(label, i)) / (float)P::OUTPUTS;
    }
};

// −Σ tᵢ ln qᵢ of q = v/Σv, clipped.
template <class P, class V> struct CategoricalCrossentropy {
    const V &values;
    u32 label;
    double loss;
    float sum, along;

    __device__ CategoricalCrossentropy(const V &values, u32 label) : values(values), label(label), loss(0.0) {
        sum = 0.0f;
        for (int i = threadIdx.x % 32; i < P::OUTPUTS; i += 32) sum += values.at(i);
        sum = warp_sum(sum);
        along = 0.0f;
        for (int i = threadIdx.x % 32; i < P::OUTPUTS; i += 32) {
            float wanted = target<P>(label, i);
            if (wanted != 0.0f) loss -= (double)wanted * log((double)clip(values.at(i) / sum));
            along += slope_of_share(i) * (values.at(i) / sum);
        }
        loss = warp_sum(loss);
        along = warp_sum(along);
        if (sum != sum) loss = sum;
    }

    // The slope along qᵢ: none where it was clipped.
    __device__ float slope_of_share(int i) const {
        float q = values.at(i) / sum;
        return clip(q) == q ? -target<P>(label, i) / q : 0.0f;
    }

    __device__ float slope(int i) const { return (slope_of_share(i) - along) / sum; }
};

// The mean of −t ln p − (1−t) ln(1−p), clipped.
template <class P, class V> struct BinaryCrossentropy {
    const V &values;
    u32 label;
    double loss;

    __device__ BinaryCrossentropy(const V &values, u32 label) : values(values), label(label), loss(0.0) {
        for (int i = threadIdx.x % 32; i < P::OUTPUTS; i += 32) {
            float wanted = target<P>(label, i), p = clip(values.at(i));
            loss -= (double)wanted * log((double)p) + (double)(1.0f - wanted) * log((double)(1.0f - p));
        }
        loss = warp_sum(loss) / P::OUTPUTS;
    }

    __device__ float slope(int i) const {
        float value = values.at(i), p = clip(value), wanted = target<P>(label, i);
        if (p != value) return 0.0f;
        return ((1.0f - wanted) / (1.0f - p) - wanted / p) / (float)P::OUTPUTS;
    }
};

// The mean of (t − v)².
template <class P, class V> struct SquaredError {
    const V &values;
    u32 label;
    double loss;

    __device__ SquaredError(const V &values, u32 label) : values(values), label(label), loss(0.0) {
        for (int i = threadIdx.x % 32; i < P::OUTPUTS; i += 32) {
            double error = values.at(i) - target<P>(label, i);
            loss += error * error;
        }
        loss = warp_sum(loss) / P::OUTPUTS;
    }

    __device__ float slope(int i) const {
        return 2.0f * (values.at(i) - target<P>(label, i)) / (float)P::OUTPUTS;
    }
};

// The rule of a loss.
template <class P, class V, int KIND, bool LOGITS> struct Rule;
template <class P, class V> struct Rule<P, V, CATEGORICAL_CROSSENTROPY, true> {
    using Type = SoftmaxCrossentropy<P, V>;
};
template <class P, class V> struct Rule<P, V, CATEGORICAL_CROSSENTROPY, false> {
    using Type = CategoricalCrossentropy<P, V>;
};
template <class P, class V> struct Rule<P, V, BINARY_CROSSENTROPY, true> {
    using Type = SigmoidCrossentropy<P, V>;
};
template <class P, class V> struct Rule<P, V, BINARY_CROSSENTROPY, false> {
    using Type = BinaryCrossentropy<P, V>;
};
template <class P, class V, bool LOGITS> struct Rule<P, V, SQUARED_ERROR, LOGITS> {
    using Type = SquaredError<P, V>;
};

// Writes the slopes, back through the activation and times `scale`.
template <class P, int ACTIVATION, class V, class R>
__device__ inline void chain(const V &values, const R &rule, float *d_logits, float scale) {
    float along = 0.0f;
    if constexpr (ACTIVATION == SOFTMAX) {
        for (int i = threadIdx.x % 32; i < P::OUTPUTS; i += 32) along += values.at(i) * rule.slope(i);
        along = warp_sum(along);
    }
    for (int i = threadIdx.x % 32; i < P::OUTPUTS; i += 32) {
        float d = rule.slope(i);
        if constexpr (ACTIVATION == SOFTMAX) {
            d = values.at(i) * (d - along);
        } else if constexpr (ACTIVATION != LINEAR) {
            d = before_activation<ACTIVATION>(d, values.at(i));
        }
        d_logits[i] = d * scale;
    }
}

// Whether the first largest of several outputs stands at the label; a single one has to be above 0.5 just where the
// label is 1.
template <class P, class V> __device__ inline bool is_right(const V &values, u32 label) {
    if constexpr (P::OUTPUTS == 1) {
        return (Values<P, P::ACTIVATION>(values.z).at(0) > 0.5f ? 1u : 0u) == label;
    } else {
        float largest = __uint_as_float(0xff800000u); // −∞
        for (int i = threadIdx.x % 32; i < P::OUTPUTS; i += 32) largest = fmaxf(largest, values.at(i));
        largest = warp_max(largest);
        // Where nothing is above −∞ the first counts as the largest.
        bool none = largest == __uint_as_float(0xff800000u);
        int first = P::OUTPUTS;
        for (int i = threadIdx.x % 32; i < P::OUTPUTS && first == P::OUTPUTS; i += 32) {
            if (none || values.at(i) == largest) first = i;
        }
        int at_label = warp_sum((u32)first == label ? 1 : 0), before = warp_sum((u32)first < label ? 1 : 0);
        return at_label > 0 && before == 0;
    }
}

} // namespace loss_of

// P::OUTPUTS values an image, before the head's P::ACTIVATION. P::KIND says which loss; P::FROM_LOGITS and
// P::SMOOTHING are its settings. Image i of the batch stands at place cursor + i of the order if P::ORDERED, and else
// of the labels. Where P::GRADIENT, `d_logits` becomes the gradient of the mean loss of the batch.
template <class P>
__device__ void loss(const float *logits, const u32 *labels, const u32 *order, const State *state, float *d_logits,
                     double *losses, u32 *correct, int images) {
    constexpr int ACTIVATION = loss_of::cancels<P>() ? LINEAR : P::ACTIVATION;
    using V = loss_of::Values<P, ACTIVATION>;
    using R = typename loss_of::Rule<P, V, P::KIND, loss_of::cancels<P>() || P::FROM_LOGITS>::Type;
    u64 cursor = state->cursor;
    for (u64 image = thread_number() / 32; image < (u64)images; image += thread_count() / 32) {
        u64 place = cursor + image;
        u32 label = labels[P::ORDERED ? order[place] : place];
        V values(logits + image * P::OUTPUTS);
        R rule(values, label);
        if constexpr (P::GRADIENT) {
            loss_of::chain<P, ACTIVATION>(values, rule, d_logits + image * P::OUTPUTS, 1.0f / (float)images);
        }
        bool right = loss_of::is_right<P>(values, label);
        if (threadIdx.x % 32 == 0) {
            losses[image] = rule.loss;
            correct[image] = right ? 1 : 0;
        }
    }
}

// Adds a batch to what was counted before, by one block of at most 256 threads, and moves on to the next. In training
// a batch whose loss is no number is not counted, and nothing changes from there on.
template <class P> __device__ void tally(const double *losses, const u32 *correct, State *state, int images) {
    double loss = 0.0;
    int right = 0;
    for (int i = threadIdx.x; i < images; i += blockDim.x) {
        loss += losses[i];
        right += (int)correct[i];
    }
    loss = block_sum(loss);
    right = block_sum(right);
    if (threadIdx.x != 0) return;
    state->cursor += (u64)images;
    if (P::TRAINING && state->fault == FINE && !isfinite(loss)) {
        state->fault = LOSS_NOT_FINITE;
        state->fault_step = state->step;
        state->fault_loss = loss;
    }
    if (state->fault == FINE) {
        state->loss += loss;
        state->correct += (u64)right;
        if (P::TRAINING) state->step++;
    }
    state->stopped = state->fault != FINE;
}
