// The values of a batch: images are taken out of the data set, in its order or in one that was drawn, and bytes
// become floats.
//
// The data set stays as it came, bytes as bytes: they are a quarter of what floats would take of the device's memory,
// and the division costs nothing beside the writing. It is a true division, so that a value is exactly Keras's
// `x.astype("float32") / 255`.

// P::SIZE values an image, bytes if P::BYTES; image i of the batch stands at place cursor + i of the order if
// P::ORDERED, and else of the data set.
template <class P, class Pixel>
__device__ void gather(const Pixel *pixels, const u32 *order, const State *state, float *input, int images) {
    constexpr int N = at_once(P::SIZE), GROUPS = P::SIZE / N;
    u64 cursor = state->cursor;
    each((u64)images * GROUPS, [&](auto i) {
        auto image = i / GROUPS;
        u64 place = cursor + image;
        u64 from = (P::ORDERED ? order[place] : place) * GROUPS + (i - image * GROUPS);
        if constexpr (P::BYTES) {
            FewBytes<N> bytes = ((const FewBytes<N> *)pixels)[from];
            Few<N> values;
            for (int k = 0; k < N; k++) values[k] = (float)bytes[k] / 255.0f;
            put(input, i, values);
        } else {
            put(input, i, few<N>(pixels, from));
        }
    });
}
