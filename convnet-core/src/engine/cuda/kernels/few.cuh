// A few neighbouring floats that a thread moves at once, and loops over them.
//
// Kernels that look at values one by one only wait for memory. A load of 16 bytes asks for four times as much as one
// of 4, so where all images are whole multiples of four values a thread takes four. Tensors begin at multiples of 16
// bytes (the engine aligns them to 256).

// Values that a thread takes at once of runs that are whole multiples of these lengths.
__host__ __device__ constexpr int at_once(int a, int b = 0, int c = 0) {
    return a % 4 == 0 && b % 4 == 0 && c % 4 == 0 ? 4 : 1;
}

template <int N> struct alignas(4 * N) Few {
    float value[N];
    __device__ float &operator[](int i) { return value[i]; }
};

// Bytes that belong to a few floats.
template <int N> struct alignas(N) FewBytes {
    u8 value[N];
    __device__ u8 &operator[](int i) { return value[i]; }
};

// Floats N·i to N·i + N − 1.
template <int N> __device__ inline Few<N> few(const float *from, u64 i) { return ((const Few<N> *)from)[i]; }
template <int N> __device__ inline void put(float *to, u64 i, Few<N> values) { ((Few<N> *)to)[i] = values; }

// Calls f(i) for the numbers below `count`, each from one thread of those along x. They are 32-bit numbers where that
// is enough, since dividing these takes a fraction of the time. There are far fewer than 2³¹ threads.
template <class F> __device__ inline void each(u64 count, F f) {
    if (count < 0x80000000u) {
        u32 all = (u32)count, stride = (u32)thread_count();
        for (u32 i = (u32)thread_number(); i < all; i += stride) f(i);
    } else {
        for (u64 i = thread_number(); i < count; i += thread_count()) f(i);
    }
}

// Hands the gradient of the values from N·i on to the layer above: adds what is there (P::ADD), goes back through the
// activation that made the values (P::INPUT_ACTIVATION), stores.
template <class P, int N> __device__ inline void hand_up(float *d_input, const float *input, u64 i, Few<N> d) {
    if constexpr (P::ADD) {
        Few<N> held = few<N>(d_input, i);
        for (int k = 0; k < N; k++) d[k] = held[k] + d[k];
    }
    if constexpr (P::INPUT_ACTIVATION != LINEAR) {
        Few<N> y = few<N>(input, i);
        for (int k = 0; k < N; k++) d[k] = before_activation<P::INPUT_ACTIVATION>(d[k], y[k]);
    }
    put(d_input, i, d);
}
