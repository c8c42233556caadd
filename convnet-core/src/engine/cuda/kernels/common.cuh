// What all kernels share.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

// Numbers of activations, as `Activation` has them in Rust.
constexpr int LINEAR = 0, RELU = 1, SIGMOID = 2, TANH = 3, SOFTMAX = 4;

// What went wrong in a training step; nothing changes after that.
constexpr int FINE = 0, LOSS_NOT_FINITE = 1, WEIGHTS_NOT_FINITE = 2;

// How products are made: `Precision` in Rust.
constexpr int F32 = 0, TF32 = 1, BF16 = 2;

// What goes on from step to step; `State` in Rust reads it back.
struct State {
    u64 step;          // training steps done: the noise of the next one, and the optimizer's count after the loss
    u64 cursor;        // place in the order of images where the next batch begins
    double loss;       // sum of the images' losses
    u64 correct;       // images that count as right
    u64 fault_step;    // `step` when something went wrong
    double fault_loss; // the loss then, summed over the batch
    int fault;         // what went wrong
    int stopped;       // whether the step under way changes no weights: `fault`, as it was before the update
};

// An activation that looks at one value. NaN stays NaN: the loss has to see it.
template <int ACTIVATION> __device__ inline float activate(float x) {
    if (ACTIVATION == RELU) return 0.0f > x ? 0.0f : x;
    if (ACTIVATION == SIGMOID) return 1.0f / (1.0f + expf(-x));
    if (ACTIVATION == TANH) return tanhf(x);
    return x;
}

// The gradient `d` before an activation that looks at one value, given its output `y`.
template <int ACTIVATION> __device__ inline float before_activation(float d, float y) {
    if (ACTIVATION == RELU) return y > 0.0f ? d : 0.0f;
    if (ACTIVATION == SIGMOID) return d * y * (1.0f - y);
    if (ACTIVATION == TANH) return d * (1.0f - y * y);
    return d;
}

// Number of this thread among all of a launch along x, and their count.
__device__ inline u64 thread_number() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline u64 thread_count() { return (u64)gridDim.x * blockDim.x; }

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// The sum over all threads of a block of at most 256, in a fixed order; every thread gets it.
template <class T> __device__ inline T block_sum(T x) {
    __shared__ T warps[8];
    x = warp_sum(x);
    __syncthreads(); // those who still read the last sum
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
    __syncthreads();
    T sum = 0;
    for (int i = 0; i < (int)blockDim.x / 32; i++) sum += warps[i];
    return sum;
}
