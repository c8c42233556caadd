#!/usr/bin/env python3
"""The jobs that convnet is compared on, in the frameworks that a user would pick instead.

    $(benches/peers/setup.sh) benches/peers/bench.py keras mnist_train cats_train

Peers: keras (TensorFlow), torch, torch_cl (channels-last), onnxruntime, openvino, openvino_bf16 (its default where the
processor has bf16; the others compute in f32).
Jobs: mnist_train (batch 64, one step: forward, backward, RMSprop, on the same images again and again), mnist_fit (the same
steps over the training set, batch after batch), mnist_infer_1, mnist_infer_64, mnist_infer_1000,
cats_train (the 150x150 net of section 5.2, batch 32), vgg16_infer (the convolutional base at 150x150, 8 images; vgg16_infer_1: one), and of
networks of other kinds (lenet, resnet, mobilenet, see nets.py) lenet_train (batch 64, one step), lenet_infer_1,
lenet_infer_64 and so on.
A line a job: peer, job, median and least milliseconds. MNIST jobs run on real images where CONVNET_DATA is set:
kernels that skip zeros are only fairly measured on real data.
"""
import gzip, itertools, os, sys, time
import numpy as np
import nets

# How many images VGG16's jobs predict.
VGG16 = {"vgg16_infer": 8, "vgg16_infer_1": 1}
THREADS = int(os.environ.get("THREADS", os.cpu_count() or 1))


def measure(run, warmup=3, seconds=4.0, rounds=7):
    for _ in range(warmup):
        run()
    start = time.perf_counter(); run(); once = time.perf_counter() - start
    inner = max(1, int(seconds / rounds / max(once, 1e-6)))
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(inner):
            run()
        times.append((time.perf_counter() - start) / inner * 1e3)
    return float(np.median(times)), min(times)


def mnist(count):
    root = os.environ.get("CONVNET_DATA")
    if root:
        with gzip.open(f"{root}/mnist/train-images-idx3-ubyte.gz") as f:
            raw = np.frombuffer(f.read(16 + count * 784), np.uint8, offset=16)
        with gzip.open(f"{root}/mnist/train-labels-idx1-ubyte.gz") as f:
            labels = np.frombuffer(f.read(8 + count), np.uint8, offset=8)
        return raw.reshape(count, 28, 28, 1).astype("float32") / 255, labels.astype("int64")
    rng = np.random.default_rng(0)
    return rng.random((count, 28, 28, 1), np.float32), rng.integers(0, 10, count)


def mnist_batches():
    """The training set in batches of 64."""
    x, y = mnist(60000)
    return [(x[i:i + 64], y[i:i + 64]) for i in range(0, 60000 - 63, 64)]


def noise(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


def inference(job):
    """The network and the images of lenet_infer_64 and the like."""
    name, _, count = job.partition("_infer_")
    return (name, noise(int(count), *nets.SHAPES[name])) if name in nets.SHAPES and count else (None, None)


def keras_job(job):
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras, tensorflow as tf
    from keras import layers, models
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    digits = lambda: models.Sequential([
        layers.Input((28, 28, 1)), layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2), layers.Conv2D(64, 3, activation="relu"),
        layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax")])
    if job == "mnist_train":
        net = digits(); net.compile("rmsprop", "categorical_crossentropy")
        x, y = mnist(64); x, y = tf.constant(x), tf.one_hot(y, 10)
        return lambda: net.train_on_batch(x, y)
    if job == "mnist_fit":
        net = digits(); net.compile("rmsprop", "categorical_crossentropy")
        batches = itertools.cycle([(tf.constant(x), tf.one_hot(y, 10)) for x, y in mnist_batches()])
        return lambda: net.train_on_batch(*next(batches))
    if job.startswith("mnist_infer_"):
        net = digits(); call = tf.function(lambda t: net(t, training=False)); x = tf.constant(mnist(int(job[12:]))[0])
        return lambda: call(x).numpy()
    if job == "cats_train":
        net = models.Sequential([layers.Input((150, 150, 3))]
                                + [l for f in (32, 64, 128, 128) for l in (layers.Conv2D(f, 3, activation="relu"), layers.MaxPooling2D(2))]
                                + [layers.Flatten(), layers.Dense(512, activation="relu"), layers.Dense(1, activation="sigmoid")])
        net.compile(keras.optimizers.RMSprop(1e-4), "binary_crossentropy")
        x, y = tf.constant(noise(32, 150, 150, 3)), tf.constant((noise(32, 1) > 0.5).astype("float32"))
        return lambda: net.train_on_batch(x, y)
    if job.removesuffix("_train") in nets.SHAPES:
        name = job.removesuffix("_train"); net = nets.keras_net(name); net.compile("rmsprop", "categorical_crossentropy")
        x, y = tf.constant(noise(nets.BATCH, *nets.SHAPES[name])), tf.one_hot(np.arange(nets.BATCH) * 7 % 10, 10)
        return lambda: net.train_on_batch(x, y)
    name, x = inference(job)
    if name:
        net = nets.keras_net(name); call = tf.function(lambda t: net(t, training=False)); x = tf.constant(x)
        return lambda: call(x).numpy()
    if job in VGG16:
        net = keras.applications.VGG16(weights=None, include_top=False, input_shape=(150, 150, 3))
        call = tf.function(lambda t: net(t, training=False)); x = tf.constant(noise(VGG16[job], 150, 150, 3))
        return lambda: call(x).numpy()


def torch_nets():
    import torch.nn as nn
    digits = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
                           nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10))
    cats, channels = [], 3
    for filters in (32, 64, 128, 128):
        cats += [nn.Conv2d(channels, filters, 3), nn.ReLU(), nn.MaxPool2d(2)]; channels = filters
    cats = nn.Sequential(*cats, nn.Flatten(), nn.Linear(6272, 512), nn.ReLU(), nn.Linear(512, 1))
    vgg, channels = [], 3
    for filters, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            vgg += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]; channels = filters
        vgg.append(nn.MaxPool2d(2))
    return digits, cats, nn.Sequential(*vgg)


