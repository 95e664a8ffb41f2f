"""The planner of LS3: CEM over latent rollouts under two chance constraints (LS3 sec. 4.4).

Shapes: N candidates, P particles, H steps, A action dimensions, d latent dimensions. Actions are
scaled to [-1, 1] inside and returned in SI units.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from safe_skills.ls3.models import LS3Models
from safe_skills.ls3.planner_config import PlannerConfig
from safe_skills.ls3.scoring import Belief, Chance, Draws, Scorer, Scores

WARM_START_LAST_STDDEV = 0.3  # of the action range, for the step the shift has just brought in
VERIFIED_ELITES = 7  # best sequences that are tested again beside the final mean


class PlanOutcome(enum.IntEnum):
    """How a plan came about; the values are those of PlanStatus.msg."""

    FEASIBLE = 0
    MAX_SAFE_SET = 1
    HOLD = 2
    RANDOM = 3


@dataclass(frozen=True)
class Plan:
    """A plan and why it was chosen.

    Attributes:
        actions: (H, A) displacements in SI units; zeros where the outcome is HOLD.
        outcome: feasible, or which fallback.
        value: objective (eq. 2) of the plan, in steps.
        constraint_probability: highest probability of a violation over the plan.
        safe_set_probability: of the terminal latent.
        delta_s: safe-set level in force at the end.
        feasible_share: share of the last population that met both constraints.
        iterations: populations evaluated.
        restarts: times that delta_s was lowered.
        solve_time: seconds.
    """

    actions: np.ndarray
    outcome: PlanOutcome
    value: float
    constraint_probability: float
    safe_set_probability: float
    delta_s: float
    feasible_share: float
    iterations: int
    restarts: int
    solve_time: float


class Scoring(Protocol):
    """What evaluates candidates for a planner; `scoring.Scorer` says what the methods do."""

    def test(self, config: PlannerConfig, belief: Belief, actions: Tensor, draws: Draws) -> Scores:
        """Evaluates at least both chance constraints."""

    def add_values(self, config: PlannerConfig, scores: Scores, wanted: Tensor) -> None:
        """Makes sure that the wanted candidates have a value."""

    def complete(self, config: PlannerConfig, scores: Scores) -> None:
        """Makes sure that every candidate's constraint is that of all its steps."""


class WarmStart(NamedTuple):
    """What the search of one step leaves to the next: its Gaussian (H, A) and elites (n, H, A)."""

    mean: Tensor
    stddev: Tensor
    elites: Tensor

    def shifted(self) -> WarmStart:
        """One step ahead: the new last step is like the one before, but less certain."""
        last = self.stddev[-1:].clamp(min=2.0 * WARM_START_LAST_STDDEV)
        return WarmStart(
            torch.cat((self.mean[1:], self.mean[-1:])),
            torch.cat((self.stddev[1:], last)),
            torch.cat((self.elites[:, 1:], self.elites[:, -1:]), 1),
        )


@dataclass
class _Search:
    """The state of one solve."""

    delta_s: float
    restarts: int = 0
    evaluated: int = 0
    feasible_share: float = 0.0


