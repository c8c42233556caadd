//! All layers and their settings on the way into the plan.

use super::{expected, rows_of};
use convnet::layers::up_sampling2d::Interpolation;
use convnet::layers::{Op, batch_normalization, dropout, leaky_relu, relu, rescaling, up_sampling2d, zero_padding2d};
use convnet::plan::{Initializer, InitializerKind};
use convnet::prelude::*;

const SLOPE: f64 = 0.2;

mod rates {
    pub const DROP: f64 = 0.25;
}

convnet! {
    /// One of each kind, with Keras's names.
    type EachKind = [
        Input(20, 16, 3),
        Rescaling(1. / 255),
        ZeroPadding2D(((1, 0), (2, 1))),
        Conv2D(8, 3, groups = 1, kernel_initializer = "he_normal", kernel_regularizer = L2(0.001)),
        Conv2D(6, 3, groups = 2, padding = "same"),
        BatchNormalization(),
        ReLU(max_value = 6.0),
        DepthwiseConv2D((3, 3), depth_multiplier = 2, padding = "same", activation = "relu"),
        LeakyReLU(SLOPE),
        SeparableConv2D(10, 3, use_bias = false, pointwise_initializer = LecunUniform()),
        Activation("tanh"),
        AveragePooling2D(),
        UpSampling2D((2, 3), interpolation = "bilinear"),
        MaxPooling2D(2),
        Dropout(rates::DROP),
        GlobalMaxPooling2D(keepdims = true),
        GlobalAveragePooling2D(),
        Reshape((1, 2, 5)),
        Flatten(),
        BatchNormalization(center = false, momentum = 0.9, epsilon = 1e-5, gamma_initializer = "zeros"),
        Dense(4),
        Softmax(),
    ];
}

#[test]
fn every_kind_of_layer_reaches_the_plan() {
    let rows = rows_of::<EachKind>();
    assert_eq!(
        rows,
        expected([
            ("rescaling_1", &[20, 16, 3], 0),
            ("zero_padding2d_1", &[21, 19, 3], 0),
            ("conv2d_1", &[19, 17, 8], 3 * 3 * 3 * 8 + 8),
            ("conv2d_2", &[19, 17, 6], 3 * 3 * 4 * 6 + 6),
            ("batch_normalization_1", &[19, 17, 6], 24),
            ("re_lu_1", &[19, 17, 6], 0),
            ("depthwise_conv2d_1", &[19, 17, 12], 3 * 3 * 12 + 12),
            ("leaky_re_lu_1", &[19, 17, 12], 0),
            ("separable_conv2d_1", &[17, 15, 10], 3 * 3 * 12 + 12 * 10),
            ("activation_1", &[17, 15, 10], 0),
            ("average_pooling2d_1", &[8, 7, 10], 0),
            ("up_sampling2d_1", &[16, 21, 10], 0),
            ("max_pooling2d_1", &[8, 10, 10], 0),
            ("dropout_1", &[8, 10, 10], 0),
            ("global_max_pooling2d_1", &[1, 1, 10], 0),
            ("global_average_pooling2d_1", &[10], 0),
            ("reshape_1", &[1, 2, 5], 0),
            ("flatten_1", &[10], 0),
            ("batch_normalization_2", &[10], 30),
            ("dense_1", &[4], 44),
            ("softmax_1", &[4], 0),
        ])
    );
    assert_eq!(EachKind::NON_TRAINABLE_PARAMS, 12 + 20);
}

#[test]
fn settings_of_all_layers_reach_the_plan() {
    let layers = EachKind::PLAN.layers;
    assert_eq!(layers[0].op, Op::Rescaling(rescaling::Spec { scale: 1.0 / 255.0, offset: 0.0 }));
    assert_eq!(layers[1].op, Op::ZeroPadding2D(zero_padding2d::Spec { top: 1, bottom: 0, left: 2, right: 1 }));
    let Op::Conv2D(grouped) = layers[3].op else { panic!("a convolution") };
    assert_eq!(grouped.groups, 2);
    assert_eq!(layers[5].op, Op::ReLU(relu::Spec { max_value: 6.0, negative_slope: 0.0, threshold: 0.0 }));
    assert_eq!(layers[7].op, Op::LeakyReLU(leaky_relu::Spec { negative_slope: 0.2 }));
    let rows_and_columns = up_sampling2d::Spec { rows: 2, columns: 3, interpolation: Interpolation::Bilinear };
    assert_eq!(layers[11].op, Op::UpSampling2D(rows_and_columns));
    assert_eq!(layers[13].op, Op::Dropout(dropout::Spec { rate: 0.25 }));
    let normalization = batch_normalization::Spec { momentum: 0.9, epsilon: 1e-5, center: false, scale: true };
    assert_eq!(layers[18].op, Op::BatchNormalization(normalization));
    assert_eq!(layers[20].op, Op::Softmax);

    let [kernel, bias] = layers[2].weights() else { panic!("two weights") };
    assert_eq!(kernel.initializer, InitializerKind::HeNormal.for_fans(27, 72));
    assert_eq!((kernel.l2, bias.l2), (0.001, 0.0));
    let [depthwise, pointwise] = layers[8].weights() else { panic!("two weights") };
    assert_eq!(depthwise.initializer, InitializerKind::GlorotUniform.for_fans(9 * 12, 9));
    assert_eq!(pointwise.initializer, InitializerKind::LecunUniform.for_fans(12, 10));
    assert_eq!(layers[18].weights()[0].initializer, Initializer::Zeros);
}
