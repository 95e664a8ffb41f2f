"""The networks of LS3: beta-VAE, probabilistic dynamics ensemble, value ensemble, classifiers.

Shapes: B images or latents, d latent dimensions, A action dimensions, E ensemble members.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from safe_skills.ls3.config import DynamicsConfig, EncoderConfig, ValueConfig
from safe_skills.ls3.pixels import standardization

LOG_STDDEV_BOUNDS = (-8.0, 2.0)


class VAE(nn.Module):
    """Beta-VAE over images of C channels, such as masks (LS3 sec. 4.1)."""

    def __init__(self, config: EncoderConfig, channels: int = 1) -> None:
        super().__init__()
        d = config.latent_dim
        if config.architecture == "planet":
            self.trunk = nn.Sequential(
                *_convolutions(
                    (channels, 32, 64, 128, 256), kernel=4, strides=(2, 3, 2, 2), padding=0
                ),
                nn.Flatten(),
            )
            width = 256
            decoder = [nn.Linear(d, width), nn.Unflatten(1, (width, 1, 1))]
            widths, kernels = (width, 128, 64, 32, channels), (5, 5, 6, 6)
            for i, kernel in enumerate(kernels):
                decoder.append(nn.ConvTranspose2d(widths[i], widths[i + 1], kernel, stride=2))
                decoder.append(nn.ReLU())
            self.decoder = nn.Sequential(*decoder[:-1])
        else:
            side, width = config.image_size // 8, 256
            self.trunk = nn.Sequential(
                *_convolutions((channels, 16, 32, 64), kernel=4, strides=(2, 2, 2), padding=1),
                nn.Flatten(),
                nn.Linear(64 * side * side, width),
                nn.ReLU(),
            )
            self.decoder = nn.Sequential(
                nn.Linear(d, width),
                nn.ReLU(),
                nn.Linear(width, 64 * side * side),
                nn.ReLU(),
                nn.Unflatten(1, (64, side, side)),
                nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
                nn.ReLU(),
                nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
                nn.ReLU(),
                nn.ConvTranspose2d(16, channels, 4, stride=2, padding=1),
            )
        self.mean = nn.Linear(width, d)
        self.log_stddev = nn.Linear(width, d)
        self.pixels = standardization(config, channels)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and stddev (B, d) of f_enc(z | s) for images (B, C, size, size) in [0, 1]."""
        return self.belief(self.pixels(images))

    def belief(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """As `encode`, for images as the network sees them (`pixels`)."""
        hidden = self.trunk(pixels)
        return self.mean(hidden), self.log_stddev(hidden).clamp(*LOG_STDDEV_BOUNDS).exp()

    def decode(self, latents: Tensor) -> Tensor:
        """Returns images (B, C, size, size) for latents (B, d)."""
        return self.pixels.images(self.decoder(latents))


def _convolutions(
    channels: Sequence[int], kernel: int, strides: Sequence[int], padding: int
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for i, stride in enumerate(strides):
        layers.append(nn.Conv2d(channels[i], channels[i + 1], kernel, stride, padding))
        layers.append(nn.ReLU())
    return layers


class EnsembleMLP(nn.Module):
    """E networks of one shape, evaluated as one batched matrix product a layer."""

    def __init__(self, members: int, sizes: Sequence[int], activation: type[nn.Module]) -> None:
        super().__init__()
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
            bound = 1.0 / math.sqrt(inputs)
            for parameters, shape in (
                (self.weights, (members, inputs, outputs)),
                (self.biases, (members, 1, outputs)),
            ):
                parameters.append(nn.Parameter(torch.empty(shape).uniform_(-bound, bound)))
        self.members = members
        self.activation = activation()

    def forward(self, inputs: Tensor, member: int | None = None) -> Tensor:
        """Maps (E, B, in), or (B, in) for all members alike, to (E, B, out).

        With `member`, only that network is evaluated, on (B, in), and the result is (1, B, out).
        """
        if inputs.dim() == 2:
            inputs = inputs.expand(self.members if member is None else 1, *inputs.shape)
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if member is not None:
                weight, bias = weight[member : member + 1], bias[member : member + 1]
            inputs = torch.baddbmm(bias, inputs, weight)
            if i < last:
                inputs = self.activation(inputs)
        return inputs


class DynamicsEnsemble(nn.Module):
    """f_dyn(z' | z, a): Gaussians over the latent's change (PETS, LS3 sec. 4.4 eq. 4)."""

    def __init__(self, config: DynamicsConfig, latent_dim: int, action_dim: int) -> None:
        super().__init__()
        sizes = (latent_dim + action_dim, *config.hidden, 2 * latent_dim)
        self.net = EnsembleMLP(config.members, sizes, nn.SiLU)
        self.members = config.members
        self.bounds = config.log_variance_bounds

    def forward(
        self, latents: Tensor, actions: Tensor, member: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns mean and log-variance (E, B, d) of z' for each member.

        Args:
            latents: (E, B, d), or (B, d) for all members alike.
            actions: likewise with A, scaled to [-1, 1].
            member: evaluates this member only; E is then 1.
        """
        inputs = torch.cat((latents, actions), -1)
        change, log_variance = self.net(inputs, member).chunk(2, dim=-1)
        if self.bounds is not None:
            low, high = self.bounds
            log_variance = high - F.softplus(high - log_variance)
            log_variance = low + F.softplus(log_variance - low)
        return latents + change, log_variance


class ValueEnsemble(nn.Module):
    """V(z): the expected discounted return, in steps (negative); the members' mean counts."""

    def __init__(self, config: ValueConfig, latent_dim: int) -> None:
        super().__init__()
        self.net = EnsembleMLP(config.members, (latent_dim, *config.hidden, 1), nn.ReLU)
        self.members = config.members
        self.scale = config.scale

    def each(self, latents: Tensor) -> Tensor:
        """Returns every member's value (E, B) for (B, d) or (E, B, d)."""
        return self.scale * self.net(latents).squeeze(-1)

    def forward(self, latents: Tensor) -> Tensor:
        """Returns the mean value (B,)."""
        return self.each(latents).mean(0)


class Classifier(nn.Module):
    """The probability that a latent is in the goal (f_G), safe set (f_S) or violation (f_C)."""

    def __init__(self, hidden: Sequence[int], latent_dim: int) -> None:
        super().__init__()
        sizes = (latent_dim, *hidden)
        layers: list[nn.Module] = []
        for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))

    def logits(self, latents: Tensor) -> Tensor:
        """Returns logits of shape (...,) for latents (..., d)."""
        return self.net(latents).squeeze(-1)

    def forward(self, latents: Tensor) -> Tensor:
        """Returns probabilities of shape (...,) for latents (..., d)."""
        return torch.sigmoid(self.logits(latents))
