"""The gate's learned models as plain NumPy: one latent at a time, in a fraction of a millisecond.

PyTorch spends more time on the way to a small matrix product than in it, and on two cores the gate
waits for the planner's PyTorch. The weights are those of the agent, copied once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from safe_skills.ls3.agent import LS3Agent

AGREEMENT = 1e-3
"""How far the probabilities may be from the agent's, in the comparison at the start."""


class GateModels:
    """Constraint, safe set and dynamics of an agent, as `Classifiers` for the supervisor.

    Args:
        agent: whose weights are copied.

    Raises:
        ValueError: in one line, where the results differ from the agent's: its networks have
            another form than those here.
    """

    def __init__(self, agent: LS3Agent) -> None:
        models = agent.models
        self.action_limit = agent.action_limit
        self._constraint = _Classifier(models.constraint.state_dict())
        self._safe_set = _Classifier(models.safe_set.state_dict())
        self._dynamics = _Dynamics(models.dynamics.net, models.latent_dim)
        self._compare(agent)

    def constraint_probability(self, mean: np.ndarray) -> float:
        """f_C of a latent (d,)."""
        return _sigmoid(self._constraint(mean).item())

    def safe_set_probability(self, mean: np.ndarray) -> float:
        """f_S of a latent (d,)."""
        return _sigmoid(self._safe_set(mean).item())

    def predicted_constraint_probability(self, mean: np.ndarray, action: np.ndarray) -> float:
        """f_C one step ahead under `action` (A,) in SI units, the largest over members' means."""
        scaled = (action / self.action_limit).astype(np.float32)
        return _sigmoid(self._constraint(self._dynamics(mean, scaled)).max().item())

    def _compare(self, agent: LS3Agent) -> None:
        rng = np.random.default_rng(0)
        for _ in range(8):
            mean = rng.standard_normal(agent.latent_dim).astype(np.float32)
            action = rng.uniform(-1.0, 1.0, agent.action_dim) * agent.action_limit
            pairs = (
                (self.constraint_probability(mean), agent.constraint_probability(mean)),
                (self.safe_set_probability(mean), agent.safe_set_probability(mean)),
                (
                    self.predicted_constraint_probability(mean, action),
                    agent.predicted_constraint_probability(mean, action),
                ),
            )
            for here, there in pairs:
                if not abs(here - there) <= AGREEMENT:
                    raise ValueError(
                        f"checkpoint: expected the gate's models to agree with the agent's within "
                        f"{AGREEMENT:g}, got probabilities {here:g} and {there:g}"
                    )


class _Classifier:
    """Logits (n, 1) or (1,) of `ls3.networks.Classifier`: linear layers with ReLU between."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        weights = [_array(tensor.T) for name, tensor in state.items() if name.endswith("weight")]
        biases = [_array(tensor) for name, tensor in state.items() if name.endswith("bias")]
        *self._hidden, self._last = zip(weights, biases, strict=True)

    def __call__(self, latents: np.ndarray) -> np.ndarray:
        for weight, bias in self._hidden:
            latents = np.maximum(latents @ weight + bias, 0.0)
        weight, bias = self._last
        return latents @ weight + bias


class _Dynamics:
    """Mean of the next latent (E, d) by each member of `ls3.networks.DynamicsEnsemble`."""

    def __init__(self, net: object, latent_dim: int) -> None:
        weights = [_array(weight) for weight in net.weights]
        biases = [_array(bias) for bias in net.biases]
        # Of the last layer's outputs the first half are means, the others log-variances.
        weights[-1] = np.ascontiguousarray(weights[-1][:, :, :latent_dim])
        biases[-1] = np.ascontiguousarray(biases[-1][:, :, :latent_dim])
        *self._hidden, self._last = zip(weights, biases, strict=True)

    def __call__(self, mean: np.ndarray, action: Sequence[float]) -> np.ndarray:
        values = np.concatenate((mean, action), dtype=np.float32)[None]
        with np.errstate(over="ignore"):  # exp of a large number is inf, and x / inf the right 0
            for weight, bias in self._hidden:
                values = values @ weight + bias
                values = values / (1.0 + np.exp(-values))
        weight, bias = self._last
        return mean + (values @ weight + bias)[:, 0]


def _array(tensor: Tensor) -> np.ndarray:
    return np.array(tensor.detach().cpu().numpy(), np.float32, order="C")


def _sigmoid(logit: float) -> float:
    if logit >= 0.0:
        return 1.0 / (1.0 + math.exp(-logit))
    grown = math.exp(max(logit, -700.0))
    return grown / (1.0 + grown)
