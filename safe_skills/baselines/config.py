"""Settings of LS3's baselines (LS3 sec. 7.1.2 to 7.1.4); the defaults are the paper's.

What the paper leaves open has the value of the implementations that it names.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from safe_skills.data.settings import require


def _require_positive(where: str, settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        require(value > 0, f"{where}.{name}: expected more than 0, got {value}")


def _require_share(where: str, settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        require(0.0 <= value <= 1.0, f"{where}.{name}: expected 0 to 1, got {value}")


@dataclass(frozen=True)
class VisionConfig:
    """What the networks see, and the convolutions with which each of them sees it.

    Attributes:
        image_size: side of the square frames [pixels]; larger ones are shrunk by area.
        channels: of the convolutions, each followed by a ReLU.
        kernel: their side [pixels].
        stride: of each [pixels].
        padding: of each [pixels].
        features: length of the vector that they end in.
        frames: stacked, the oldest first; at the start of an episode the first one repeats.
    """

    image_size: int = 64
    channels: tuple[int, ...] = (128, 64, 16)
    kernel: int = 3
    stride: int = 2
    padding: int = 1
    features: int = 256
    frames: int = 1

    def __post_init__(self) -> None:
        names = ("image_size", "kernel", "stride", "features", "frames")
        _require_positive("vision", self, *names)
        require(len(self.channels) > 0, "vision.channels: expected at least one, got none")
        side = self.image_size
        for _ in self.channels:
            side = (side + 2 * self.padding - self.kernel) // self.stride + 1
            require(side > 0, f"vision: {len(self.channels)} convolutions leave nothing of a frame")


@dataclass(frozen=True)
class OnlineConfig:
    """The online phase.

    Attributes:
        episodes_per_update: K, trajectories between two checkpoints; the agents learn in between.
        updates: how many times K trajectories.
        steps_per_gradient: steps of the robot for every gradient step; the paper's is 1.
    """

    episodes_per_update: int = 10
    updates: int = 25
    steps_per_gradient: int = 1

    def __post_init__(self) -> None:
        _require_positive("online", self, "episodes_per_update", "steps_per_gradient")
        require(self.updates >= 0, f"online.updates: expected 0 or more, got {self.updates}")


@dataclass(frozen=True)
class SacfdConfig:
    """Soft actor-critic from demonstrations (LS3 sec. 7.1.2).

    Attributes:
        penalty: -lambda, taken off the reward of a step in violation.
        hidden: widths of actor and critics.
        batch_size: transitions a gradient step.
        learning_rate: of Adam.
        discount: gamma.
        target_rate: tau, share of the critics that their targets take over in each step.
        temperature: alpha, fixed.
        clone_iterations: gradient steps of behaviour cloning on the demonstrations.
        critic_iterations: gradient steps of the critics alone on the demonstrations.
    """

    penalty: float = 3.0
    hidden: tuple[int, ...] = (256, 256)
    batch_size: int = 256
    learning_rate: float = 3e-4
    discount: float = 0.99
    target_rate: float = 0.005
    temperature: float = 0.2
    clone_iterations: int = 3000
    critic_iterations: int = 10_000

    def __post_init__(self) -> None:
        _require_positive("sacfd", self, "batch_size", "learning_rate")
        _require_share("sacfd", self, "discount", "target_rate")


@dataclass(frozen=True)
class RecoveryConfig:
    """What Recovery RL adds to soft actor-critic from demonstrations (LS3 sec. 7.1.3).

    Attributes:
        gamma_risk: discount of future violations.
        eps_risk: the recovery policy acts where the task policy's action has a larger risk.
        hidden: widths of safety critic and recovery policy.
        learning_rate: of Adam.
        target_rate: tau of the safety critic.
        iterations: gradient steps on all offline data.
    """

    gamma_risk: float = 0.95
    eps_risk: float = 0.8
    hidden: tuple[int, ...] = (256, 256)
    learning_rate: float = 3e-4
    target_rate: float = 2e-4
    iterations: int = 10_000

    def __post_init__(self) -> None:
        _require_positive("recovery", self, "learning_rate")
        _require_share("recovery", self, "gamma_risk", "eps_risk", "target_rate")


@dataclass(frozen=True)
class AwacConfig:
    """Advantage-weighted actor-critic (LS3 sec. 7.1.4).

    Attributes:
        penalty: taken off the reward of a step in violation.
        actor_hidden: widths of the actor.
        critic_hidden: widths of the critics.
        batch_size: transitions a gradient step.
        learning_rate: of Adam, for actor and critics.
        weight_decay: of the actor.
        discount: gamma.
        target_rate: tau of the critics.
        advantage_scale: lambda of the weights exp(A / lambda).
        normalized: divide the weights of a batch by their mean, as the implementation does that the
            paper used. False: the weights themselves, at most `largest_weight`.
        largest_weight: where they are not normalized.
        iterations: gradient steps on all offline data.
    """

    penalty: float = 1.0
    actor_hidden: tuple[int, ...] = (256, 256, 256, 256)
    critic_hidden: tuple[int, ...] = (256, 256)
    batch_size: int = 1024
    learning_rate: float = 3e-4
    weight_decay: float = 1e-4
    discount: float = 0.99
    target_rate: float = 0.005
    advantage_scale: float = 2.0
    normalized: bool = True
    largest_weight: float = 100.0
    iterations: int = 25_000

    def __post_init__(self) -> None:
        names = ("batch_size", "learning_rate", "advantage_scale", "largest_weight")
        _require_positive("awac", self, *names)
        _require_share("awac", self, "discount", "target_rate")


@dataclass(frozen=True)
class BaselineConfig:
    """All settings of a run; a method reads its own."""

    vision: VisionConfig = field(default_factory=VisionConfig)
    online: OnlineConfig = field(default_factory=OnlineConfig)
    sacfd: SacfdConfig = field(default_factory=SacfdConfig)
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    awac: AwacConfig = field(default_factory=AwacConfig)
