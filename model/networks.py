"""The networks by name: from a manifest's description to a network with its weights."""

from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file

from model.compact_cnn import CompactCnn
from model.efficientnet_lite import EfficientNetLite
from model.manifest import WEIGHTS_PATH, Manifest, WeightsError, sha256_of
from model.network import Network, channels_last
from model.resnet import ResNet
from model.vgg16 import Vgg16
from model.vgg_style import VggStyle
from model.whitened_convnet import WhitenedConvNet

NETWORKS: Final[dict[str, type[Network]]] = {
    each.__name__: each for each in (WhitenedConvNet, EfficientNetLite, CompactCnn, VggStyle, ResNet, Vgg16)
}


def build(description: dict[str, Any]) -> Network:
    """Make an untrained network from a manifest's `network`, which may hold more than it needs.

    Raises:
        KeyError: it lacks something.
        ValueError: it names no network or a wrong value.
    """
    kind = NETWORKS.get(description["name"])
    if kind is None:
        raise ValueError(f"there is no network {description['name']!r}; there are {', '.join(NETWORKS)}")
    return kind(**{name: description[name] for name in kind.arguments})


def load_network(manifest: Manifest, path: Path = WEIGHTS_PATH) -> Network:
    """Build the manifest's network with the weights at `path`, in evaluation mode.

    Raises:
        WeightsError: the weights are missing, damaged or not those that the manifest describes, or it describes no
            network of this project.
    """
    found = sha256_of(path)
    if found != manifest.sha256:
        raise WeightsError(f"{path} has SHA-256 {found}, but its manifest describes {manifest.sha256}")
    try:
        network = build(manifest.document["network"])
    except (KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"the manifest describes no network of this project: {error!r}") from error
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{path} does not hold this network's weights: {error}") from error
    channels_last(network)
    network.eval()
    return network
