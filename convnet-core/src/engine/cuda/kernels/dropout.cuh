// Dropout: in a training step each value is zero with the layer's probability, and else divided by the others'.
//
// The random numbers are those of the CPU engine, bit for bit: ChaCha with 8 rounds (Bernstein 2008), keyed by the
// model's seed and the purpose, with a stream for each step, layer and image (see `stream_number` in Rust). Value k
// of an image is dropped if word k of its stream is below the rate times 2³². ChaCha makes 16 words at a time, so a
// thread takes 16 values; it can begin anywhere in the stream. What is kept is which values stayed.

namespace dropout {

__device__ inline u32 rotate(u32 x, int bits) { return x << bits | x >> (32 - bits); }

__device__ inline void quarter_round(u32 &a, u32 &b, u32 &c, u32 &d) {
    a += b, d = rotate(d ^ a, 16);
    c += d, b = rotate(b ^ c, 12);
    a += b, d = rotate(d ^ a, 8);
    c += d, b = rotate(b ^ c, 7);
}

// Words 16·block to 16·block + 15 of a stream of the seed. The key is the seed, "dropout\0", zeros, and in the last
// byte what tells this derivation from others, as `train/random.rs` has it.
__device__ inline void draw(u64 seed, u64 stream, u32 block, u32 (&words)[16]) {
    const u32 start[16] = {
        0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u,                    // "expand 32-byte k"
        (u32)seed,   (u32)(seed >> 32), 0x706f7264u, 0x0074756fu,              // the key
        0u,          0u,                0u,          3u << 24,
        block,       0u,                (u32)stream, (u32)(stream >> 32),      // which block of which stream
    };
    for (int i = 0; i < 16; i++) words[i] = start[i];
    for (int i = 0; i < 4; i++) {
        quarter_round(words[0], words[4], words[8], words[12]);
        quarter_round(words[1], words[5], words[9], words[13]);
        quarter_round(words[2], words[6], words[10], words[14]);
        quarter_round(words[3], words[7], words[11], words[15]);
        quarter_round(words[0], words[5], words[10], words[15]);
        quarter_round(words[1], words[6], words[11], words[12]);
        quarter_round(words[2], words[7], words[8], words[13]);
        quarter_round(words[3], words[4], words[9], words[14]);
    }
    for (int i = 0; i < 16; i++) words[i] += start[i];
}

// 32 bits for the step, 10 for the layer and 22, the lowest, for the image's place in the batch.
__device__ inline u64 stream_number(u64 step, int layer, u64 image) {
    return step << 32 | (u64)(layer & 0x3ff) << 22 | (image & 0x3fffff);
}

// What the values that stay are multiplied by: 1 where none is ever dropped.
template <class P> __device__ constexpr float scale() { return P::BELOW == 0 ? 1.0f : P::SCALE; }

} // namespace dropout

// P::SIZE values an image; those whose random word is below P::BELOW (the bits of a u32) are dropped, the others
// multiplied by P::SCALE; `stays` receives a byte for each. P::LAYER is the layer's number in the plan. NaN: one that
// is dropped becomes 0. `output` may be `input`.
template <class P>
__device__ void dropout_forward(const float *input, float *output, u8 *stays, const State *state, u64 seed,
                                int images) {
    constexpr int N = at_once(P::SIZE), BLOCKS = ceil_div(P::SIZE, 16);
    u64 step = state->step;
    each((u64)images * BLOCKS, [&](auto i) {
        auto image = i / BLOCKS;
        u32 block = (u32)(i - image * BLOCKS);
        u32 words[16];
        dropout::draw(seed, dropout::stream_number(step, P::LAYER, image), block, words);
        u64 first = ((u64)image * P::SIZE + block * 16) / N;
        for (int group = 0; group < 16 / N; group++) {
            if (P::SIZE % 16 != 0 && (int)block * 16 + group * N >= P::SIZE) continue;
            Few<N> x = few<N>(input, first + group);
            FewBytes<N> marks;
            for (int k = 0; k < N; k++) {
                marks[k] = words[group * N + k] >= (u32)P::BELOW;
                x[k] = marks[k] ? x[k] * dropout::scale<P>() : 0.0f;
            }
            put(output, first + group, x);
            ((FewBytes<N> *)stays)[first + group] = marks;
        }
    });
}

template <class P>
__device__ void dropout_backward(const float *d_output, const u8 *stays, const float *input, float *d_input,
                                 int images) {
    constexpr int N = at_once(P::SIZE);
    each((u64)images * (P::SIZE / N), [&](auto i) {
        Few<N> d = few<N>(d_output, i);
        FewBytes<N> marks = ((const FewBytes<N> *)stays)[i];
        for (int k = 0; k < N; k++) d[k] = marks[k] ? d[k] * dropout::scale<P>() : 0.0f;
        hand_up<P>(d_input, input, i, d);
    });
}
