"""The planner of LS3: CEM over latent rollouts under two chance constraints (LS3 sec. 4.4).

Shapes: N candidates, P particles, H steps, A action dimensions, d latent dimensions. Actions are
scaled to [-1, 1] inside and returned in SI units.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from safe_skills.ls3.config import PlannerConfig
from safe_skills.ls3.models import LS3Models

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


@dataclass
class Scores:
    """What the learned models say of N candidates; each field is (N,)."""

    value: Tensor
    constraint: Tensor
    safe_set: Tensor

    def feasible(self, delta_s: float, delta_c: float) -> Tensor:
        """Both chance constraints (eq. 5 and 6), (N,) bool."""
        return (self.constraint <= delta_c) & (self.safe_set >= delta_s)

    def rank(self, delta_s: float, delta_c: float) -> Tensor:
        """One number a candidate: feasible ones by value, then by safe set, then by constraint.

        Values of feasible candidates lie far above -1e4, so the three classes never mix.
        """
        allowed = self.constraint <= delta_c
        fallback = torch.where(allowed, self.safe_set - 1e5, -1e6 - self.constraint)
        return torch.where(self.feasible(delta_s, delta_c), self.value.clamp(min=-1e4), fallback)


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
        models: the learned models.
        config: settings (`PROFILES`).
        action_limit: (A,) largest displacement of a step in SI units, symmetric.
        seed: of all random draws.
    """

    def __init__(
        self, models: LS3Models, config: PlannerConfig, action_limit: np.ndarray, seed: int = 0
    ) -> None:
        self.models = models
        self.config = config
        self.device = next(models.parameters()).device
        self.action_limit = np.asarray(action_limit, dtype=np.float64)
        self.latent_dim = models.latent_dim
        self._generator = torch.Generator(self.device).manual_seed(seed)
        self._warm: tuple[Tensor, Tensor] | None = None

    def reset(self) -> None:
        """Forgets the last plan: call it at the start of an episode."""
        self._warm = None

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

    def score(self, start: Tensor, actions: Tensor) -> Scores:
        """Scores candidates by rolling them out (eq. 2 to 6).

        Args:
            start: (N, P, d) present latents.
            actions: (N, H, A) scaled to [-1, 1].
        """
        config, models = self.config, self.models
        latents = self.rollout(start, actions)
        if config.use_constraint:
            violation = models.constraint(latents)
            by_step = violation.amax(2) if config.constraint_over == "max" else violation.mean(2)
            constraint = by_step.amax(0)
        else:
            constraint = start.new_zeros(len(actions))
        if config.use_safe_set:
            safe_set = models.safe_set(latents[-1]).mean(1)
        else:
            safe_set = start.new_ones(len(actions))
        if config.objective_on == "mean_latent":
            latents = latents.mean(2, keepdim=True)
        last = latents[-1].flatten(0, 1)
        value = models.value(last).view(len(actions), -1).mean(1)
        if len(latents) > 1:
            goal = models.goal(latents[:-1]).mean(2)
            if config.goal_reward == "indicator":
                goal = (goal > 0.5).float()
            value = value + goal.sum(0)
        return Scores(value.nan_to_num(nan=-1e4), constraint, safe_set)

    def rollout(self, start: Tensor, actions: Tensor) -> Tensor:
        """Samples latents z_{t+1..t+H} (eq. 4) as (H, N, P, d) from (N, P, d) and (N, H, A)."""
        candidates, particles, d = start.shape
        latents = start.reshape(-1, d)
        trajectory = []
        for step in range(actions.shape[1]):
            action = actions[:, step].repeat_interleave(particles, 0)
            if self.config.ensemble_sampling == "particle":
                latents = self._step_by_particle(latents, action)
            else:
                member = int(self._randint(self.models.dynamics.members))
                mean, log_variance = self.models.dynamics(latents, action, member)
                latents = self._sample(mean[0], log_variance[0])
            trajectory.append(latents.view(candidates, particles, d))
        return torch.stack(trajectory)

    def _step_by_particle(self, latents: Tensor, action: Tensor) -> Tensor:
        """TS-1: every particle draws a member; a random permutation gives each an equal share."""
        rows, members = len(latents), self.models.dynamics.members
        order = torch.randperm(rows, generator=self._generator, device=self.device)
        padded = order[torch.arange(-(-rows // members) * members, device=self.device) % rows]
        shape = (members, -1, latents.shape[-1])
        mean, log_variance = self.models.dynamics(
            latents[padded].view(shape), action[padded].view(members, -1, action.shape[-1])
        )
        drawn = self._sample(mean, log_variance).flatten(0, 1)[:rows]
        return torch.empty_like(latents).index_copy_(0, order, drawn)

    def _optimize(self, belief: tuple[Tensor, Tensor], search: _Search) -> Tensor | None:
        """CEM; returns the plans to choose from, or None where the search gave up."""
        config = self.config
        mean = stddev = None
        start_over = True
        iteration = 0
        while iteration < config.iterations:
            if start_over:
                population = self._first_population(use_warm_start=search.restarts == 0)
                start_over = False
            else:
                noise = self._randn(config.candidates, *mean.shape)
                population = (mean + stddev * noise).clamp(-1.0, 1.0)
            scores = self.score(self._particles(belief, len(population)), population)
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
                start_over, iteration = True, 0
                continue
            keep = min(max(count, 2), config.elites) if count else config.elites
            best = scores.rank(level, config.delta_c).topk(keep).indices
            elites = population[best]
            mean = elites.mean(0)
            stddev = elites.std(0).clamp(min=2.0 * config.min_stddev)
        self._warm = (mean, stddev)
        if config.returned == "best":
            return elites[:1]
        return torch.cat((mean[None], elites[:VERIFIED_ELITES]))

    def _relaxed_level(self, scores: Scores, search: _Search) -> float:
        """Lowers delta_S by the relaxation factor until a candidate satisfies both constraints."""
        config = self.config
        if config.relax_on == "restart" or not config.use_safe_set:
            return search.delta_s
        level, relaxations = config.delta_s, 0
        allowed = scores.constraint <= config.delta_c
        best = float(torch.where(allowed, scores.safe_set, -1.0).max())
        while best < level and relaxations < config.max_relaxations:
            level *= config.relaxation
            relaxations += 1
        search.delta_s, search.restarts = level, relaxations
        return level

    def _decide(
        self, belief: tuple[Tensor, Tensor], plans: Tensor, search: _Search, began: float
    ) -> Plan:
        """Tests the plans again with fresh particles and takes the best, or a fallback."""
        config = self.config
        particles = max(config.particles, config.verify_particles)
        scores = self.score(self._particles(belief, len(plans), particles), plans)
        # Fresh particles may put every plan just below the level that the search ended with.
        level = self._relaxed_level(scores, search)
        chosen = int(scores.rank(level, config.delta_c).argmax())
        feasible = bool(scores.feasible(level, config.delta_c)[chosen])
        allowed = bool(scores.constraint[chosen] <= config.delta_c)
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
        if self._warm is None or not use_warm_start or config.warm_start == "none":
            return population
        mean, stddev = self._warm
        if config.warm_start == "shifted":
            last = stddev[-1:].clamp(min=2.0 * WARM_START_LAST_STDDEV)
            mean = torch.cat((mean[1:], mean[-1:]))
            stddev = torch.cat((stddev[1:], last))
        kept = config.candidates - int(config.p_random * config.candidates)
        population[:kept] = (mean + stddev * self._randn(kept, *mean.shape)).clamp(-1.0, 1.0)
        return population

    def _particles(
        self, belief: tuple[Tensor, Tensor], candidates: int, particles: int | None = None
    ) -> Tensor:
        """Present latents (N, P, d) drawn from the encoder's belief (eq. 3)."""
        mean, stddev = belief
        shape = (candidates, particles or self.config.particles, len(mean))
        if self.config.latent_sampling == "particle":
            return mean + stddev * self._randn(*shape)
        if self.config.latent_sampling == "plan":
            mean = mean + stddev * self._randn(len(mean))
        return mean.expand(shape)

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

    def _sample(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        return mean + torch.exp(0.5 * log_variance) * self._randn(*mean.shape)

    def _randn(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator, device=self.device)

    def _uniform(self, *shape: int) -> Tensor:
        return 2.0 * torch.rand(shape, generator=self._generator, device=self.device) - 1.0

    def _randint(self, high: int) -> Tensor:
        return torch.randint(high, (), generator=self._generator, device=self.device)
