"""What computes the network: ONNX Runtime in 8-bit integers where this CPU can, else torch in float32.

This is the one place that knows either. The 8-bit network is made of the weights by `make quantize` and lies beside
them. A CPU without dot products of 8-bit integers would compute it slowly and, on x86, wrongly, for its sums of two
products saturate: such a CPU gets the weights as they are.
"""

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final

from model.classifier import Engine, Outputs
from model.images import Pixels
from model.manifest import Manifest, WeightsError, sha256_of

if TYPE_CHECKING:
    from model.network import Network

ENGINES: Final = ("auto", "int8", "float32")

# What Linux calls the instructions: Intel's and AMD's VNNI, Arm's dot products.
_DOT_PRODUCTS: Final = frozenset(("avx512_vnni", "avx_vnni", "asimddp"))


class UnavailableError(Exception):
    """The 8-bit network cannot be computed here; the message says why."""


class Int8Engine:
    """The quantised network, by ONNX Runtime."""

    def __init__(self, folder: Path, manifest: Manifest, threads: int) -> None:
        """Load it from `folder`.

        Raises:
            UnavailableError: there is none, or this machine cannot compute it.
            WeightsError: it is not the one that the manifest describes.
        """
        described = manifest.document.get("int8")
        if described is None:
            raise UnavailableError("these weights were not quantised")
        if not has_dot_products():
            raise UnavailableError("this CPU has no dot products of 8-bit integers")
        try:
            import onnxruntime  # noqa: PLC0415  # not every platform that torch runs on has it
        except ImportError as error:
            raise UnavailableError("ONNX Runtime is not installed") from error

        path = folder / described["file"]
        found = sha256_of(path)
        if found != described["sha256"]:
            raise WeightsError(f"{path} has SHA-256 {found}, but its manifest describes {described['sha256']}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.name = f"ONNX Runtime {onnxruntime.__version__}, int8"
        self.side: int = self.session.get_inputs()[0].shape[-1]

    def outputs(self, pixels: Pixels) -> Outputs:
        outputs: Outputs = self.session.run(None, {"pixels": pixels})[0]
        return outputs


class Float32Engine:
    """A network as it is, by torch."""

    def __init__(self, network: "Network") -> None:
        import torch  # noqa: PLC0415  # a second and 200 MB that only those pay who need it

        self.torch = torch
        self.network = network
        self.name = f"torch {torch.__version__}, float32"
        self.side = network.side

    @classmethod
    def load(cls, weights: Path, manifest: Manifest, threads: int) -> "Float32Engine":
        """Load the network from its weights.

        Raises:
            WeightsError: they are missing, damaged or not those that the manifest describes.
        """
        from model.networks import load_network  # noqa: PLC0415

        engine = cls(load_network(manifest, weights))
        engine.torch.set_num_threads(threads)
        return engine

    def outputs(self, pixels: Pixels) -> Outputs:
        batch = self.torch.from_numpy(pixels).contiguous(memory_format=self.torch.channels_last)
        with self.torch.inference_mode():
            outputs: Outputs = self.network(batch).numpy()
        return outputs


def open_engine(weights: Path, manifest: Manifest, threads: int, wanted: str = "auto") -> tuple[Engine, str]:
    """Open the fastest engine there is for a network, or the one that is `wanted`; beside it, why it is not int8.

    Raises:
        UnavailableError: int8 was wanted by name and cannot be had.
        WeightsError: the files are missing, damaged or not those that the manifest describes.
        ValueError: `wanted` is none of `ENGINES`.
    """
    if wanted not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {wanted!r}")
    if wanted == "float32":
        return Float32Engine.load(weights, manifest, threads), "float32 was asked for"
    try:
        return Int8Engine(weights.parent, manifest, threads), ""
    except UnavailableError as error:
        if wanted == "int8":
            raise
        return Float32Engine.load(weights, manifest, threads), str(error)


def has_dot_products() -> bool:
    """Say whether this CPU has instructions for sums of products of 8-bit integers."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # no Linux; Apple's own processors all have them
        return platform.system() == "Darwin" and platform.machine() == "arm64"
    flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}
    return bool(flags & _DOT_PRODUCTS)
