"""Runs exported networks in ONNX Runtime and compares the outputs with ours.

    CONVNET_ONNX_DIR=target/onnx/files cargo test --test onnx
    python scripts/onnx_check.py target/onnx/files

For every NAME.onnx of the folder there are NAME.input.f32 and NAME.output.f32, as tests/onnx.rs writes them. Prints a
table of the largest difference of each network, as a share of its largest output; the exit status is 1 if any is above
1e-5, if a shape differs, or if there is no network at all. Needs the packages onnxruntime and numpy.
"""

import pathlib
import sys

import numpy
import onnxruntime

TOLERANCE = 1e-5


def sizes(value):
    """The sizes of a graph's input or output without the batch."""
    batch, *rest = value.shape
    assert not isinstance(batch, int), f"{value.name}: the batch is fixed to {batch}"
    return rest


def compare(path):
    """The largest difference, as a share of the largest output."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [given], [result] = session.get_inputs(), session.get_outputs()
    assert (given.name, result.name) == ("input", "output"), f"{given.name}, {result.name}"
    images = numpy.fromfile(path.with_suffix(".input.f32"), "<f4").reshape(-1, *sizes(given))
    ours = numpy.fromfile(path.with_suffix(".output.f32"), "<f4").reshape(len(images), *sizes(result))
    [theirs] = session.run(["output"], {"input": images})
    assert theirs.shape == ours.shape, f"shape {theirs.shape}, ours {ours.shape}"
    largest = max(float(numpy.abs(ours).max()), float(numpy.finfo("f4").tiny))
    return float(numpy.abs(theirs - ours).max()) / largest


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    paths = sorted(pathlib.Path(sys.argv[1]).glob("*.onnx"))
    off = 0
    for path in paths:
        try:
            difference = compare(path)
            # A difference that is no number is not below the tolerance.
            good = difference <= TOLERANCE
            found = f"{difference:.1e}"
        except Exception as error:  # One network that cannot be run must not hide the others.
            good, found = False, f"{type(error).__name__}: {error}"
        off += not good
        print(f"{path.stem:24}{found:>12}  {'ok' if good else 'OFF'}")
    print(f"onnxruntime {onnxruntime.__version__}: {len(paths) - off} of {len(paths)} networks agree to {TOLERANCE}")
    return 1 if off or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
