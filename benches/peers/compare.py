#!/usr/bin/env python3
"""convnet beside its peers, in one run: each job in turn by each program, several rounds, so that a machine that
drifts slows all of them; prints a table with the ratio of each peer's median to ours.

    CONVNET_DATA=… benches/peers/compare.py mnist_train mnist_infer_1 mnist_infer_1000

Installs the peers on first use (benches/peers/setup.sh, about 3 GB). THREADS limits all alike.
"""
import os
import pathlib
import statistics
import subprocess
import sys

ROUNDS = int(os.environ.get("ROUNDS", "3"))
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PEERS = ["keras", "torch_cl", "onnxruntime", "openvino"]


def built():
    """The bench program, built and found without running it."""
    lines = subprocess.run(
        ["cargo", "bench", "--bench", "jobs", "--no-run", "--message-format", "short"],
        cwd=ROOT, check=True, capture_output=True, text=True).stderr.splitlines()
    path = next(line for line in reversed(lines) if "Executable" in line).split("(")[1].rstrip(")")
    return [str(ROOT / path)]


def median_ms(command, job):
    """What one program says of one job, or None where it has no answer."""
    run = subprocess.run([*command, job], capture_output=True, text=True, cwd=ROOT)
    words = run.stdout.split()
    return float(words[words.index("median") + 1]) if "median" in words else None


def machine():
    info = pathlib.Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return f"{os.cpu_count()} × {names[0] if names else 'unknown processor'}"


def main():
    jobs = sys.argv[1:] or ["mnist_train", "mnist_infer_1", "mnist_infer_1000"]
    python = subprocess.run([HERE / "setup.sh"], check=True, capture_output=True, text=True).stdout.strip()
    programs = {"convnet": built()} | {peer: [python, str(HERE / "bench.py"), peer] for peer in PEERS}
    print(f"{machine()}; median of {ROUNDS} rounds, milliseconds (ratio to convnet)\n")
    print("| job | " + " | ".join(programs) + " |")
    print("|---|" + "---|" * len(programs))
    for job in jobs:
        times = {name: [] for name in programs}
        for _ in range(ROUNDS):
            for name, command in programs.items():
                times[name].append(median_ms(command, job))
        cells = []
        ours = statistics.median(times["convnet"]) if None not in times["convnet"] else None
        for name in programs:
            known = [time for time in times[name] if time is not None]
            if not known or ours is None:
                cells.append("–")
            else:
                time = statistics.median(known)
                cells.append(f"{time:.3f}" if name == "convnet" else f"{time:.3f} ({time / ours:.1f}×)")
        print(f"| {job} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
