"""Gradients of the small networks over latents, written out.

At these sizes autograd's graph costs as much as the products that it differentiates. The chain rule
of a perceptron is short: layer i maps h to z = h W + b and h' = f(z), and from g = dL/dz follow
dL/dW = h^T g, dL/db = sum g and dL/dh = g W^T.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from safe_skills.ls3.networks import Classifier, EnsembleMLP


class Backpropagation:
    """Forward and backward pass of a stack of E perceptrons of one shape.

    The parameters' `grad` are tensors of this object, overwritten by every backward pass.

    Args:
        net: an ensemble, or a classifier, which is an ensemble of one. Hidden units are SiLU or
            ReLU.

    Raises:
        TypeError: for a network of another kind.
    """

    def __init__(self, net: EnsembleMLP | Classifier) -> None:
        if isinstance(net, EnsembleMLP):
            activation = net.activation
            parameters = list(zip(net.weights, net.biases, strict=True))
            views = [(weight.data, bias.data) for weight, bias in parameters]
        else:
            activation = net.net[1]
            linear = [layer for layer in net.net if isinstance(layer, nn.Linear)]
            parameters = [(layer.weight, layer.bias) for layer in linear]
            views = [(weight.data.T[None], bias.data[None, None]) for weight, bias in parameters]
        if not isinstance(activation, nn.SiLU | nn.ReLU):
            raise TypeError(f"expected SiLU or ReLU, got {type(activation).__name__}")
        self._silu = isinstance(activation, nn.SiLU)
        self._layers = views
        self._gradients: list[tuple[Tensor, Tensor]] = []
        for (weight, bias), (weights, _) in zip(parameters, views, strict=True):
            weight.grad, bias.grad = torch.zeros_like(weight), torch.zeros_like(bias)
            members, _, outputs = weights.shape
            stacked = weight.grad if weight.dim() == 3 else weight.grad.T[None]
            self._gradients.append((stacked, bias.grad.view(members, 1, outputs)))
        self._inputs: list[Tensor] = []
        self._sums: list[Tensor] = []

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (E, B, out) for (E, B, in); keeps what `backward` needs."""
        self._inputs, self._sums = [inputs], []
        last = len(self._layers) - 1
        for i, (weight, bias) in enumerate(self._layers):
            sums = torch.baddbmm(bias, self._inputs[i], weight)
            if i == last:
                return sums
            self._sums.append(sums)
            self._inputs.append(nn.functional.silu(sums) if self._silu else sums.relu_())
        raise AssertionError("a network has at least one layer")

    @torch.no_grad()
    def backward(self, gradient: Tensor) -> None:
        """Sets the parameters' gradients from that of the outputs (E, B, out)."""
        for i in range(len(self._layers) - 1, -1, -1):
            weight_gradient, bias_gradient = self._gradients[i]
            torch.bmm(self._inputs[i].transpose(1, 2), gradient, out=weight_gradient)
            torch.sum(gradient, 1, keepdim=True, out=bias_gradient)
            if i == 0:
                return
            gradient = torch.bmm(gradient, self._layers[i][0].transpose(1, 2))
            sums = self._sums[i - 1]
            if self._silu:
                gradient = torch.ops.aten.silu_backward(gradient, sums)
            else:
                gradient = torch.ops.aten.threshold_backward(gradient, sums, 0.0)
