"""The networks by name: from a manifest's description to a network and back."""

from typing import Any, Final

from model.compact_cnn import CompactCnn
from model.efficientnet_lite import EfficientNetLite
from model.network import Network
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
