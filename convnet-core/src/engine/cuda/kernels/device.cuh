// What kernels use of the machine, on an NVIDIA GPU. `host.cuh` has the same for the CPU.

// A warp's threads and their reductions. All threads of the warp take part.
__device__ inline float warp_sum(float x) {
    for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
    return x;
}

__device__ inline double warp_sum(double x) {
    for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
    return x;
}

__device__ inline int warp_sum(int x) {
    for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
    return x;
}

// The largest value, NaN left out.
__device__ inline float warp_max(float x) {
    for (int distance = 16; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, distance));
    return x;
}

__device__ inline void warp_barrier() { __syncwarp(); }

// The bits of a float as tensor cores take them: TF32, rounded to nearest, in the upper 19 bits.
__device__ inline unsigned to_tf32(float x) {
    unsigned bits;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#else
    bits = __float_as_uint(x);
#endif
    return bits;
}

// Two floats as bfloat16, rounded to nearest even, `low` in the lower half.
__device__ inline unsigned to_bf16(float low, float high) {
    unsigned bits = 0;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
#endif
    return bits;
}

// d += a · b of 16×8 by 8×8 values in TF32, by all 32 threads of a warp (PTX: mma.m16n8k8). With g = lane / 4 and
// t = lane % 4: a = A[g][t], A[g + 8][t], A[g][t + 4], A[g + 8][t + 4]; b = B[t][g], B[t + 4][g];
// d = D[g][2t], D[g][2t + 1], D[g + 8][2t], D[g + 8][2t + 1]. No tensor cores below compute capability 8.0.
__device__ inline void multiply_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// d += a · b of 16×16 by 16×8 values in bfloat16 (PTX: mma.m16n8k16). Pairs along k, the lower index in the lower half:
// a = A[g][2t..], A[g + 8][2t..], A[g][2t + 8..], A[g + 8][2t + 8..]; b = B[2t..][g], B[2t + 8..][g]; d as above.
__device__ inline void multiply_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