class Planner:
    """Plans from a latent; seeded, and without side effects but for its warm start.

    Args:
        models: the learned models; their weights are copied, so make a new planner after training.
        config: settings (`PROFILES`).
        action_limit: (A,) largest displacement of a step in SI units, symmetric.
        seed: of all random draws.
        scoring: evaluates the candidates; this package's `Scorer` where none is given.

    Attributes:
        warm_start: what the last plan's search left for the next; may be set, to plan from there.
    """

    def __init__(
        self,
        models: LS3Models,
        config: PlannerConfig,
        action_limit: np.ndarray,
        seed: int = 0,
        scoring: Scoring | None = None,
    ) -> None:
        self.config = config
        self.device = next(models.parameters()).device
        self.action_limit = np.asarray(action_limit, dtype=np.float64)
        self.latent_dim = models.latent_dim
        self._scoring = scoring or Scorer(models, config.precision)
        self._chance = Chance(seed, self.device, models.dynamics.members, self.latent_dim)
        self.warm_start: WarmStart | None = None

    def reset(self) -> None:
        """Forgets the last plan: call it at the start of an episode."""
        self.warm_start = None

    @torch.inference_mode()
    def plan(self, mean: np.ndarray, stddev: np.ndarray) -> Plan:
        """Plans for the belief N(mean, stddev^2) of the present latent.

        Args:
            mean: (d,) finite.
            stddev: (d,) finite, >= 0.

        Raises:
            ValueError: for another length, NaN, infinity or a negative stddev.
        """
        began = time.perf_counter()
        belief = self._checked(mean, stddev)
        search = _Search(delta_s=self.config.delta_s)
        plans = self._optimize(belief, search)
        if plans is None:
            return self._fallback(search, began)
        return self._decide(belief, plans, search, began)

    def _optimize(self, belief: Belief, search: _Search) -> Tensor | None:
        """CEM; returns the plans to choose from, or None where the search gave up."""
        config = self.config
        population = self._first_population(use_warm_start=True)
        iteration = 0
        while True:
            draws = self._chance.draw(config, len(population), config.particles)
            scores = self._scoring.test(config, belief, population, draws)
            search.evaluated += 1
            iteration += 1
            level = self._relaxed_level(scores, search)
            feasible = scores.feasible(level, config.delta_c)
            count = int(feasible.sum())
            search.feasible_share = count / len(population)
            if count == 0 and config.relax_on == "restart":
                if search.restarts >= config.max_relaxations:
                    return None
                search.restarts += 1
                search.delta_s *= config.relaxation
                population, iteration = self._first_population(use_warm_start=False), 0
                continue
            elites = population[self._elites(scores, feasible, count, level)]
            mean = elites.mean(0)
            floor = 2.0 * config.min_stddev * config.action_range
            stddev = elites.std(0).clamp(min=floor)
            if iteration == config.iterations or self._converged(stddev):
                break
            population = self._next_population(mean, stddev, elites, iteration)
        self.warm_start = WarmStart(mean, stddev, elites)
        if config.returned == "best":
            return elites[:1]
        return torch.cat((mean[None], elites[:VERIFIED_ELITES]))

    def _elites(self, scores: Scores, feasible: Tensor, count: int, level: float) -> Tensor:
        """Indices of the elites, best first; evaluates what their ranking reads."""
        config = self.config
        keep = min(max(count, 2), config.elites) if count else config.elites
        self._scoring.add_values(config, scores, feasible)
        if int(scores.allowed(config.delta_c).sum()) < keep:
            self._scoring.complete(config, scores)
        return scores.rank(level, config.delta_c).topk(keep).indices

    def _relaxed_level(self, scores: Scores, search: _Search) -> float:
        """Lowers delta_S by the relaxation factor until a candidate satisfies both constraints."""
        config = self.config
        if config.relax_on == "restart" or not config.use_safe_set:
            return search.delta_s
        level, relaxations = config.delta_s, 0
        best = float(torch.where(scores.allowed(config.delta_c), scores.safe_set, -1.0).max())
        while best < level and relaxations < config.max_relaxations:
            level *= config.relaxation
            relaxations += 1
        search.delta_s, search.restarts = level, relaxations
        return level

    def _decide(self, belief: Belief, plans: Tensor, search: _Search, began: float) -> Plan:
        """Tests the plans again with fresh particles and takes the best, or a fallback."""
        config = self.config
        particles = max(config.particles, config.verify_particles)
        draws = self._chance.draw(config, len(plans), particles)
        scores = self._scoring.test(config, belief, plans, draws)
        # Fresh particles may put every plan just below the level that the search ended with.
        level = self._relaxed_level(scores, search)
        chosen = int(scores.rank(level, config.delta_c).argmax())
        feasible = bool(scores.feasible(level, config.delta_c)[chosen])
        allowed = bool(scores.allowed(config.delta_c)[chosen])
        outcome = PlanOutcome.FEASIBLE
        if not feasible:
            if config.infeasible == "random":
                return self._fallback(search, began)
            outcome = (
                PlanOutcome.MAX_SAFE_SET
                if config.infeasible == "max_safe_set" and allowed
                else PlanOutcome.HOLD
            )
        if outcome is PlanOutcome.HOLD:
            self.reset()
        return self._plan(
            plans[chosen],
            outcome,
            search,
            began,
            value=float(scores.value[chosen]),
            constraint=float(scores.constraint[chosen]),
            safe_set=float(scores.safe_set[chosen]),
        )

    def _fallback(self, search: _Search, began: float) -> Plan:
        """No plan: hold, or the released code's uniform action where that was asked for."""
        self.reset()
        shape = (self.config.horizon, len(self.action_limit))
        outcome = PlanOutcome.HOLD
        actions = torch.zeros(shape, device=self.device)
        if self.config.infeasible == "random":
            outcome, actions = PlanOutcome.RANDOM, self._uniform(*shape)
        nan = float("nan")
        return self._plan(actions, outcome, search, began, value=nan, constraint=nan, safe_set=nan)

    def _plan(
        self,
        actions: Tensor,
        outcome: PlanOutcome,
        search: _Search,
        began: float,
        *,
        value: float,
        constraint: float,
        safe_set: float,
    ) -> Plan:
        scaled = actions.cpu().numpy().astype(np.float64) * self.action_limit
        return Plan(
            actions=np.zeros_like(scaled) if outcome is PlanOutcome.HOLD else scaled,
            outcome=outcome,
            value=value,
            constraint_probability=constraint,
            safe_set_probability=safe_set,
            delta_s=search.delta_s,
            feasible_share=search.feasible_share,
            iterations=search.evaluated,
            restarts=search.restarts,
            solve_time=time.perf_counter() - began,
        )

    def _first_population(self, use_warm_start: bool) -> Tensor:
        config = self.config
        shape = (config.candidates, config.horizon, len(self.action_limit))
        population = self._uniform(*shape)
        if self.warm_start is None or not use_warm_start or config.warm_start == "none":
            return population
        warm = self.warm_start
        if config.warm_start == "shifted":
            warm = warm.shifted()
        count = config.candidates - int(config.p_random * config.candidates)
        population[:count] = self._sampled(warm.mean, warm.stddev, count)
        kept = warm.elites[: self._kept()]
        population[: len(kept)] = kept
        return population

    def _next_population(
        self, mean: Tensor, stddev: Tensor, elites: Tensor, iteration: int
    ) -> Tensor:
        """Samples the Gaussian; the best elites come again, and populations may shrink (iCEM)."""
        config = self.config
        size = max(int(config.candidates / config.decay**iteration), 2 * config.elites)
        population = self._sampled(mean, stddev, min(size, config.candidates))
        kept = elites[: self._kept()]
        population[: len(kept)] = kept
        return population

    def _converged(self, stddev: Tensor) -> bool:
        limit = 2.0 * self.config.stop_stddev * self.config.action_range
        return limit > 0.0 and float(stddev.max()) <= limit

    def _kept(self) -> int:
        return int(self.config.kept_elites * self.config.elites)

    def _sampled(self, mean: Tensor, stddev: Tensor, count: int) -> Tensor:
        noise = self._chance.normal(count, *mean.shape)
        if self.config.noise_exponent > 0.0:
            mix = noise_mixing(self.config.horizon, self.config.noise_exponent).to(noise)
            noise = torch.einsum("hk,nka->nha", mix, noise)
        most = self.config.action_range
        return (mean + stddev * noise).clamp_(-most, most)

    def _uniform(self, *shape: int) -> Tensor:
        return self._chance.uniform(*shape).mul_(self.config.action_range)

    def _checked(self, mean: np.ndarray, stddev: np.ndarray) -> tuple[Tensor, Tensor]:
        mean, stddev = np.asarray(mean, np.float32), np.asarray(stddev, np.float32)
        for name, values in (("mean", mean), ("stddev", stddev)):
            if values.shape != (self.latent_dim,):
                raise ValueError(
                    f"latent {name}: expected {self.latent_dim} values, got shape {values.shape}"
                )
            if not np.isfinite(values).all():
                raise ValueError(f"latent {name}: expected finite values, got NaN or infinity")
        if (stddev < 0).any():
            raise ValueError(f"latent stddev: expected values >= 0, got {stddev.min()}")
        return torch.tensor(mean, device=self.device), torch.tensor(stddev, device=self.device)


@lru_cache(maxsize=8)
def noise_mixing(horizon: int, exponent: float) -> Tensor:
    """Matrix (H, H) that turns white noise over a plan's steps into coloured noise (iCEM).

    The power falls with frequency as f^-exponent, flat below 1/H, and the variance of each step
    stays 1. The covariance of such periodic noise is circulant: its first row is the inverse
    Fourier transform of the power.
    """
    frequency = torch.fft.rfftfreq(horizon).clamp(min=1.0 / horizon)
    row = torch.fft.irfft(frequency.pow(-exponent).to(torch.complex64), n=horizon)
    covariance = torch.stack([row.roll(k) for k in range(horizon)]) / row[0]
    values, vectors = torch.linalg.eigh(covariance)
    return vectors @ torch.diag(values.clamp(min=0.0).sqrt()) @ vectors.T
