"""The learned models as the planner calls them: bare products over a snapshot of the weights.

Training wants modules and gradients; a planner evaluates millions of rows and wants neither. A
kernel holds the weights of one model in the precision of the search and goes through its rows in
pieces whose activations stay in the cache. Products accumulate in float32 in either precision.

Shapes: R rows, P particles, B candidates, d latent dimensions, A action dimensions, E members.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from safe_skills.ls3.networks import Classifier, DynamicsEnsemble, EnsembleMLP, ValueEnsemble

CACHED_BYTES = 1 << 19
"""Bytes of one layer's activations a thread: half a second-level cache, the next layer's half."""


def precision_of(name: str, device: torch.device) -> torch.dtype:
    """The type that a value of `PlannerConfig.precision` stands for on a device.

    "auto" is bfloat16 where the hardware multiplies it (AVX512-BF16, AMX, GPUs since Ampere), and
    float32 elsewhere, where bfloat16 would be emulated and slower.
    """
    if name != "auto":
        return getattr(torch, name)
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        known = torch.cpu.get_capabilities()
        native = known.get("avx512_bf16", False) or known.get("amx_bf16", False)
    return torch.bfloat16 if native else torch.float32


class Group(NamedTuple):
    """Consecutive particles, `first` up to but not including `last`, moved by one member."""

    member: int
    first: int
    last: int


class _Linear:
    """A linear layer and its activation, one pass over the rows where oneDNN can fuse them."""

    def __init__(self, weight: Tensor, bias: Tensor, activation: str, dtype: torch.dtype) -> None:
        self._weight, self._bias = weight.detach().to(dtype).contiguous(), bias.detach().to(dtype)
        self._activation = activation
        self._packed = None
        # In float32 the plain product and a pass for the activation are as quick.
        if dtype == torch.bfloat16 and self._weight.device.type == "cpu":
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self._weight)

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows (R, in) to (R, out)."""
        if self._packed is not None:
            return torch.ops.mkldnn._linear_pointwise(
                rows, self._packed, self._bias, self._activation, [], None
            )
        return _ACTIVATIONS[self._activation](F.linear(rows, self._weight, self._bias))


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "swish": lambda rows: F.silu(rows, inplace=True),
    "none": lambda rows: rows,
}


def _layers(
    weights: Iterable[Tensor], biases: Iterable[Tensor], activation: str, dtype: torch.dtype
) -> list[_Linear]:
    """Layers of one network for weights (out, in); the last one has no activation."""
    pairs = list(zip(weights, biases, strict=True))
    hidden = [_Linear(*pair, activation, dtype) for pair in pairs[:-1]]
    return [*hidden, _Linear(*pairs[-1], "none", dtype)]


class ClassifierKernel:
    """f_G, f_C or f_S: latents (..., d) to probabilities (...) in float32."""

    def __init__(self, classifier: Classifier, dtype: torch.dtype) -> None:
        linear = [layer for layer in classifier.net if isinstance(layer, nn.Linear)]
        self._layers = _layers(
            (layer.weight for layer in linear), (layer.bias for layer in linear), "relu", dtype
        )
        self._dtype = dtype
        self._piece = _piece(linear[0].out_features, dtype, linear[0].weight.device)

    def __call__(self, latents: Tensor) -> Tensor:
        """Probabilities of shape (...,) for latents (..., d)."""
        rows = latents.reshape(-1, latents.shape[-1]).to(self._dtype)
        logits = [_through(self._layers, part) for part in rows.split(self._piece)]
        return torch.sigmoid(torch.cat(logits).float()).view(latents.shape[:-1])


class _EnsembleKernel:
    """The layers of an ensemble, for all members in one product, or a member at a time."""

    def __init__(self, net: EnsembleMLP, activation: str, dtype: torch.dtype) -> None:
        self.members = net.members
        self._activate = _ACTIVATIONS[activation]
        self.batched = [
            (weight.detach().to(dtype), bias.detach().to(dtype))
            for weight, bias in zip(net.weights, net.biases, strict=True)
        ]
        self.single = [
            _layers(
                (weight[e].T for weight in net.weights),
                (bias[e, 0] for bias in net.biases),
                activation,
                dtype,
            )
            for e in range(net.members)
        ]
        self._bytes_a_row = net.members * net.weights[0].shape[2] * dtype.itemsize
        self._on_cpu = net.weights[0].device.type == "cpu"

    def batches(self, rows: int) -> bool:
        """Whether one batched product is the quicker way for so many rows a member."""
        return not self._on_cpu or rows * self._bytes_a_row <= CACHED_BYTES

    def hidden(self, rows: Tensor) -> Tensor:
        """Last hidden activations (E, R, width) of all members for rows (E, R, in)."""
        for weight, bias in self.batched[:-1]:
            rows = self._activate(torch.baddbmm(bias, rows, weight))
        return rows


