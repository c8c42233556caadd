#!/usr/bin/env python3
"""convnet beside its peers, in one run: each job in turn by each program, several rounds, so that a machine that
drifts slows all of them; prints a table with the ratio of each peer's median to ours.

    CONVNET_DATA=… benches/peers/compare.py [--level avx2] [--threads 1] [--rounds 3] [JOB …]

Installs the peers on first use (benches/peers/setup.sh, about 3 GB). `--threads` limits all alike. `--level avx2` limits
all but ONNX Runtime, which has no such switch, to AVX2: us by CONVNET_SIMD, the others by oneDNN's, PyTorch's and MKL's
variables. The ratios are to our own default, f32, and the best peer is the best of those in f32, too; what is allowed
less precision (`Precision::Tf32` and `Bf16` of ours, bf16 of OpenVINO) stands beside, and bf16 is compared with bf16.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
JOBS = ["mnist_train", "mnist_fit", "mnist_infer_1", "mnist_infer_1000", "cats_train", "vgg16_infer",
        "lenet_train", "resnet_train", "mobilenet_train"]
OURS = {"convnet": "f32", "convnet_tf32": "tf32", "convnet_bf16": "bf16"}
PEERS = ["keras", "torch_cl", "onnxruntime", "openvino", "openvino_bf16"]
OTHER_PRECISION = {"openvino_bf16"}
LIMITS = {
    "avx2": {
        "CONVNET_SIMD": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
}


def built():
    """The bench program, built and found without running it."""
    lines = subprocess.run(
        ["cargo", "bench", "--bench", "jobs", "--no-run", "--message-format", "short"],
        cwd=ROOT, check=True, capture_output=True, text=True).stderr.splitlines()
    path = next(line for line in reversed(lines) if "Executable" in line).split("(")[1].rstrip(")")
    return [str(ROOT / path)]


def median_ms(command, job, environment):
    """What one program says of one job, or None where it has no answer; why one fails goes to stderr."""
    run = subprocess.run([*command, job], capture_output=True, text=True, cwd=ROOT, env=environment)
    if run.returncode != 0:
        said = [line for line in run.stderr.splitlines() if line.strip()]
        reason = said[-1] if said else f"no message, exit code {run.returncode}"
        print(f"{' '.join([*command[1:], job])} failed: {reason}", file=sys.stderr)
    words = run.stdout.split()
    return float(words[words.index("median") + 1]) if "median" in words else None


def machine():
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    first = {}
    for key, _, value in (line.partition(":") for line in lines):
        first.setdefault(key.strip(), value.strip())
    flags = first.get("flags", "").split()
    level = next((name for name in ("avx512f", "avx2") if name in flags), "neither AVX2 nor AVX-512")
    amx = ", AMX" if "amx_bf16" in flags else ""
    return f"{os.cpu_count()} × {first.get('model name', 'unknown processor')} ({level}{amx})"


def row(job, programs, rounds, environment):
    """The table's line of a job: medians, ratios, and the best peer's ratio."""
    times = {name: [] for name in programs}
    for _ in range(rounds):
        for name, command in programs.items():
            # A program that had no answer has none in the next round.
            if None not in times[name]:
                precision = {"PRECISION": OURS[name]} if name in OURS else {}
                times[name].append(median_ms(command, job, environment | precision))
    known = {name: statistics.median(found) for name, found in times.items() if None not in found}
    ours = known.get("convnet")
    if ours is None:
        return [job, "–"]
    cell = lambda name: f"{known[name]:.3f} ({known[name] / ours:.1f}×)" if name in known else "–"
    best = min((known[name] for name in PEERS if name in known and name not in OTHER_PRECISION), default=None)
    bf16 = [known.get(name) for name in ("openvino_bf16", "convnet_bf16")]
    return [
        job, f"{ours:.3f}", *map(cell, list(programs)[1:]),
        f"{best / ours:.1f}×" if best else "–",
        f"{bf16[0] / bf16[1]:.1f}×" if None not in bf16 else "–",
    ]


def main():
    parser = argparse.ArgumentParser(description="convnet beside its peers")
    parser.add_argument("jobs", nargs="*", default=JOBS, metavar="JOB", help=f"of {', '.join(JOBS)}")
    parser.add_argument("--level", choices=sorted(LIMITS), help="the vector instructions that all may use")
    parser.add_argument("--threads", type=int, help="the threads that all may use")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    environment = os.environ | LIMITS.get(options.level, {})
    if options.threads:
        environment["THREADS"] = str(options.threads)

    python = subprocess.run([HERE / "setup.sh"], check=True, capture_output=True, text=True).stdout.strip()
    bench = built()
    programs = {name: bench for name in OURS} | {peer: [python, str(HERE / "bench.py"), peer] for peer in PEERS}
    limits = [f"all on {options.threads} thread" if options.threads else "", f"all held to {options.level}" if options.level else ""]
    print("; ".join(filter(None, [machine(), *limits])))
    print(f"milliseconds, median of {options.rounds} rounds, and how often it is our time\n")
    print("| job | " + " | ".join([*programs, "best f32 peer", "bf16 beside bf16"]) + " |")
    print("|---|" + "---|" * (len(programs) + 2))
    for job in options.jobs:
        print("| " + " | ".join(row(job, programs, options.rounds, environment)) + " |", flush=True)


if __name__ == "__main__":
    main()
