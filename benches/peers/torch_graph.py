#!/usr/bin/env python3
"""The jobs of benches/cuda.rs in PyTorch: channels last, the whole step in one CUDA graph, the data set on the device.

    CONVNET_DATA=… PRECISION=tf32 benches/peers/torch_graph.py [JOB …]

PRECISION: f32, tf32 (the default) or bf16 (training by autocast). A line a job: program, job, median and least milliseconds.
"""
import gzip
import os
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

PRECISION = os.environ.get("PRECISION", "tf32")
JOBS = ["mnist_step", "mnist_5_epochs", "cats_step", "vgg16_infer"]
EPOCHS, PREDICTIONS = 9, 200
DEVICE = torch.device("cuda")


def mnist(part):
    root = os.environ["CONVNET_DATA"]
    with gzip.open(f"{root}/mnist/{part}-images-idx3-ubyte.gz") as f:
        pixels = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(f"{root}/mnist/{part}-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8)
    return torch.from_numpy(pixels.copy()).to(DEVICE), torch.from_numpy(labels.astype(np.int64)).to(DEVICE)


def digits():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10))


def cats():
    layers = []
    for before, after in ((3, 32), (32, 64), (64, 128), (128, 128)):
        layers += [nn.Conv2d(before, after, 3), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(7 * 7 * 128, 512), nn.ReLU(), nn.Linear(512, 1))


def vgg16():
    layers, before = [], 3
    for count, after in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(count):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
            before = after
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class Steps:
    """A training step on images `index` of a set, as one graph."""

    def __init__(self, net, loss, pixels, labels, batch, rate):
        self.net, self.loss, self.pixels, self.labels = net.to(DEVICE, memory_format=torch.channels_last), loss, pixels, labels
        self.optimizer = torch.optim.RMSprop(net.parameters(), lr=rate, alpha=0.9, eps=1e-7, capturable=True)
        self.index = torch.zeros(batch, dtype=torch.long, device=DEVICE)
        self.graph = None

    def step(self):
        x = self.pixels[self.index]
        x = x.float() / 255 if x.dtype == torch.uint8 else x
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cuda", torch.bfloat16, enabled=PRECISION == "bf16"):
            loss = self.loss(self.net(x), self.labels[self.index])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def epoch(self):
        order = torch.randperm(len(self.pixels), device=DEVICE)
        if self.graph is None:
            side = torch.cuda.Stream()
            with torch.cuda.stream(side):
                for _ in range(3):
                    self.step()
            torch.cuda.current_stream().wait_stream(side)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.step()
        # The smaller last batch, for which the graph is too large, is left out, and not counted.
        batches = order[: len(order) // len(self.index) * len(self.index)].split(len(self.index))
        for batch in batches:
            self.index.copy_(batch)
            self.graph.replay()
        torch.cuda.synchronize()
        return len(batches)


def epochs(steps):
    times = []
    for _ in range(1 + EPOCHS):
        start = time.perf_counter()
        count = steps.epoch()
        times.append(1e3 * (time.perf_counter() - start) / count)
    return times[1:]


def mnist_steps(train):
    return Steps(digits(), F.cross_entropy, *train, 64, 1e-3)


def mnist_5_epochs():
    # Files are read before; only what goes to the device is timed, as on the other side.
    train, (x, y) = [[part.cpu() for part in mnist(name)] for name in ("train", "t10k")]
    torch.cuda.synchronize()
    start = time.perf_counter()
    steps = mnist_steps([part.to(DEVICE) for part in train])
    x, y = x.to(DEVICE), y.to(DEVICE)
    for _ in range(5):
        steps.epoch()
    with torch.inference_mode():
        found = steps.net((x.float() / 255).contiguous(memory_format=torch.channels_last)).argmax(1)
        accuracy = (found == y).float().mean().item()
    print(f"torch accuracy {accuracy:.4f} after 5 epochs")
    return [1e3 * (time.perf_counter() - start)]


def cats_steps():
    pixels = torch.rand(640, 3, 150, 150).to(DEVICE, memory_format=torch.channels_last)
    labels = (torch.rand(640, 1) > 0.5).float().to(DEVICE)
    return Steps(cats(), F.binary_cross_entropy_with_logits, pixels, labels, 32, 1e-4)


def vgg16_infer():
    kind = torch.bfloat16 if PRECISION == "bf16" else torch.float32
    net = vgg16().to(DEVICE, kind, memory_format=torch.channels_last).eval()
    given = torch.rand(8, 3, 150, 150).contiguous(memory_format=torch.channels_last).pin_memory()
    x = given.to(DEVICE, kind)
    run = lambda: net(x)
    with torch.inference_mode():
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = run()
        times = []
        for _ in range(PREDICTIONS):
            start = time.perf_counter()
            x.copy_(given)
            graph.replay()
            y.float().cpu()
            times.append(1e3 * (time.perf_counter() - start))
    return times[1:]


def main():
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = PRECISION != "f32"
    jobs = {"mnist_step": lambda: epochs(mnist_steps(mnist("train"))), "mnist_5_epochs": mnist_5_epochs,
            "cats_step": lambda: epochs(cats_steps()), "vgg16_infer": vgg16_infer}
    for job in sys.argv[1:] or JOBS:
        times = sorted(jobs[job]())
        print(f"torch {job} median {times[len(times) // 2]:.4f} ms least {times[0]:.4f} ms", flush=True)


if __name__ == "__main__":
    main()
