"""Which parts of a picture spoke for its class."""

from typing import Any

import torch
from torch import Tensor

from model.classifier import class_logits
from model.images import Pixels
from model.network import Network


class Explainer:
    """Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) by Captum on the layer that the network names for it."""

    method = "Grad-CAM"

    def __init__(self, network: Network) -> None:
        # Captum brings matplotlib along: a second and 60 MB that workers who are never asked should not pay.
        from captum.attr import LayerGradCam  # noqa: PLC0415

        self.network = network
        self._grad_cam = LayerGradCam(lambda pixels: class_logits(network(pixels)), network.explained_layer)

    def strengths(self, pixels: Pixels, class_index: int) -> list[list[float]]:
        """Say how much each part of one picture, pixels of shape (3, side, side), spoke for a class.

        Gives rows of numbers from 0, not at all or against it, to 1, the most of all parts; the parts are equal
        rectangles of the network's input, from the top left.
        """
        batch = torch.from_numpy(pixels)[None].float()
        map_: Tensor = self._grad_cam.attribute(batch, target=class_index, relu_attributions=True)
        strengths = map_[0, 0].detach()
        strongest = strengths.max()
        if strongest > 0:
            strengths = strengths / strongest
        rounded: list[list[Any]] = [[round(value, 3) for value in row] for row in strengths.tolist()]
        return rounded
