"""The engines that are compared, each with one thread; torch, ONNX Runtime or OpenVINO are loaded by who asks for them.

Every opener takes a folder that has what is in `model/` and the network as `FLOAT32` as well. It gives library and
version, and what computes the outputs, float32, shape (N, 10) or (N, 11), for pixels of 0 to 255, shape (N, 3, side,
side).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from model.classifier import Outputs
from model.images import Pixels
from model.manifest import INT8_PATH, MANIFEST_PATH, WEIGHTS_PATH, Manifest

FLOAT32: Final = "float32.onnx"
BATCHES: Final = (1, 8)
"""The numbers of pictures whose time is measured."""
SIZES: Final = range(1, 9)
"""The numbers of pictures that come together in the service; OpenVINO can compile a program for each."""

Compute = Callable[[Pixels], Outputs]


def _manifest(folder: Path) -> Manifest:
    return Manifest.read(folder / MANIFEST_PATH.name)


def _torch(folder: Path, layout: str, precision: str, *, is_compiled: bool = False) -> tuple[str, Compute]:
    import torch  # noqa: PLC0415

    from model.networks import load_network  # noqa: PLC0415

    torch.set_num_threads(1)
    memory_format, dtype = getattr(torch, layout), getattr(torch, precision)
    network: Any = load_network(_manifest(folder), folder / WEIGHTS_PATH.name)
    network = network.to(memory_format=memory_format)
    if is_compiled:
        import torch._inductor.config as inductor  # noqa: PLC0415

        inductor.freezing = True
        inductor.compile_threads = 1
        network = torch.compile(network, dynamic=False)

    def compute(pixels: Pixels) -> Outputs:
        batch = torch.from_numpy(pixels).contiguous(memory_format=memory_format)
        with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            outputs: Outputs = network(batch).float().numpy()
        return outputs

    return f"torch {torch.__version__}", compute


def _served(folder: Path) -> tuple[str, Compute]:
    from handler.engine import Int8Engine  # noqa: PLC0415

    engine = Int8Engine(folder, _manifest(folder), 1)
    return engine.name.partition(",")[0], engine.outputs


def _onnx_runtime(folder: Path) -> tuple[str, Compute]:
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / FLOAT32, options, providers=["CPUExecutionProvider"])
    return f"ONNX Runtime {onnxruntime.__version__}", lambda pixels: session.run(None, {"pixels": pixels})[0]


def _openvino(folder: Path, file: str, precision: str, *, is_fixed: bool = True) -> tuple[str, Compute]:
    import openvino  # noqa: PLC0415

    core = openvino.Core()
    model = core.read_model(folder / file)
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    requests = {}
    if is_fixed:
        for size in SIZES:
            model.reshape([size, *list(model.inputs[0].get_partial_shape())[1:]])
            requests[size] = core.compile_model(model, "CPU", settings).create_infer_request()
    else:
        requests = dict.fromkeys(SIZES, core.compile_model(model, "CPU", settings).create_infer_request())

    def compute(pixels: Pixels) -> Outputs:
        outputs: Outputs = np.array(requests[len(pixels)].infer([pixels])[0])
        return outputs

    return f"OpenVINO {openvino.__version__.partition('-')[0]}", compute


KINDS: Final[dict[str, Callable[[Path], tuple[str, Compute]]]] = {
    "torch, float32": partial(_torch, layout="contiguous_format", precision="float32"),
    "torch, float32, channels last": partial(_torch, layout="channels_last", precision="float32"),
    "torch, bfloat16, channels last": partial(_torch, layout="channels_last", precision="bfloat16"),
    "torch.compile, float32": partial(_torch, layout="channels_last", precision="float32", is_compiled=True),
    "torch.compile, bfloat16": partial(_torch, layout="channels_last", precision="bfloat16", is_compiled=True),
    "ONNX Runtime, float32": _onnx_runtime,
    "ONNX Runtime, int8": _served,
    "OpenVINO, float32": partial(_openvino, file=FLOAT32, precision="f32"),
    "OpenVINO, bfloat16": partial(_openvino, file=FLOAT32, precision="bf16"),
    "OpenVINO, int8": partial(_openvino, file=INT8_PATH.name, precision="f32"),
    "OpenVINO, int8, the rest in bfloat16": partial(_openvino, file=INT8_PATH.name, precision="bf16"),
    "OpenVINO, the same compiled for any number": partial(
        _openvino, file=INT8_PATH.name, precision="bf16", is_fixed=False
    ),
}
"""By name; the first is what the others are compared with."""
SERVED: Final = "ONNX Runtime, int8"
COMPILED: Final = tuple(name for name in KINDS if name.startswith("torch.compile"))
"""These take long to compile for each number of pictures, so they are not asked for numbers as they come."""
