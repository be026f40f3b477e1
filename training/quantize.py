"""Make the 8-bit network of the served weights: `make quantize`.

The network is written as ONNX and quantised after training by NNCF: weights by channel, activations by layer with
ranges from calibration pictures, and biases corrected for what rounding shifts. It replaces the one in `model/` only if
its accuracy on validation data is not worse by more than `WORST_LOSS`. Run `make evaluate` afterwards: the service
answers with it from then on, so the figures are to be its own. What was measured on corrupted pictures and on pictures
beside CIFAR-10 goes, and of the scope threshold the manifest says what it was fitted with.
"""

import argparse
import os
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from rich.console import Console
from torch import Tensor

from handler.engine import Float32Engine, Int8Engine, UnavailableError
from model.classifier import Classifier, class_logits
from model.images import ImageError, Pixels
from model.manifest import INT8_PATH, MANIFEST_PATH, WEIGHTS_PATH, Manifest, WeightsError, sha256_of
from model.network import Network
from model.networks import load_network
from training.data import Cifar10, DataError, Split, load
from training.evaluate import calibrated_outputs, fitted_under
from training.machine import use_machine
from training.pictures import files_in, png
from training.run import write_json

WORST_LOSS: Final = 0.001
"""Share of the validation pictures by which 8 bits may answer worse."""
FLOAT_CONVOLUTIONS: Final = 3
"""So many of the first stay in float32: they have few channels, so rounding costs most there and float32 least.

The last layer stays in float32 too. Rounding it would save next to no time, and the answers to photographs of the ten
would differ twice as much from the network's own (Kullback-Leibler divergence).
"""
OPSET: Final = 18
SEED: Final = 1


