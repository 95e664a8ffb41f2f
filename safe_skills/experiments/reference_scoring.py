"""A straightforward rendering of LS3's scoring of candidates, the benchmark's baseline.

It does what the released planner does (`latentsafesets/policy/cem_policy.py`): whole populations at
once, every head on every predicted latent of every particle, in float32, one network after another.
It is what `ls3.scoring.Scorer` must agree with.
"""

from __future__ import annotations

import torch
from torch import Tensor

from safe_skills.ls3.models import LS3Models
from safe_skills.ls3.planner_config import PlannerConfig
from safe_skills.ls3.scoring import WORST_VALUE, Belief, Draws, Scores


class ReferenceScorer:
    """Scores candidates with the models' own modules; see `ls3.planner.Scoring`."""

    def __init__(self, models: LS3Models) -> None:
        self.models = models

    def test(self, config: PlannerConfig, belief: Belief, actions: Tensor, draws: Draws) -> Scores:
        """Evaluates everything of (N, H, A) actions (LS3 eq. 2 to 6)."""
        models = self.models
        path = self.rollout(belief, actions, draws)
        ones = actions.new_ones(len(actions))
        constraint, safe_set = 0.0 * ones, ones
        if config.use_constraint:
            violation = models.constraint(path)
            over_max = config.constraint_over == "max"
            constraint = (violation.amax(2) if over_max else violation.mean(2)).amax(0)
        if config.use_safe_set:
            safe_set = models.safe_set(path[-1]).mean(1)
        if config.objective_on == "mean_latent":
            path = path.mean(2, keepdim=True)
        members = [models.value.net(path[-1].flatten(0, 1), e) for e in range(models.value.members)]
        value = models.value.scale * torch.stack(members).mean(0).view(path.shape[1:3]).mean(1)
        if config.bounded_value:
            value = value.clamp(max=0.0)
        if len(path) > 1:
            goal = models.goal(path[:-1]).mean(2)
            value = value + (goal if config.goal_reward == "probability" else (goal > 0.5)).sum(0)
        return Scores(value.nan_to_num(nan=WORST_VALUE), constraint, safe_set)

    def rollout(self, belief: Belief, actions: Tensor, draws: Draws) -> Tensor:
        """Samples latents z_{t+1..t+H} (eq. 4) as (H, N, P, d)."""
        mean, stddev = belief
        count, particles = len(actions), draws.particles
        latents = mean.expand(count, particles, len(mean))
        if draws.start is not None:
            latents = latents + stddev * draws.start.transpose(0, 1)
        path = []
        for step, groups in enumerate(draws.groups):
            latents = latents[:, draws.order[step]]
            means, log_variances = [], []
            for member, first, last in groups:
                rows = latents[:, first:last].flatten(0, 1)
                action = actions[:, step].repeat_interleave(last - first, 0)
                for part, whole in zip(
                    self.models.dynamics(rows, action, member), (means, log_variances), strict=True
                ):
                    whole.append(part.view(count, last - first, -1))
            noise = draws.noise[step].transpose(0, 1)
            latents = torch.cat(means, 1) + torch.exp(0.5 * torch.cat(log_variances, 1)) * noise
            path.append(latents)
        return torch.stack(path)

    def add_values(self, config: PlannerConfig, scores: Scores, wanted: Tensor) -> None:
        """Nothing is missing."""

    def complete(self, config: PlannerConfig, scores: Scores) -> None:
        """Nothing is missing."""