def torch_job(job, channels_last):
    import torch, torch.nn.functional as F
    torch.set_num_threads(THREADS)
    form = torch.channels_last if channels_last else torch.contiguous_format
    digits, cats, vgg = (net.to(memory_format=form) for net in torch_nets())
    image = lambda a: torch.from_numpy(np.ascontiguousarray(a.transpose(0, 3, 1, 2))).to(memory_format=form)

    def train(net, batches, loss, lr):
        optimizer = torch.optim.RMSprop(net.parameters(), lr=lr, alpha=0.9)
        batches = itertools.cycle(batches)
        def step():
            x, y = next(batches)
            optimizer.zero_grad(set_to_none=True); loss(net(x), y).backward(); optimizer.step()
        return step

    def infer(net, x):
        def run():
            with torch.inference_mode():
                net(x)
        net.eval(); return run

    if job == "mnist_train":
        x, y = mnist(64); return train(digits, [(image(x), torch.from_numpy(y))], F.cross_entropy, 1e-3)
    if job == "mnist_fit":
        batches = [(image(x), torch.from_numpy(y)) for x, y in mnist_batches()]
        return train(digits, batches, F.cross_entropy, 1e-3)
    if job.startswith("mnist_infer_"):
        return infer(digits, image(mnist(int(job[12:]))[0]))
    if job == "cats_train":
        y = torch.from_numpy((noise(32, 1) > 0.5).astype("float32"))
        return train(cats, [(image(noise(32, 150, 150, 3)), y)], F.binary_cross_entropy_with_logits, 1e-4)
    if job.removesuffix("_train") in nets.SHAPES:
        name = job.removesuffix("_train"); x = noise(nets.BATCH, *nets.SHAPES[name]); y = torch.from_numpy(np.arange(nets.BATCH) * 7 % 10)
        return train(nets.torch_net(name).to(memory_format=form), [(image(x), y)], F.cross_entropy, 1e-3)
    name, x = inference(job)
    if name:
        return infer(nets.torch_net(name).to(memory_format=form), image(x))
    if job in VGG16:
        return infer(vgg, image(noise(VGG16[job], 150, 150, 3)))


def onnx_job(job, engine):
    import tempfile, torch
    digits, _, vgg = torch_nets()
    if job.startswith("mnist_infer_"):
        net, x = digits, mnist(int(job[12:]))[0]
    elif job in VGG16:
        net, x = vgg, noise(VGG16[job], 150, 150, 3)
    elif (other := inference(job))[0]:
        net, x = nets.torch_net(other[0]), other[1]
    else:
        return None
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    path = tempfile.mkdtemp() + "/net.onnx"
    torch.onnx.export(net.eval(), (torch.from_numpy(x),), path, verbose=False)
    if engine == "onnxruntime":
        import onnxruntime
        def session(threads):
            options = onnxruntime.SessionOptions(); options.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]); name = session.get_inputs()[0].name
            return lambda: session.run(None, {name: x})
        # A single image may be faster on one thread.
        runs = [session(threads) for threads in ({1, THREADS} if len(x) == 1 else {THREADS})]
        return min(runs, key=lambda run: measure(run, seconds=0.5)[0]) if len(runs) > 1 else runs[0]
    import openvino
    request = openvino.Core().compile_model(path, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": THREADS,
                                                          "INFERENCE_PRECISION_HINT": "bf16" if engine == "openvino_bf16" else "f32"}).create_infer_request()
    return lambda: request.infer([x])


def main():
    peer, jobs = sys.argv[1], sys.argv[2:]
    make = {"keras": keras_job, "torch": lambda j: torch_job(j, False), "torch_cl": lambda j: torch_job(j, True),
            "onnxruntime": lambda j: onnx_job(j, "onnxruntime"), "openvino": lambda j: onnx_job(j, "openvino"), "openvino_bf16": lambda j: onnx_job(j, "openvino_bf16")}[peer]
    for job in jobs:
        run = make(job)
        if run is None:
            print(f"{peer} {job} does not apply", flush=True); continue
        median, least = measure(run)
        print(f"{peer} {job} median {median:.4f} ms least {least:.4f} ms", flush=True)


if __name__ == "__main__":
    main()