class DynamicsKernel(_EnsembleKernel):
    """f_dyn (LS3 eq. 4): particles of many candidates, each moved by the member of its group."""

    def __init__(self, dynamics: DynamicsEnsemble, dtype: torch.dtype) -> None:
        super().__init__(dynamics.net, "swish", dtype)
        self._bounds = dynamics.bounds

    def __call__(self, inputs: Tensor, groups: Sequence[Group]) -> tuple[Tensor, Tensor]:
        """Mean change and stddev of the next latents, both (P, B, d) float32.

        Args:
            inputs: (P, B, d + A) latents and actions, in the kernel's precision.
            groups: cover the particles in order.
        """
        particles, candidates, width = inputs.shape
        each = particles // self.members
        even = all(g.member == e and g.last - g.first == each for e, g in enumerate(groups))
        if even and len(groups) == self.members and self.batches(each * candidates):
            weight, bias = self.batched[-1]
            outputs = torch.baddbmm(bias, self.hidden(inputs.view(self.members, -1, width)), weight)
        else:
            outputs = torch.cat(
                [
                    _through(
                        self.single[group.member], inputs[group.first : group.last].flatten(0, 1)
                    )
                    for group in groups
                ]
            )
        change, log_variance = outputs.view(particles, candidates, -1).float().chunk(2, -1)
        return change, self._stddev(log_variance)

    def _stddev(self, log_variance: Tensor) -> Tensor:
        """exp(v / 2) of the softly bounded v.

        The two softplus of `DynamicsEnsemble` have a closed form, one exponential in all:
        exp(low + softplus(u - low)) = e^low + e^u, and e^(high - softplus(high - v)) =
        1 / (e^-high + e^-v).
        """
        if self._bounds is None:
            return torch.exp(0.5 * log_variance)
        low, high = self._bounds
        upper = torch.exp(-log_variance).add_(math.exp(-high)).reciprocal_()
        return upper.add_(math.exp(low)).sqrt_()


class ValueKernel(_EnsembleKernel):
    """V (LS3 eq. 9, 10), its mean over members and particles at once."""

    def __init__(self, value: ValueEnsemble, dtype: torch.dtype) -> None:
        super().__init__(value.net, "relu", dtype)
        weight, bias = value.net.weights[-1].detach(), value.net.biases[-1].detach()
        # The last layer is linear: it commutes with both means, and stays in float32.
        self._last = value.scale * weight.squeeze(-1) / value.members
        self._offset = float(value.scale * bias.mean())
        self._dtype = dtype
        self._piece = _piece(weight.shape[1], dtype, weight.device)

    def __call__(self, latents: Tensor) -> Tensor:
        """Values (n,) of latents (P, n, d): the mean over the P particles of each."""
        latents = latents.to(self._dtype)
        pieces = latents.split(max(1, self._piece // len(latents)), 1)
        return torch.cat([self._values(piece) for piece in pieces]) + self._offset

    def _values(self, latents: Tensor) -> Tensor:
        particles, count, _ = latents.shape
        rows = latents.reshape(particles * count, -1)
        if self.batches(len(rows)):
            hidden = self.hidden(rows.expand(self.members, *rows.shape))
            mean = hidden.view(self.members, particles, count, -1).mean(1, dtype=torch.float32)
            return torch.einsum("enw,ew->n", mean, self._last)
        total = self._last.new_zeros(count)
        for layers, last in zip(self.single, self._last, strict=True):
            hidden = _through(layers[:-1], rows).view(particles, count, -1)
            total += hidden.mean(0, dtype=torch.float32) @ last
        return total


def _through(layers: Iterable[_Linear], rows: Tensor) -> Tensor:
    for layer in layers:
        rows = layer(rows)
    return rows


class Kernels(NamedTuple):
    """Everything that a plan evaluates; the types above say what goes in and comes out."""

    dynamics: Callable[[Tensor, Sequence[Group]], tuple[Tensor, Tensor]]
    value: Callable[[Tensor], Tensor]
    goal: Callable[[Tensor], Tensor]
    constraint: Callable[[Tensor], Tensor]
    safe_set: Callable[[Tensor], Tensor]


def _piece(width: int, dtype: torch.dtype, device: torch.device) -> int:
    """Rows whose activations fit the cores' caches; a GPU takes all at once."""
    if device.type != "cpu":
        return 1 << 30
    return CACHED_BYTES * torch.get_num_threads() // (width * dtype.itemsize)