def export(network: Network) -> onnx.ModelProto:
    """Write a network as ONNX: `pixels`, uint8 (batch, 3, side, side), to `outputs`, float32 (batch, 10 or 11)."""
    pixels = torch.zeros(2, 3, network.side, network.side, dtype=torch.uint8)  # one would be taken for a constant
    program = torch.onnx.export(
        network,
        (pixels,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=["pixels"],
        output_names=["outputs"],
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def calibration_pictures(classifier: Classifier, split: Split, photographs: Path | None, count: int) -> list[Pixels]:
    """Give training pictures as the handler reads them; half of them photographs, if there is a folder or zip of them.

    Raises:
        DataError: there is none, or there are fewer pictures of either kind.
    """
    rng = np.random.default_rng(SEED)
    wanted = count // 2 if photographs else count
    if wanted > len(split):
        raise DataError(f"there are {len(split):,} training pictures, and {wanted:,} are to calibrate with")
    chosen = rng.choice(len(split.images), wanted, replace=False)
    pictures = [classifier.read(png(split.images[index])).pixels for index in chosen]
    if photographs:
        files = [data for _, data in files_in(photographs)]
        for index in rng.permutation(len(files)):
            try:
                pictures.append(classifier.read(files[index]).pixels)
            except ImageError:
                continue  # a text file beside the pictures, say
            if len(pictures) == count:
                break
    if len(pictures) < count:
        raise DataError(f"{photographs} holds fewer than {count - wanted} pictures")
    return pictures


def quantize(model: onnx.ModelProto, pictures: list[Pixels]) -> onnx.ModelProto:
    """Quantise a network to 8 bits, with ranges and biases from calibration pictures."""
    os.environ.setdefault("NNCF_CI", "1")  # it would report its use to its makers
    import nncf  # noqa: PLC0415
    from nncf.quantization import advanced_parameters as advanced  # noqa: PLC0415

    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    last = [node.name for node in model.graph.node if node.op_type in {"Gemm", "MatMul"}][-1:]
    quantized: onnx.ModelProto = nncf.quantize(
        model,
        nncf.Dataset([{"pixels": each[None]} for each in pictures]),
        subset_size=len(pictures),
        preset=nncf.QuantizationPreset.MIXED,
        fast_bias_correction=False,  # each layer's after those before it: closer on validation data
        ignored_scope=nncf.IgnoredScope(names=[*convolutions[:FLOAT_CONVOLUTIONS], *last]),
        # One range for all channels of an activation: ONNX Runtime computes no others.
        advanced_parameters=advanced.AdvancedQuantizationParameters(
            activations_quantization_params=advanced.QuantizationParameters(per_channel=False)
        ),
    )
    fit_to_onnx_runtime(quantized)
    return quantized


def fit_to_onnx_runtime(model: onnx.ModelProto) -> None:
    """Bring a quantised network into the form that ONNX Runtime computes in integers throughout, without changing it.

    Activations become unsigned, which its convolutions want; a clip whose output is rounded into a range within the
    clip's own goes, since it would keep its convolution from becoming an integer one.
    """
    graph = model.graph
    values = {each.name: each for each in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    users = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)

    def number(name: str) -> float:
        return float(numpy_helper.to_array(values[name] if name in values else values[makers[name].input[0]]).item())

    def is_within(quantizer: onnx.NodeProto, low: float, high: float) -> bool:
        scale, zero = number(quantizer.input[1]), number(quantizer.input[2])
        limits = np.iinfo(numpy_helper.to_array(values[quantizer.input[2]]).dtype)
        least, most = (limits.min - zero) * scale, (limits.max - zero) * scale
        return least >= low - scale / 2 and most <= high + scale / 2

    for node in [each for each in graph.node if each.op_type == "Clip"]:
        after = users[node.output[0]]
        low, high = number(node.input[1]), number(node.input[2])
        if all(each.op_type == "QuantizeLinear" and is_within(each, low, high) for each in after):
            for each in after:
                each.input[0] = node.input[0]
            graph.node.remove(node)

    quantizers = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    zeros = {each.input[2] for node in quantizers for each in (node, *users[node.output[0]])}
    for name in zeros:
        zero = numpy_helper.to_array(values[name])
        if zero.dtype == np.int8:
            values[name].CopyFrom(numpy_helper.from_array((zero.astype(np.int16) + 128).astype(np.uint8), name))
    del graph.value_info[:]  # it named the types before
    onnx.checker.check_model(model)


def compared(float32: Tensor, int8: Tensor, labels: Tensor) -> dict[str, float]:
    """Set the outputs of both, calibrated alike, side by side."""
    before, after = class_logits(float32), class_logits(int8)
    return {
        "float32_accuracy": round((before.argmax(1) == labels).double().mean().item(), 5),
        "accuracy": round((after.argmax(1) == labels).double().mean().item(), 5),
        "same_answers": round((before.argmax(1) == after.argmax(1)).double().mean().item(), 5),
        "largest_difference": round((before.softmax(1) - after.softmax(1)).abs().max().item(), 4),
    }


def make(
    manifest: Manifest, data: Cifar10, path: Path, console: Console, *, photographs: Path | None, count: int
) -> dict[str, Any]:
    """Quantise the served weights into the file `path`; give what the manifest says of it.

    Raises:
        WeightsError: the weights are not those that the manifest describes.
        UnavailableError: this machine cannot compute with 8 bits, so nothing could be measured.
        DataError: there are too few pictures to calibrate with.
    """
    network = load_network(manifest, WEIGHTS_PATH)
    float32 = Classifier(Float32Engine(network), manifest)
    pictures = calibration_pictures(float32, data.train, photographs, count)
    model = export(network)
    with console.status("quantising"):
        onnx.save(quantize(model, pictures), path)
    described: dict[str, Any] = {
        "file": INT8_PATH.name,
        "sha256": sha256_of(path),
        "calibration": {"pictures": count, "photographs": count - count // 2 if photographs else 0},
        "made_with": {name: version(name) for name in ("nncf", "onnx", "onnxruntime", "torch")},
    }
    document = manifest.document | {"int8": described | {"file": path.name}}
    int8 = Classifier(Int8Engine(path.parent, Manifest.of(document, "the manifest"), torch.get_num_threads()), manifest)
    for name, split in (("validation", data.validation), ("test", data.test)):
        if len(split):
            exact, quick = (
                calibrated_outputs(each, split, console, f"{name} ({each.engine.name})") for each in (float32, int8)
            )
            described[name] = compared(exact, quick, torch.from_numpy(split.labels).long())
    return described


def main() -> None:
    """Make model/int8.onnx and put it into the manifest."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="as for training (default: data)")
    parser.add_argument(
        "--photographs", type=Path, help="a folder or zip file of photographs to calibrate with as well"
    )
    parser.add_argument("--pictures", type=int, default=512, help="how many to calibrate with (default: 512)")
    parser.add_argument("--version", help="the model's version from now on (default: it stays)")
    options = parser.parse_args()
    if options.pictures < 1:
        parser.error(f"--pictures must be 1 or more, not {options.pictures}")
    use_machine(threads=0)
    console = Console()
    new = INT8_PATH.with_suffix(".new")
    try:
        manifest = Manifest.read()
        described = make(
            manifest, load(options.data), new, console, photographs=options.photographs, count=options.pictures
        )
        report(described, console)
        loss = round(described["validation"]["float32_accuracy"] - described["validation"]["accuracy"], 5)
        if loss > WORST_LOSS:
            sys.exit(f"training.quantize: 8 bits cost {loss:.2%} on validation data; model/ stays as it was")
        new.replace(INT8_PATH)
    except (WeightsError, DataError, UnavailableError) as error:
        sys.exit(f"training.quantize: {error}")
    finally:
        new.unlink(missing_ok=True)
    versioned = {"version": options.version} if options.version else {}
    document = manifest.document | versioned | {"int8": described}
    for name in ("robustness", "other_pictures"):
        document.pop(name, None)  # make evaluate does not measure them again by itself
    if document["scope"].get("photographs"):
        document["scope"] = document["scope"] | {"fitted_under": fitted_under(manifest.document)}
    write_json(MANIFEST_PATH, document)
    console.print(
        f"installed {INT8_PATH.name} in model/; make evaluate measures what is served from now on, on photographs with "
        "--scope-photographs and --photographs in ARGS, and once more with ARGS=--corruptions on corrupted pictures"
    )


def report(described: dict[str, Any], console: Console) -> None:
    """Print both accuracies, and how alike the answers are."""
    for name in ("validation", "test"):
        if name in described:
            each = described[name]
            console.print(
                f"{name}: float32 {each['float32_accuracy']:.2%}, int8 {each['accuracy']:.2%}, "
                f"{each['same_answers']:.2%} of the answers the same, probabilities differ by at most "
                f"{each['largest_difference']:.3f}",
                highlight=False,
                soft_wrap=True,
            )


if __name__ == "__main__":
    main()
