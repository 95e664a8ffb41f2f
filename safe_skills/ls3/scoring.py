"""What the learned models say of candidate plans (LS3 eq. 2 to 6), and nothing more than is asked.

Most of a plan's work is here: every candidate is rolled out with several particles, and every
predicted latent may go through four heads. A large population is worked through in blocks that stay
in the cache, and a candidate that broke a chance constraint is not looked at again: its value would
not be read. What is left out changes no decision.

Shapes: N candidates, P particles, H steps, A action dimensions, d latent dimensions, B candidates
of a block. Actions are scaled to [-1, 1].
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor

from safe_skills.ls3.inference import Group, precision_of
from safe_skills.ls3.models import LS3Models
from safe_skills.ls3.planner_config import PlannerConfig

BLOCK_ROWS = 2048
"""Latents of a block: candidates times particles."""

SHARED_DRAWS = 1 << 18
"""Normal numbers from which on two threads draw half of them each, whatever the machine."""

SECOND_STREAM = 1 << 40
"""Distance of the second thread's seed from the first's, more than seeds of runs are apart."""

WORST_VALUE = -1e4
"""Value of a candidate whose value is not a number, and bound of `Scores.rank`."""

Belief = tuple[Tensor, Tensor]
"""Mean and stddev (d,) of the present latent."""


@dataclass(frozen=True)
class Draws:
    """All chance in the rollouts of one population, so that two scorers can see the same.

    Attributes:
        start: standard normal (P or 1, N or 1, d) for the present latents; None: the mean is used.
        noise: standard normal (H, P, N or 1, d) for the predicted ones.
        order: (H, P); before step h the particles change places: place k takes `order[h, k]`.
        groups: for each step, which member of the ensemble moves which places.
    """

    start: Tensor | None
    noise: Tensor
    order: Tensor
    groups: tuple[tuple[Group, ...], ...]

    @property
    def particles(self) -> int:
        """P."""
        return self.noise.shape[1]


class Chance:
    """Draws what populations need, from one seed, into buffers that are used again.

    Args:
        seed: of all draws.
        device: of the normal ones.
        members: networks of the dynamics ensemble.
        latent_dim: d.
    """

    def __init__(self, seed: int, device: torch.device, members: int, latent_dim: int) -> None:
        self.device, self.members, self.latent_dim = device, members, latent_dim
        self._generator = torch.Generator(device).manual_seed(seed)
        self._second_generator = torch.Generator(device).manual_seed(seed + SECOND_STREAM)
        self._helper: ThreadPoolExecutor | None = None
        # Which member moves which particle is decided on the CPU, whatever the device.
        on_cpu = device.type == "cpu"
        self._choices = self._generator if on_cpu else torch.Generator().manual_seed(seed)
        self._buffers: dict[tuple[int, ...], Tensor] = {}

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(shape, generator=self._generator, device=self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [-1, 1)."""
        return torch.rand(shape, generator=self._generator, device=self.device).mul_(2).sub_(1)

    def draw(self, config: PlannerConfig, candidates: int, particles: int) -> Draws:
        """Draws for a population; valid until the next call with the same sizes."""
        d = self.latent_dim
        shared = 1 if config.noise == "common" else candidates
        start = None
        if config.latent_sampling == "plan":
            start = self.normal(1, 1, d)
        elif config.latent_sampling == "particle":
            start = self._refilled(particles, shared, d)
        noise = self._refilled(config.horizon, particles, shared, d)
        if config.ensemble_sampling == "step":
            order = torch.arange(particles).expand(config.horizon, particles)
            groups = tuple(
                (Group(int(member), 0, particles),)
                for member in torch.randint(
                    self.members, (config.horizon,), generator=self._choices
                )
            )
        else:
            order = torch.stack([self._permutation(particles) for _ in range(config.horizon)])
            groups = tuple(self._members(particles) for _ in range(config.horizon))
        return Draws(start, noise, order.to(self.device), groups)

    def _refilled(self, *shape: int) -> Tensor:
        buffer = self._buffers.get(shape)
        if buffer is None:
            with torch.inference_mode(False):
                buffer = self._buffers[shape] = torch.empty(shape, device=self.device)
        flat = buffer.view(-1)
        if self.device.type != "cpu" or len(flat) < SHARED_DRAWS:
            flat.normal_(generator=self._generator)
            return buffer
        # PyTorch draws on one core; a second thread with a generator of its own takes half.
        if self._helper is None:
            self._helper = ThreadPoolExecutor(1)
        half = len(flat) // 2
        other = self._helper.submit(flat[half:].normal_, generator=self._second_generator)
        flat[:half].normal_(generator=self._generator)
        other.result()
        return buffer

    def _permutation(self, count: int) -> Tensor:
        return torch.randperm(count, generator=self._choices)

    def _members(self, particles: int) -> tuple[Group, ...]:
        """TS-1: each member moves equally many particles, or one more where it cannot be equal."""
        whole, rest = divmod(particles, self.members)
        extra = self._permutation(self.members)[:rest].tolist() if rest else []
        groups, first = [], 0
        for member in range(self.members):
            last = first + whole + (member in extra)
            if last > first:
                groups.append(Group(member, first, last))
            first = last
        return tuple(groups)


