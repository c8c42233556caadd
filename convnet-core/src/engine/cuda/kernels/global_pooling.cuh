// Pooling over the whole map: what is left is one value for each channel of an image.
//
// A thread for each of them would be too few threads, and each would walk over a whole map; so a block takes some
// channels of an image, its parts take the positions in turn, and a tree of fixed shape joins what they found. Going
// back there is nothing to join: every value looks at its channel's gradient.
//
// NaN: as in the pooling of windows.

// Block: 256; grid: any along x, best images · ceil(C / 32), with C = CHANNELS, or CHANNELS / 4 where that is whole.
template <class P> __device__ void global_average_pooling2d_forward(const float *input, float *output, int images) {
    typedef maps::Block<P::CHANNELS> Block;
    constexpr int N = Block::N, POSITIONS = P::HEIGHT * P::WIDTH, RUN = 16;
    Block block;
    for (u64 item = blockIdx.x; item < (u64)images * Block::GROUPS; item += gridDim.x) {
        u64 image = item / Block::GROUPS;
        int group = (int)(item % Block::GROUPS), channel = block.channel(group);
        maps::Values<N> sum = maps::all<N>(0.0f);
        if (block.works(group)) {
            const float *map = input + image * ((u64)POSITIONS * P::CHANNELS) + channel;
            // Runs first, so that rounding stays small in large maps.
            for (int first = block.part; first < POSITIONS; first += RUN * Block::PARTS) {
                int left = (POSITIONS - first + Block::PARTS - 1) / Block::PARTS;
                maps::Values<N> run = maps::all<N>(0.0f);
                for (int i = 0; i < min(left, RUN); i++) {
                    maps::add(run, maps::load<N>(map + (u64)(first + i * Block::PARTS) * P::CHANNELS));
                }
                maps::add(sum, run);
            }
        }
        maps::join_parts<Block::LANES, Block::PARTS>(sum.at, maps::Sum());
        if (block.works(group) && block.part == 0) {
            UNROLLED for (int n = 0; n < N; n++) sum.at[n] /= (float)POSITIONS;
            maps::store(output + image * P::CHANNELS + channel, sum);
        }
    }
}

// Block: any; grid: any along x.
template <class P>
__device__ void global_average_pooling2d_backward(const float *d_output, const float *input, float *d_input,
                                                  int images) {
    constexpr int C = P::CHANNELS, N = maps::TOGETHER<C>;
    maps::each_place<P::HEIGHT, P::WIDTH, C>(images, [&](maps::Place to) {
        auto d = maps::load<N>(d_output + to.image * C + to.channel);
        UNROLLED for (int n = 0; n < N; n++) d.at[n] /= (float)(P::HEIGHT * P::WIDTH);
        u64 element = maps::element_of<P::HEIGHT, P::WIDTH, C>(to.image, to.row, to.column, to.channel);
        maps::store_gradient<P>(d_input, input, element, d);
    });
}

// Block: 256; grid: as of the mean. `places` gets the position of each output, the first of the largest, if KEEP.
template <class P>
__device__ void global_max_pooling2d_forward(const float *input, float *output, u32 *places, int images) {
    typedef maps::Block<P::CHANNELS> Block;
    constexpr int N = Block::N, POSITIONS = P::HEIGHT * P::WIDTH;
    Block block;
    for (u64 item = blockIdx.x; item < (u64)images * Block::GROUPS; item += gridDim.x) {
        u64 image = item / Block::GROUPS;
        int group = (int)(item % Block::GROUPS), channel = block.channel(group);
        pooling::Larger larger;
        pooling::Largest largest[N];
        // A part that has no position stands behind all that have one.
        UNROLLED for (int n = 0; n < N; n++) largest[n] = {__uint_as_float(0xff800000u), (u32)POSITIONS};
        if (block.works(group)) {
            const float *map = input + image * ((u64)POSITIONS * P::CHANNELS) + channel;
            for (int position = block.part; position < POSITIONS; position += Block::PARTS) {
                auto values = maps::load<N>(map + (u64)position * P::CHANNELS);
                UNROLLED for (int n = 0; n < N; n++) {
                    largest[n] = larger(largest[n], pooling::Largest{values.at[n], (u32)position});
                }
            }
        }
        maps::join_parts<Block::LANES, Block::PARTS>(largest, larger);
        if (block.works(group) && block.part == 0) {
            u64 to = image * P::CHANNELS + channel;
            UNROLLED for (int n = 0; n < N; n++) {
                output[to + n] = largest[n].value;
                if constexpr (P::KEEP) places[to + n] = largest[n].place;
            }
        }
    }
}

// Block: any; grid: any along x.
template <class P>
__device__ void global_max_pooling2d_backward(const float *d_output, const u32 *places, const float *input,
                                              float *d_input, int images) {
    constexpr int C = P::CHANNELS, N = maps::TOGETHER<C>;
    maps::each_place<P::HEIGHT, P::WIDTH, C>(images, [&](maps::Place to) {
        u64 from = to.image * C + to.channel;
        auto d = maps::load<N>(d_output + from);
        u32 position = (u32)(to.row * P::WIDTH + to.column);
        UNROLLED for (int n = 0; n < N; n++) {
            if (places[from + n] != position) d.at[n] = 0.0f;
        }
        u64 element = maps::element_of<P::HEIGHT, P::WIDTH, C>(to.image, to.row, to.column, to.channel);
        maps::store_gradient<P>(d_input, input, element, d);
    });
}
