// Optimizers, as `train/optimizer/` has them: the same operations in the same order, so that the weights differ from
// the CPU engine's only as far as the gradients do.
//
// The parameters that training changes are cut into runs of at most 1024 (fewer where gradients come in many parts),
// one for each block; a table says where a run lies and where its gradients do. Kernels that make gradients leave
// several parts of them (splits), which are added up here: that saves writing and reading the sum.
//
// A row of the table has 8 words: where the run begins in the parameters, their count, the first float of its
// gradient in `gradients` (the lower half: there may be more than 2³² floats), the splits, the floats from one split
// to the next, the bits of the factor of its L2 penalty, the upper half of the third, 0.

constexpr int SGD = 0, RMSPROP = 1, ADAM = 2;

namespace update_of {

constexpr int TOGETHER = 4;

// Floats of state that a parameter has.
template <class P> __device__ constexpr int slots_of() {
    if constexpr (P::KIND == SGD) return P::MOMENTUM ? 1 : 0;
    if constexpr (P::KIND == RMSPROP) return 1 + (P::MOMENTUM ? 1 : 0) + (P::CENTERED ? 1 : 0);
    return 2;
}

// A row of the table.
struct Run {
    u64 start, gradient, stride;
    int count, splits;
    float l2;

    __device__ Run(const u32 *table, int row) {
        const u32 *words = table + (u64)row * 8;
        start = words[0], count = (int)words[1], splits = (int)words[3], stride = words[4];
        gradient = (u64)words[6] << 32 | words[2];
        l2 = __uint_as_float(words[5]);
    }
};

// Adds up splits from `begin` to `end` of some parameters of the run: `first`, `first + step`, … Four of them at a
// time, so that their loads are under way together.
__device__ inline void sum_splits(const Run &run, const float *gradients, int first, int step, int begin, int end,
                                  float (&sums)[TOGETHER]) {
    // Behind the end of the run is its last, whose sum nobody asks for: a load that depends on a condition would wait
    // for the sum before it.
    int at[TOGETHER];
    UNROLLED for (int j = 0; j < TOGETHER; j++) {
        at[j] = min(j * step, run.count - 1 - first);
        sums[j] = 0.0f;
    }
    const float *split = gradients + run.gradient + begin * run.stride + first;
    // A small layer has a hundred parts: a wait for every few of them would be most of the update.
#pragma unroll 8
    for (int s = begin; s < end; s++, split += run.stride) {
        float x[TOGETHER];
        UNROLLED for (int j = 0; j < TOGETHER; j++) x[j] = split[at[j]];
        UNROLLED for (int j = 0; j < TOGETHER; j++) sums[j] += x[j];
    }
}

// The gradients of a run's parameters, their splits added up. All threads of the block make it.
//
// From P::MANY splits on, of which a run has at most P::SHORT parameters, each warp adds up an equal share of them, and
// then the shares are added up: a thread that went through all would wait for memory again and again.
template <class P> struct Gradients {
    static constexpr int WARPS = 8;
    static_assert(P::SHORT == 32 * TOGETHER, "four parameters a lane");
    const Run &run;
    const float *gradients;
    float (*parts)[P::SHORT];

    __device__ Gradients(const Run &run, const float *gradients) : run(run), gradients(gradients) {
        __shared__ float shared[WARPS][P::SHORT];
        parts = shared;
        if (run.splits < P::MANY) return; // all threads alike
        int lane = threadIdx.x % 32, warp = threadIdx.x / 32, share = ceil_div(run.splits, (int)blockDim.x / 32);
        int begin = min(warp * share, run.splits), end = min(begin + share, run.splits);
        float sums[TOGETHER];
        sum_splits(run, gradients, lane, 32, begin, end, sums);
        UNROLLED for (int j = 0; j < TOGETHER; j++) parts[warp][j * 32 + lane] = sums[j];
        __syncthreads();
    }

    // Those that are the thread's: `first`, `first + blockDim.x`, …
    __device__ void of(int first, float (&sums)[TOGETHER]) const {
        if (run.splits < P::MANY) return sum_splits(run, gradients, first, (int)blockDim.x, 0, run.splits, sums);
        UNROLLED for (int j = 0; j < TOGETHER; j++) {
            int at = first + j * (int)blockDim.x;
            sums[j] = 0.0f;
            if (at >= run.count) continue;
            for (int warp = 0; warp < (int)blockDim.x / 32; warp++) sums[j] += parts[warp][at];
        }
    }
};

// `x`, but 0 where it is less than `tiny` in size: see `sweep.rs` on what counts as zero.
__device__ inline float settled(float x, float tiny) { return tiny > fabsf(x) ? 0.0f : x; }

// x² for an average of squares, which knows no x below P::FLOOR. Not to be fused with an addition behind it: the CPU
// rounds it.
template <class P> __device__ inline float square(float x) {
    x = settled(x, P::FLOOR);
    return __fmul_rn(x, x);
}

// βᵗ. By squaring, which is far less work than `pow`, and as good as exact in the 24 bits that are used of it: errors
// grow with t, and βᵗ is gone before they show.
__device__ inline double power(double beta, u64 t) {
    double result = 1.0;
    for (; t != 0; t >>= 1, beta *= beta) {
        if (t & 1) result *= beta;
    }
    return result;
}

// Adam's α of step t, in floats and of the rounded β as Keras has it.
__device__ inline float adam_rate(float rate, float beta_1, float beta_2, u64 t) {
    float missing_1 = 1.0f - (float)power((double)beta_1, t), missing_2 = 1.0f - (float)power((double)beta_2, t);
    return rate * sqrtf(missing_2) / missing_1;
}

// w ← w − lr·g; with momentum m ← μ·m − lr·g, w ← w + m or, with Nesterov's, w ← w + μ·m − lr·g.
template <class P> __device__ inline float sgd(float w, float g, float (&slots)[3], float rate, float momentum) {
    if constexpr (!P::MOMENTUM) return fmaf(g, -rate, w);
    float downhill = __fmul_rn(g, -rate);
    slots[0] = settled(fmaf(slots[0], momentum, downhill), P::TINY);
    return w + (P::NESTEROV ? fmaf(slots[0], momentum, downhill) : slots[0]);
}

// v ← ρ·v + (1−ρ)·g², a ← ρ·a + (1−ρ)·g if centered, and g/√(v−a²+ε) the step, with momentum or without.
template <class P>
__device__ inline float rms_prop(float w, float g, float (&slots)[3], float rate, float rho, float fresh,
                                 float momentum, float epsilon) {
    float variance = settled(fmaf(rho, slots[0], __fmul_rn(fresh, square<P>(g))), P::FLOOR_SQUARE);
    slots[0] = variance;
    if constexpr (P::CENTERED) {
        constexpr int AVERAGE = P::MOMENTUM ? 2 : 1;
        slots[AVERAGE] = settled(fmaf(rho, slots[AVERAGE], __fmul_rn(fresh, g)), P::TINY);
        variance -= square<P>(slots[AVERAGE]);
        // Rounding may leave less than nothing; NaN stays.
        if (0.0f > variance) variance = 0.0f;
    }
    float change = rate * g / sqrtf(variance + epsilon);
    if constexpr (P::MOMENTUM) {
        change = settled(fmaf(momentum, slots[1], change), P::TINY);
        slots[1] = change;
    }
    return w - change;
}

// m ← m + (1−β₁)·(g−m), v ← v + (1−β₂)·(g²−v), w ← w − α·m/(√v+ε), after w ← w − lr·λ·w.
template <class P>
__device__ inline float adam(float w, float g, float (&slots)[3], float alpha, float epsilon, float decay) {
    w = fmaf(w, decay, w);
    slots[0] = settled(fmaf(g - slots[0], P::FRESH_1, slots[0]), P::TINY);
    slots[1] = settled(fmaf(square<P>(g) - slots[1], P::FRESH_2, slots[1]), P::FLOOR_SQUARE);
    return w + __fmul_rn(slots[0], -alpha) / (sqrtf(slots[1]) + epsilon);
}

// A weight after a step of the rule, with `alpha` and the arguments of `update`.
template <class P>
__device__ inline float step(float w, float g, float (&slots)[3], float alpha, float rate, float a, float b, float c,
                             float d) {
    if constexpr (P::KIND == SGD) return sgd<P>(w, g, slots, rate, a);
    if constexpr (P::KIND == RMSPROP) return rms_prop<P>(w, g, slots, rate, a, b, c, d);
    if constexpr (P::KIND == ADAM) return adam<P>(w, g, slots, alpha, c, -rate * d);
}

} // namespace update_of