@dataclass
class Block:
    """Predicted latents (H, P, B, d) of the candidates from `first` on."""

    first: int
    latents: Tensor

    @property
    def candidates(self) -> slice:
        """Which candidates they are."""
        return slice(self.first, self.first + self.latents.shape[2])


@dataclass
class Scores:
    """What the learned models say of N candidates; each tensor is (N,).

    Where a scorer leaves out what nobody will read, `constraint` is a lower bound above delta_C,
    `safe_set` is 0 and `value` NaN; `Scorer.add_values` and `Scorer.complete` fill them in.
    """

    value: Tensor
    constraint: Tensor
    safe_set: Tensor
    blocks: list[Block] = field(default_factory=list)

    def allowed(self, delta_c: float) -> Tensor:
        """The chance constraint on violations (eq. 6), (N,) bool."""
        return self.constraint <= delta_c

    def feasible(self, delta_s: float, delta_c: float) -> Tensor:
        """Both chance constraints (eq. 5 and 6), (N,) bool."""
        return self.allowed(delta_c) & (self.safe_set >= delta_s)

    def rank(self, delta_s: float, delta_c: float) -> Tensor:
        """One number a candidate: feasible ones by value, then by safe set, then by constraint.

        Values of feasible candidates lie far above `WORST_VALUE`, so the three classes never mix.
        """
        allowed = self.allowed(delta_c)
        fallback = torch.where(allowed, self.safe_set - 1e5, -1e6 - self.constraint)
        values = self.value.nan_to_num(nan=WORST_VALUE).clamp(min=WORST_VALUE)
        return torch.where(self.feasible(delta_s, delta_c), values, fallback)


