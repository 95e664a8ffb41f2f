"""The decoder to LS3's encoder as matrix products: one latent at a time, in a quarter of a ms.

Encoder and planner may share a process, whose plan waits for the frame's surprise. PyTorch spends
more time on the way to a small transposed convolution than in it. The weights are copied once.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from safe_skills.ls3.agent import LS3Agent
from safe_skills.ls3.surprise import reconstruction_error

AGREEMENT = 1e-3
"""How far, relatively, an error may be from the agent's, in the comparison at the start."""


class MaskDecoder:
    """Reconstruction errors of an agent with the architecture "compact" that sees masks.

    Args:
        agent: whose weights are copied.

    Raises:
        ValueError: in one line, where the results differ from the agent's.
    """

    def __init__(self, agent: LS3Agent) -> None:
        self._agent = agent
        models = agent.models
        self._scale, self._shift = _array(models.latent_scale), _array(models.latent_shift)
        modules = list(models.vae.decoder)
        self._linear = [
            (_copy(module.weight), _copy(module.bias))
            for module in modules
            if isinstance(module, nn.Linear)
        ]
        convolutions = [_Upsampling(m) for m in modules if isinstance(m, nn.ConvTranspose2d)]
        *self._hidden, self._last = convolutions
        self._compare()

    def decode(self, mean: np.ndarray) -> np.ndarray:
        """The mask (size, size) that a latent (d,) stands for; not clipped."""
        values = torch.from_numpy(mean * self._scale + self._shift)
        for weight, bias in self._linear:
            values = torch.addmv(bias, weight, values).clamp_(min=0.0)
        channels = self._hidden[0].channels
        side = round((len(values) // channels) ** 0.5)
        image = values.numpy().reshape(channels, side, side).transpose(1, 2, 0)
        for layer in self._hidden:
            image = np.maximum(layer(image), 0.0)
        return self._last(image)[:, :, 0]

    def error(self, image: np.ndarray, mean: np.ndarray) -> float:
        """`ls3.surprise.reconstruction_error` of a camera frame (H, W, 3) uint8 RGB."""
        mask = self._agent.inputs(self._agent.view(image)[None])[0, 0]
        seen = float(np.vdot(mask, mask))
        difference = (mask - self.decode(mean)).ravel()
        return float(difference @ difference) / seen if seen > 0.0 else np.inf

    def _compare(self) -> None:
        rng = np.random.default_rng(0)
        size = self._agent.mask_config.size
        for _ in range(4):
            image = np.full((size, size, 3), 200, np.uint8)
            row, column = rng.integers(0, size // 2, 2)
            image[row : row + size // 2, column : column + size // 4] = (220, 25, 25)
            mean = rng.standard_normal(self._agent.latent_dim).astype(np.float32)
            here, there = self.error(image, mean), reconstruction_error(self._agent, image, mean)
            if not (here == there or abs(here - there) <= AGREEMENT * there):
                raise ValueError(
                    f"checkpoint: expected the node's decoder to agree with the agent's within "
                    f"{AGREEMENT:g}, got errors {here:g} and {there:g}"
                )


class _Upsampling:
    """A transposed convolution of kernel 4, stride 2 and padding 1, as one matrix product.

    Each pixel becomes two by two, and each of these sees three by three of the pixels around it (of
    which one row and one column have no weight).
    """

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        weight = layer.weight.detach().cpu().numpy()  # (in, out, 4, 4)
        self.channels, self._out = weight.shape[:2]
        product = np.zeros((3, 3, self.channels, 2, 2, self._out), np.float32)
        # Pixel i reaches 2 i - 1 + k. So 2 j + r is reached from i = j + s by k = r + 1 - 2 s.
        for r_row, s_row, k_row in _REACH:
            for r_column, s_column, k_column in _REACH:
                product[1 + s_row, 1 + s_column, :, r_row, r_column] = weight[:, :, k_row, k_column]
        self._weight = torch.from_numpy(product.reshape(9 * self.channels, 4 * self._out))
        self._bias = _array(layer.bias)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """From (h, w, in) to (2 h, 2 w, out)."""
        height, width, channels = image.shape
        padded = np.zeros((height + 2, width + 2, channels), np.float32)
        padded[1:-1, 1:-1] = image
        around = np.empty((height, width, 3, 3, channels), np.float32)
        for row in range(3):
            for column in range(3):
                around[:, :, row, column] = padded[row : row + height, column : column + width]
        # NumPy's product would take all cores, and wait for them.
        grown = torch.mm(torch.from_numpy(around.reshape(height * width, -1)), self._weight)
        grown = grown.numpy().reshape(height, width, 2, 2, self._out).swapaxes(1, 2)
        return grown.reshape(2 * height, 2 * width, self._out) + self._bias


_REACH = [(r, s, r + 1 - 2 * s) for r in (0, 1) for s in (-1, 0, 1) if 0 <= r + 1 - 2 * s < 4]


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone().contiguous()


def _array(tensor: Tensor) -> np.ndarray:
    return np.array(tensor.detach().cpu().numpy(), np.float32, order="C")
