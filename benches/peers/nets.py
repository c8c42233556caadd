"""Networks of other kinds than the book's, as benches/networks has them: layers behind each other without a fused kernel
for them, normalisations, strides, shortcuts, depthwise convolutions. For each its input and its batch."""

SHAPES = {"lenet": (28, 28, 1), "resnet": (32, 32, 3), "mobilenet": (96, 96, 3)}
BATCH = 64
# Filters, blocks behind the first convolution, and its stride.
RESNET = ((16, 3, 1), (32, 2, 2), (64, 2, 2))
# Filters, and strides of the depthwise convolution.
MOBILENET = ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1))


def keras_net(name):
    from keras import layers as L, models

    def joined(x, filters, strides=1, window=3):
        x = L.Conv2D(filters, window, strides=strides, padding="same", use_bias=False)(x)
        return L.ReLU()(L.BatchNormalization()(x))

    def lenet(x):
        x = L.AveragePooling2D(2)(L.Conv2D(6, 5, padding="same", activation="tanh")(x))
        x = L.Flatten()(L.AveragePooling2D(2)(L.Conv2D(16, 5, activation="tanh")(x)))
        return L.Dense(84, activation="tanh")(L.Dense(120, activation="tanh")(x))

    def resnet(x):
        for filters, blocks, strides in RESNET:
            x = joined(x, filters, strides)
            for _ in range(blocks):
                y = L.Conv2D(filters, 3, padding="same", use_bias=False)(joined(x, filters))
                x = L.ReLU()(L.Add()([L.BatchNormalization()(y), x]))
        return L.GlobalAveragePooling2D()(x)

    def mobilenet(x):
        x = joined(x, 16, 2)
        for filters, strides in MOBILENET:
            x = L.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x)
            x = joined(L.ReLU()(L.BatchNormalization()(x)), filters, 1, 1)
        return L.GlobalAveragePooling2D()(x)

    x = L.Input(SHAPES[name])
    made = {"lenet": lenet, "resnet": resnet, "mobilenet": mobilenet}[name](x)
    return models.Model(x, L.Dense(10, activation="softmax")(made))


def torch_net(name):
    import torch.nn as nn

    def joined(channels, filters, strides=1, window=3, groups=1):
        convolution = nn.Conv2d(channels, filters, window, strides, window // 2, groups=groups, bias=False)
        return [convolution, nn.BatchNorm2d(filters, eps=1e-3), nn.ReLU()]

    class Shortcut(nn.Module):
        def __init__(self, filters):
            super().__init__()
            self.inner = nn.Sequential(*joined(filters, filters), *joined(filters, filters)[:2])

        def forward(self, x):
            return (x + self.inner(x)).relu()

    def pooled(layers, filters):
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(filters, 10))

    if name == "lenet":
        return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
                             nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10))
    if name == "resnet":
        layers, channels = [], 3
        for filters, blocks, strides in RESNET:
            layers += joined(channels, filters, strides) + [Shortcut(filters) for _ in range(blocks)]; channels = filters
        return pooled(layers, channels)
    layers, channels = joined(3, 16, 2), 16
    for filters, strides in MOBILENET:
        layers += joined(channels, channels, strides, groups=channels) + joined(channels, filters, 1, 1); channels = filters
    return pooled(layers, channels)