class Scorer:
    """Rolls candidates out and evaluates the heads; keeps a snapshot of the models' weights.

    Args:
        models: the learned models.
        precision: of the products, as in `PlannerConfig`.
    """

    def __init__(self, models: LS3Models, precision: str = "float32") -> None:
        self.device = next(models.parameters()).device
        self.dtype = precision_of(precision, self.device)
        self._kernels = models.kernels(self.dtype)

    def test(self, config: PlannerConfig, belief: Belief, actions: Tensor, draws: Draws) -> Scores:
        """Rolls out (N, H, A) actions and evaluates both chance constraints (eq. 3 to 6)."""
        count = len(actions)
        by_blocks = self.device.type == "cpu" and count * draws.particles > BLOCK_ROWS
        size = max(1, BLOCK_ROWS // draws.particles) if by_blocks else count
        scores = Scores(
            value=actions.new_full((count,), float("nan")),
            constraint=actions.new_zeros(count),
            safe_set=actions.new_zeros(count) if config.use_safe_set else actions.new_ones(count),
        )
        for first in range(0, count, size):
            chosen = slice(first, first + size)
            block = Block(first, self._roll(belief, actions[chosen], draws, chosen))
            scores.blocks.append(block)
            if config.use_constraint:
                test = self._constraint_by_steps if by_blocks else self._constraint
                scores.constraint[block.candidates] = test(config, block.latents)
            if config.use_safe_set:
                self._add_safe_set(scores, block, config.delta_c if by_blocks else None)
        if not by_blocks:
            self.add_values(config, scores, torch.ones_like(scores.value, dtype=torch.bool))
        return scores

    def add_values(self, config: PlannerConfig, scores: Scores, wanted: Tensor) -> None:
        """Fills in the objective (eq. 2) of the `wanted` (N,) candidates that have none yet."""
        wanted = wanted & scores.value.isnan()
        for block in scores.blocks:
            index = wanted[block.candidates].nonzero().squeeze(1)
            if len(index):
                latents = _chosen(block.latents, index)
                scores.value[block.first + index] = self._objective(config, latents)

    def complete(self, config: PlannerConfig, scores: Scores) -> None:
        """Fills in the constraint at all steps of the candidates that broke it early."""
        if not config.use_constraint:
            return
        broken = ~scores.allowed(config.delta_c)
        for block in scores.blocks:
            index = broken[block.candidates].nonzero().squeeze(1)
            if len(index):
                latents = _chosen(block.latents, index)
                scores.constraint[block.first + index] = self._constraint(config, latents)

    def _roll(self, belief: Belief, actions: Tensor, draws: Draws, chosen: slice) -> Tensor:
        """Samples latents z_{t+1..t+H} (eq. 4) as (H, P, B, d) in the kernels' precision."""
        mean, stddev = belief
        count, horizon, action_dim = actions.shape
        d = len(mean)
        latents = mean.expand(draws.particles, count, d)
        if draws.start is not None:
            latents = latents + stddev * _part(draws.start, chosen)
        inputs = latents.new_empty(draws.particles, count, d + action_dim, dtype=self.dtype)
        path = latents.new_empty(horizon, *latents.shape, dtype=self.dtype)
        for step in range(horizon):
            latents = latents.index_select(0, draws.order[step])
            inputs[..., :d] = latents
            inputs[..., d:] = actions[:, step]
            change, spread = self._kernels.dynamics(inputs, draws.groups[step])
            latents += change
            latents.addcmul_(spread, _part(draws.noise[step], chosen))
            path[step] = latents
        return path

    def _constraint(self, config: PlannerConfig, latents: Tensor) -> Tensor:
        """Highest probability of a violation over the steps, (B,), of latents (H, P, B, d)."""
        return self._over_particles(config, self._kernels.constraint(latents)).amax(0)

    def _constraint_by_steps(self, config: PlannerConfig, latents: Tensor) -> Tensor:
        """The same, but a candidate is followed only up to the step that breaks delta_C."""
        result = latents.new_zeros(latents.shape[2], dtype=torch.float32)
        alive = None
        for step in latents:
            present = step if alive is None else step[:, alive]
            probability = self._over_particles(config, self._kernels.constraint(present))
            if alive is None:
                result = torch.maximum(result, probability)
            else:
                result[alive] = torch.maximum(result[alive], probability)
            kept = probability <= config.delta_c
            if not kept.all():
                alive = kept.nonzero().squeeze(1) if alive is None else alive[kept]
                if len(alive) == 0:
                    break
        return result

    def _over_particles(self, config: PlannerConfig, probability: Tensor) -> Tensor:
        """(..., P, B) to (..., B)."""
        over_max = config.constraint_over == "max"
        return probability.amax(-2) if over_max else probability.mean(-2)

    def _add_safe_set(self, scores: Scores, block: Block, delta_c: float | None) -> None:
        """f_S of the last latents (eq. 5), where `delta_c` is kept if that is given."""
        last, chosen = block.latents[-1], block.candidates
        if delta_c is not None:
            allowed = scores.constraint[chosen] <= delta_c
            if not allowed.all():
                index = allowed.nonzero().squeeze(1)
                last, chosen = last[:, index], block.first + index
        scores.safe_set[chosen] = self._kernels.safe_set(last).mean(0)

    def _objective(self, config: PlannerConfig, latents: Tensor) -> Tensor:
        """Expected rewards up to step H - 1 and value at H (eq. 2): (n,) of (H, P, n, d)."""
        if config.objective_on == "mean_latent":
            latents = latents.mean(1, keepdim=True, dtype=torch.float32)
        value = self._kernels.value(latents[-1])
        if config.bounded_value:
            value = value.clamp(max=0.0)
        if len(latents) > 1:
            goal = self._kernels.goal(latents[:-1]).mean(1)
            if config.goal_reward == "indicator":
                goal = (goal > 0.5).float()
            value = value + goal.sum(0)
        return value.nan_to_num(nan=WORST_VALUE)


def _part(draws: Tensor, chosen: slice) -> Tensor:
    """Draws (P, N or 1, d) of the chosen candidates."""
    return draws if draws.shape[1] == 1 else draws[:, chosen]


def _chosen(latents: Tensor, index: Tensor) -> Tensor:
    """Latents (H, P, B, d) of some candidates; no copy where they are all meant."""
    return latents if len(index) == latents.shape[2] else latents[:, :, index]
