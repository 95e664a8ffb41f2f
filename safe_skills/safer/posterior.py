"""The safety posterior q(c | Lambda): a transformer over the window of past states (SAFER 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from safe_skills.safer.config import PosteriorConfig

LOG_STDDEV_BOUNDS = (-5.0, 2.0)


class SafetyPosterior(nn.Module):
    """A diagonal Gaussian over c, read off the token of the present state.

    States before the episode began are zero (SAFER footnote 3) and masked: what stands there does
    not matter. Positions count from the present state backwards.

    Args:
        config: sizes; its kind must not be "none".
        features: length of psi(s).
    """

    def __init__(self, config: PosteriorConfig, features: int) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Linear(features, config.width)
        self.position = nn.Parameter(0.02 * torch.randn(config.window, config.width))
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, 2 * config.size)

    def forward(self, features: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and stddev (B, C) of c.

        Args:
            features: (F, d), each state once.
            windows: (B, w) indices into `features`, oldest first, negative where there is none.
        """
        padding = windows < 0
        # Index -1 is the row of zeros behind the last state.
        tokens = torch.cat((self.tokens(features), self.position.new_zeros(1, self.config.width)))
        tokens = tokens[windows.clamp(min=-1)] + self.position
        for block in self.blocks[:-1]:
            tokens = block(tokens, tokens, padding)
        # Only the last token is read, so the last block computes only that one.
        token = self.blocks[-1](tokens[:, -1:], tokens, padding).squeeze(1)
        mean, log_stddev = self.head(self.norm(token)).chunk(2, dim=-1)
        return mean, log_stddev.clamp(*LOG_STDDEV_BOUNDS).exp()


class Block(nn.Module):
    """Attention and a perceptron, each after a normalization and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.before_perceptron = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )

    def forward(self, queries: Tensor, tokens: Tensor, padding: Tensor) -> Tensor:
        """New values (B, q, width) of the queries, the last q of the tokens (B, w, width)."""
        keys = self.before_attention(tokens)
        asked = keys[:, -queries.shape[1] :]
        attended, _ = self.attention(
            asked, keys, keys, key_padding_mask=padding, need_weights=False
        )
        queries = queries + attended
        return queries + self.perceptron(self.before_perceptron(queries))


def kl_to_standard_normal(mean: Tensor, stddev: Tensor) -> Tensor:
    """KL(N(mean, stddev^2) || N(0, I)) (B,) for mean and stddev (B, C)."""
    return 0.5 * (mean.square() + stddev.square() - 1 - 2 * stddev.log()).sum(-1)
