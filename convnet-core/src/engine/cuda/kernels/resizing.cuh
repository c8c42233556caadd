// Maps that are made larger: zeros around them, pixels repeated, or values interpolated between pixels' centres.
//
// The gradient of the input is gathered, each pixel from the values that it has a part in, in their order.
//
// NaN: a NaN shows in every value that it has a part in, in both directions; so does an infinity, as NaN, where
// values are interpolated. The gradient of zeros goes nowhere.

namespace resizing {

// Where an interpolated value comes from, along one axis.
struct Between {
    // The pixel before, and the one behind; the same at the border, and where the place is a pixel's centre.
    int before, behind;
    // The share of the one behind.
    float share;

    // What of the value is this pixel's; false if it is none of the two.
    __device__ inline bool part(int pixel, float &part) const {
        part = (before == pixel ? 1.0f - share : 0.0f) + (behind == pixel ? share : 0.0f);
        return before == pixel || behind == pixel;
    }
};

// The source of value `output` of an axis of SIZE pixels, enlarged by FACTOR: its centre lies at
// (output + ½) / FACTOR − ½ of the pixels' centres.
template <int FACTOR, int SIZE> __device__ inline Between between(int output) {
    // In halves of an enlarged pixel, counted from half a pixel before the map: no number here is negative.
    int place = 2 * output + 1 + FACTOR, behind = place / (2 * FACTOR), part = place % (2 * FACTOR);
    int before = behind > 0 ? behind - 1 : 0;
    if (behind > SIZE - 1) behind = SIZE - 1;
    // A pixel without a share is not looked at, lest it be NaN.
    return {before, part == 0 ? before : behind, (float)part / (float)(2 * FACTOR)};
}

// The first of the 2 · FACTOR values in which a pixel may have a part, which may lie outside: the least whose place
// is more than 2 · FACTOR · pixel.
template <int FACTOR> __device__ inline int first_part(int pixel) { return pixel * FACTOR - FACTOR / 2; }

// a + (b − a) · share
template <int N> __device__ inline maps::Values<N> blend(maps::Values<N> a, maps::Values<N> b, float share) {
    UNROLLED for (int n = 0; n < N; n++) a.at[n] += (b.at[n] - a.at[n]) * share;
    return a;
}

} // namespace resizing

// Block: any; grid: any along x.
template <class P> __device__ void zero_padding2d_forward(const float *input, float *output, int images) {
    constexpr int C = P::CHANNELS, N = maps::TOGETHER<C>;
    maps::each_place<P::OUT_HEIGHT, P::OUT_WIDTH, C>(images, [&](maps::Place to) {
        int y = to.row - P::PAD_TOP, x = to.column - P::PAD_LEFT;
        maps::Values<N> value = maps::all<N>(0.0f);
        if ((u32)y < (u32)P::HEIGHT && (u32)x < (u32)P::WIDTH) {
            value = maps::load<N>(input + maps::element_of<P::HEIGHT, P::WIDTH, C>(to.image, y, x, to.channel));
        }
        u64 element = maps::element_of<P::OUT_HEIGHT, P::OUT_WIDTH, C>(to.image, to.row, to.column, to.channel);
        maps::store(output + element, value);
    });
}

// Block: any; grid: any along x.
template <class P>
__device__ void zero_padding2d_backward(const float *d_output, const float *input, float *d_input, int images) {
    constexpr int C = P::CHANNELS, N = maps::TOGETHER<C>;
    maps::each_place<P::HEIGHT, P::WIDTH, C>(images, [&](maps::Place to) {
        u64 from = maps::element_of<P::OUT_HEIGHT, P::OUT_WIDTH, C>(to.image, to.row + P::PAD_TOP,
                                                                    to.column + P::PAD_LEFT, to.channel);
        u64 element = maps::element_of<P::HEIGHT, P::WIDTH, C>(to.image, to.row, to.column, to.channel);
        maps::store_gradient<P>(d_input, input, element, maps::load<N>(d_output + from));
    });
}

// Block: any; grid: any along x.
template <class P> __device__ void up_sampling2d_forward(const float *input, float *output, int images) {
    constexpr int H = P::HEIGHT, W = P::WIDTH, C = P::CHANNELS, N = maps::TOGETHER<C>;
    maps::each_place<H * P::ROWS, W * P::COLUMNS, C>(images, [&](maps::Place to) {
        auto pixel = [&](int y, int x) {
            return maps::load<N>(input + maps::element_of<H, W, C>(to.image, y, x, to.channel));
        };
        maps::Values<N> value;
        if constexpr (P::BILINEAR) {
            auto down = resizing::between<P::ROWS, H>(to.row);
            auto right = resizing::between<P::COLUMNS, W>(to.column);
            auto vertical = [&](int x) {
                return resizing::blend(pixel(down.before, x), pixel(down.behind, x), down.share);
            };
            value = resizing::blend(vertical(right.before), vertical(right.behind), right.share);
        } else {
            value = pixel(to.row / P::ROWS, to.column / P::COLUMNS);
        }
        u64 element = maps::element_of<H * P::ROWS, W * P::COLUMNS, C>(to.image, to.row, to.column, to.channel);
        maps::store(output + element, value);
    });
}

// Block: any; grid: any along x.
template <class P>
__device__ void up_sampling2d_backward(const float *d_output, const float *input, float *d_input, int images) {
    constexpr int H = P::HEIGHT, W = P::WIDTH, C = P::CHANNELS, N = maps::TOGETHER<C>;
    constexpr int OUT_H = H * P::ROWS, OUT_W = W * P::COLUMNS;
    maps::each_place<H, W, C>(images, [&](maps::Place to) {
        auto gradient = [&](int i, int j) {
            return maps::load<N>(d_output + maps::element_of<OUT_H, OUT_W, C>(to.image, i, j, to.channel));
        };
        maps::Values<N> sum = maps::all<N>(0.0f);
        if constexpr (P::BILINEAR) {
            int top = resizing::first_part<P::ROWS>(to.row), left = resizing::first_part<P::COLUMNS>(to.column);
            for (int i = max(top, 0); i < min(top + 2 * P::ROWS, OUT_H); i++) {
                float down, right;
                if (!resizing::between<P::ROWS, H>(i).part(to.row, down)) continue;
                maps::Values<N> row = maps::all<N>(0.0f);
                for (int j = max(left, 0); j < min(left + 2 * P::COLUMNS, OUT_W); j++) {
                    if (!resizing::between<P::COLUMNS, W>(j).part(to.column, right)) continue;
                    maps::add_product(row, gradient(i, j), maps::all<N>(right));
                }
                maps::add_product(sum, row, maps::all<N>(down));
            }
        } else {
            for (int i = 0; i < P::ROWS; i++) {
                for (int j = 0; j < P::COLUMNS; j++) {
                    maps::add(sum, gradient(to.row * P::ROWS + i, to.column * P::COLUMNS + j));
                }
            }
        }
        u64 element = maps::element_of<H, W, C>(to.image, to.row, to.column, to.channel);
        maps::store_gradient<P>(d_input, input, element, sum);
    });
}