// Moves the run of row blockIdx.x by a step, the number of which, from 1, is state->step (the loss has counted it);
// at most 256 threads. `previous` receives the weights as they were; slot i of parameter p is slots[i·P::PARAMS + p];
// where the run has a penalty, penalties[row] becomes what it adds to the loss before the step, and else 0.
//
// P::KIND with P::MOMENTUM, P::NESTEROV and P::CENTERED says what rule. `rate` is the learning rate; a to d are
//     SGD:     momentum
//     RMSPROP: ρ, 1 − ρ, momentum, ε
//     ADAM:    β₁, β₂, ε, weight decay; P::FRESH_1 and P::FRESH_2 are 1 − β₁ and 1 − β₂
// and P::TINY, P::FLOOR and P::FLOOR_SQUARE what counts as zero.
//
// After a fault nothing changes. But a weight that is no number stops none of the other blocks, whichever comes
// first: they look at `stopped`, which `tally` wrote and no update writes, and not at `fault`. So a step is done as a
// whole, and with `previous` it can be taken back as a whole.
template <class P>
__device__ void update(const u32 *table, const float *gradients, float *weights, float *previous, float *slots,
                       double *penalties, State *state, float rate, float a, float b, float c, float d) {
    using namespace update_of;
    constexpr int SLOTS = slots_of<P>();
    if (state->stopped) return; // all threads alike
    __shared__ float shared_alpha;
    if constexpr (P::KIND == ADAM) {
        if (threadIdx.x == 0) shared_alpha = adam_rate(rate, a, b, state->step);
        __syncthreads();
    }
    float alpha = P::KIND == ADAM ? shared_alpha : rate;
    Run run(table, blockIdx.x);
    Gradients<P> all(run, gradients);
    double squares = 0.0;
    bool finite = true;
    for (int first = threadIdx.x; first < run.count; first += TOGETHER * (int)blockDim.x) {
        float g[TOGETHER], w[TOGETHER] = {}, state_of[TOGETHER][3] = {};
        all.of(first, g);
        // All are read before any is written: what a thread waits for, it waits for once.
        for (int j = 0; j < TOGETHER; j++) {
            int at = first + j * (int)blockDim.x;
            if (at >= run.count) continue;
            w[j] = weights[run.start + at];
            for (int i = 0; i < SLOTS; i++) state_of[j][i] = slots[(u64)i * P::PARAMS + run.start + at];
        }
        for (int j = 0; j < TOGETHER; j++) {
            int at = first + j * (int)blockDim.x;
            if (at >= run.count) continue;
            u64 p = run.start + at;
            previous[p] = w[j];
            if (run.l2 > 0.0f) {
                squares += (double)w[j] * (double)w[j];
                g[j] = fmaf(2.0f * run.l2, w[j], g[j]);
            }
            float moved = step<P>(w[j], settled(g[j], P::TINY), state_of[j], alpha, rate, a, b, c, d);
            weights[p] = moved;
            for (int i = 0; i < SLOTS; i++) slots[(u64)i * P::PARAMS + p] = state_of[j][i];
            finite = finite && isfinite(moved);
        }
    }
    squares = block_sum(squares);
    if (threadIdx.x == 0) penalties[blockIdx.x] = run.l2 > 0.0f ? (double)run.l2 * squares : 0.0;
    if (!finite) {
        state->fault_step = state->step;
        state->fault = WEIGHTS_NOT_FINITE;
    }
}

// The gradients themselves, of the same table: sums[p] of parameter p.
template <class P> __device__ void sum_gradients(const u32 *table, const float *gradients, float *sums) {
    using namespace update_of;
    Run run(table, blockIdx.x);
    Gradients<P> all(run, gradients);
    for (int first = threadIdx.x; first < run.count; first += TOGETHER * (int)blockDim.x) {
        float of_thread[TOGETHER];
        all.of(first, of_thread);
        for (int j = 0; j < TOGETHER; j++) {
            int at = first + j * (int)blockDim.x;
            if (at < run.count) sums[run.start + at] = of_thread[j];
        }
    }
}

// Adds the penalties of `count` runs to each image's loss, by one block of at most 256 threads.
template <class P> __device__ void add_penalties(const double *penalties, State *state, int count, int images) {
    double sum = 0.0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) sum += penalties[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0 && state->fault == FINE) state->loss += (double)images * sum;
}
