// The machine of `device.cuh` on a CPU (x86-64): every thread of a block is a fiber of one thread of the program, and
// barriers switch between them. Slow, and exact: what kernels compute, where they wait and how they lay out the operands
// of tensor cores is tested with it where there is no GPU.

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define __device__
#define __host__
#define __global__
#define __shared__ static
#define __launch_bounds__(threads, blocks)
#define __restrict__ __restrict

struct Dim3 {
    unsigned x, y, z;
};
static Dim3 threadIdx, blockIdx, blockDim, gridDim;

// Aligned as on the device, where reading one from elsewhere is an error: the compiler is told to stop there.
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
inline float4 make_float4(float x, float y, float z, float w) { return float4{x, y, z, w}; }
inline float2 make_float2(float x, float y) { return float2{x, y}; }
inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
inline float __fmul_rn(float a, float b) { return a * b; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
template <class T> inline T min(T a, T b) { return b < a ? b : a; }
template <class T> inline T max(T a, T b) { return a < b ? b : a; }

namespace emulator {

constexpr int MOST_THREADS = 1024, STACK = 128 * 1024;

extern "C" void convnet_switch(void **save, void *load);
asm(R"(
    .text
    .local convnet_switch
    .type convnet_switch, @function
convnet_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

// Threads that wait for one another.
struct Barrier {
    int alive, arrived;
    unsigned generation;
    void release() {
        if (alive > 0 && arrived == alive) {
            arrived = 0;
            generation++;
        }
    }
};

static void *scheduler, *fibers[MOST_THREADS];
static bool done[MOST_THREADS];
static char *stacks;
static int current;
static Barrier block, warps[MOST_THREADS / 32];
static unsigned exchanged[MOST_THREADS / 32][32][6];
static void (*kernel)(void **);
static void **arguments;

static void pause() { convnet_switch(&fibers[current], scheduler); }

static void wait(Barrier &barrier) {
    unsigned generation = barrier.generation;
    barrier.arrived++;
    barrier.release();
    while (barrier.generation == generation) pause();
}

static void body() {
    kernel(arguments);
    done[current] = true;
    block.alive--;
    block.release();
    warps[current / 32].alive--;
    warps[current / 32].release();
    pause();
    abort();
}

// Runs a launch, block after block; in a block the threads go on in rising or, if `backwards`, falling order.
static void launch(void (*function)(void **), const unsigned *grid, unsigned threads, void **args, bool backwards) {
    if (!stacks) stacks = (char *)malloc((size_t)MOST_THREADS * STACK);
    kernel = function;
    arguments = args;
    gridDim = Dim3{grid[0], grid[1], grid[2]};
    blockDim = Dim3{threads, 1, 1};
    for (unsigned z = 0; z < grid[2]; z++)
        for (unsigned y = 0; y < grid[1]; y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                blockIdx = Dim3{x, y, z};
                block = Barrier{(int)threads, 0, 0};
                for (unsigned w = 0; w * 32 < threads; w++) {
                    warps[w] = Barrier{(int)(threads - w * 32 < 32 ? threads - w * 32 : 32), 0, 0};
                }
                for (unsigned t = 0; t < threads; t++) {
                    // The stack as after a call of `body` (aligned as the calling convention asks), with six saved registers.
                    void **top = (void **)(((uintptr_t)stacks + (size_t)(t + 1) * STACK) & ~(uintptr_t)15) - 1;
                    *--top = (void *)body;
                    for (int i = 0; i < 6; i++) *--top = nullptr;
                    fibers[t] = top;
                    done[t] = false;
                }
                while (block.alive > 0) {
                    for (unsigned i = 0; i < threads; i++) {
                        current = backwards ? threads - 1 - i : i;
                        if (done[current]) continue;
                        threadIdx = Dim3{(unsigned)current, 0, 0};
                        convnet_switch(&scheduler, fibers[current]);
                    }
                }
            }
}

// What the threads of a warp tell one another: up to six words each.
static const unsigned (*exchange(const unsigned *words, int count))[6] {
    int warp = current / 32;
    memcpy(exchanged[warp][current % 32], words, sizeof(unsigned) * count);
    wait(warps[warp]);
    return exchanged[warp];
}

template <class T> static T warp_sum(T x) {
    static_assert(sizeof(T) <= 8, "two words");
    unsigned words[2] = {0, 0};
    memcpy(words, &x, sizeof(T));
    const unsigned (*all)[6] = exchange(words, 2);
    // The order of a butterfly, as on the device.
    T sums[32];
    for (int i = 0; i < 32; i++) memcpy(&sums[i], all[i], sizeof(T));
    for (int distance = 16; distance > 0; distance /= 2) {
        T next[32];
        for (int i = 0; i < 32; i++) next[i] = sums[i] + sums[i ^ distance];
        memcpy(sums, next, sizeof(sums));
    }
    T sum = sums[current % 32];
    wait(warps[current / 32]);
    return sum;
}

static float warp_max(float x) {
    unsigned word = __float_as_uint(x);
    const unsigned (*all)[6] = exchange(&word, 1);
    for (int i = 0; i < 32; i++) x = fmaxf(x, __uint_as_float(all[i][0]));
    wait(warps[current / 32]);
    return x;
}

} // namespace emulator

inline void __syncthreads() { emulator::wait(emulator::block); }
inline void warp_barrier() { emulator::wait(emulator::warps[emulator::current / 32]); }
inline float warp_sum(float x) { return emulator::warp_sum(x); }
inline double warp_sum(double x) { return emulator::warp_sum(x); }
inline int warp_sum(int x) { return emulator::warp_sum(x); }
inline float warp_max(float x) { return emulator::warp_max(x); }

inline unsigned to_tf32(float x) {
    unsigned bits = __float_as_uint(x);
    return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & 0xffffe000u;
}

inline unsigned to_bf16(float low, float high) {
    unsigned halves[2], bits[2] = {__float_as_uint(low), __float_as_uint(high)};
    for (int i = 0; i < 2; i++) {
        bool nan = (bits[i] & 0x7fffffffu) > 0x7f800000u;
        halves[i] = nan ? 0x7fffu : (bits[i] + 0x7fffu + (bits[i] >> 16 & 1u)) >> 16;
    }
    return halves[0] | halves[1] << 16;
}

// D += A · B over K, of which each thread holds what `device.cuh` says; A and B are asked for value by value.
inline void multiply_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    unsigned words[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const unsigned (*all)[6] = emulator::exchange(words, 6);
    int lane = threadIdx.x % 32;
    for (int i = 0; i < 4; i++) {
        int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 8; k++) {
            unsigned x = all[row % 8 * 4 + k % 4][row / 8 + k / 4 * 2], y = all[column * 4 + k % 4][4 + k / 4];
            d[i] += __uint_as_float(x & 0xffffe000u) * __uint_as_float(y & 0xffffe000u);
        }
    }
    warp_barrier();
}

inline void multiply_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    unsigned words[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const unsigned (*all)[6] = emulator::exchange(words, 6);
    int lane = threadIdx.x % 32;
    for (int i = 0; i < 4; i++) {
        int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 16; k++) {
            unsigned x = all[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], y = all[column * 4 + k % 8 / 2][4 + k / 8];
            int shift = k % 2 * 16;
            d[i] += __uint_as_float(x >> shift << 16) * __uint_as_float(y >> shift << 16);
        }
    }
    warp_barrier();
}
