"""The Muon optimiser for convolutions.

Momentum whose direction is orthogonalised before each step: all singular values of the update become about one
(Keller Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def orthogonalize(matrix: Tensor, iterations: int = 3) -> Tensor:
    """Bring the singular values of `matrix`, shape (M, N), to about 0.5 to 1.5 by a Newton-Schulz iteration.

    Every iterate is a polynomial of the Gram matrix times `matrix`: the smaller square matrices alone are iterated.
    """
    # Coefficients of the quintic whose slope at zero is largest among those that stay bounded (the source above).
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    whole = identity = torch.eye(len(x), dtype=x.dtype, device=x.device)
    for _ in range(iterations):
        step = a * identity + b * gram + c * gram @ gram
        whole = step @ whole
        gram = step @ gram @ step
    result: Tensor = whole @ x
    return result.T if tall else result


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; every filter bank keeps the norm of an orthogonal one.

    Since the weights' norm is held, `lr` is the size of a step relative to the weights.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Make one step from the gradients that are there; `closure` is not used."""
        for group in self.param_groups:
            momentum = group["momentum"]
            for parameter in group["params"]:
                gradient = parameter.grad
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(gradient)
                average = state["momentum_buffer"].mul_(momentum).add_(gradient)
                direction = gradient.add(average, alpha=momentum)
                parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
                update = orthogonalize(direction.flatten(1)).view_as(parameter)
                parameter.add_(update, alpha=-group["lr"])
