"""LS3's hyperparameters, as data classes that read from and write to plain mappings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from safe_skills.data.settings import Settings, from_mapping, plain, require
from safe_skills.ls3.planner_config import PlannerConfig, planner_profile


@dataclass(frozen=True)
class EncoderConfig:
    """The beta-VAE (LS3 eq. 7).

    Attributes:
        architecture: "compact" (three convolutions, for a CPU) or "planet" (the paper's:
            64x64 input, four convolutions, the second with stride 3).
        image_size: side of the input; views are shrunk to it by area.
        latent_dim: d, 32 in every domain of the paper.
        beta: weight of the KL term; the reconstruction error is averaged over pixels as in the
            released code (the paper writes a sum).
        augmentation: of images as inputs and as targets. "none"; "affine": half of them moved by
            up to a tenth of their side and turned by up to 20 degrees (LS3 sec. 7.3.4); "crop": a
            random square of .8 to 1 of each one's area, enlarged (sec. 4.1).
        pixels: what the networks see of an image, and what the reconstruction error is measured in.
            "plain": the pixels in [0, 1] (paper). "standardized": less their mean over the training
            frames, by their deviation, so that what moves counts and a background does not (ours).
            "differences": of a stack, the present frame and what has changed from each frame to the
            next, standardized, so that velocities count as much as positions (ours).
    """

    architecture: str = "compact"
    image_size: int = 32
    latent_dim: int = 32
    beta: float = 1e-6
    augmentation: str = "affine"
    pixels: str = "plain"
    learning_rate: float = 1e-3
    batch_size: int = 64
    iterations: int = 3000

    def __post_init__(self) -> None:
        require(
            self.architecture in ("compact", "planet"),
            f"encoder.architecture: expected compact or planet, got {self.architecture!r}",
        )
        require(
            self.augmentation in ("none", "affine", "crop"),
            f"encoder.augmentation: expected none, affine or crop, got {self.augmentation!r}",
        )
        require(
            self.pixels in ("plain", "standardized", "differences"),
            f"encoder.pixels: expected plain, standardized or differences, got {self.pixels!r}",
        )
        sizes = {"compact": (32, 64), "planet": (64,)}[self.architecture]
        require(
            self.image_size in sizes,
            f"encoder.image_size: {self.architecture} takes {sizes}, got {self.image_size}",
        )


@dataclass(frozen=True)
class DynamicsConfig:
    """The probabilistic ensemble (PETS): predicts mean and variance of the latent's change.

    Attributes:
        members: networks of the ensemble.
        hidden: widths of the hidden layers (2 x 128 in the paper).
        log_variance_bounds: soft bounds of PETS; the released LS3 code has none (null).
    """

    members: int = 5
    hidden: tuple[int, ...] = (128, 128)
    log_variance_bounds: tuple[float, float] | None = (-10.0, 0.5)
    learning_rate: float = 1e-3
    batch_size: int = 256
    iterations: int = 3000
    iterations_per_update: int = 150


@dataclass(frozen=True)
class ValueConfig:
    """The value ensemble (LS3 eq. 9, 10).

    Attributes:
        discount: gamma.
        scale: what the networks predict is value / scale; 10 keeps targets near 1.
        monte_carlo_share: share of the first iterations that regress on the return to go; the
            rest use one-step targets.
        returns_online: regress on it in online updates, too, which use one-step targets in the
            paper. Values that lead to each other drift with every update, and what an episode
            that got stuck costs takes many of them to arrive (ours).
        own_reward: count r_t in the return to go, as the one-step target does. False is the
            paper's eq. 9, which starts at r_{t+1}.
        target_period: updates between copies into the target network.
        steps: n of the targets: rewards of n steps and the value after them. The paper's is 1; more
            carry further at once what the robot has just found, or that it went nowhere (ours).
        floor: no target is below the return to go of a trajectory that reached the goal: what was
            done can be done again. Of many failures where a few have succeeded, a mean says
            nothing of how (ours).
        expectile: of the targets that values are; 0.5 is their mean, as in the paper. More is
            nearer to the best of what followed (ours).
        noise: see `ClassifierConfig`.
    """

    members: int = 5
    hidden: tuple[int, ...] = (128, 128)
    steps: int = 1
    expectile: float = 0.5
    floor: bool = False
    discount: float = 0.99
    scale: float = 10.0
    monte_carlo_share: float = 0.5
    returns_online: bool = False
    own_reward: bool = True
    target_period: int = 100
    learning_rate: float = 3e-4
    batch_size: int = 128
    iterations: int = 2000
    iterations_per_update: int = 200
    noise: float = 0.0

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"value.steps: expected at least 1, got {self.steps}")
        above = f"value.expectile: expected more than 0 and less than 1, got {self.expectile}"
        require(0 < self.expectile < 1, above)
        require(self.noise >= 0, f"value.noise: expected at least 0, got {self.noise}")


@dataclass(frozen=True)
class ClassifierConfig:
    """Goal and constraint estimators, and the base of the safe set: latent -> probability.

    Attributes:
        balanced: draw half of each batch from the positives. The paper samples uniformly.
        noise: standard deviation of what is added to latents in training, whose spread is 1. What
            is learned from few frames of a kind then also holds around them (ours).
    """

    hidden: tuple[int, ...] = (128, 128)
    balanced: bool = True
    learning_rate: float = 3e-4
    batch_size: int = 256
    iterations: int = 1500
    iterations_per_update: int = 75
    noise: float = 0.0

    def __post_init__(self) -> None:
        require(self.noise >= 0, f"noise: expected at least 0, got {self.noise}")


@dataclass(frozen=True)
class GoalConfig(ClassifierConfig):
    """The goal estimator (LS3 sec. 4.3).

    Attributes:
        frames: of the frames in the goal with which an episode ends, how many anything is learned
            from; 0: all, as in the paper. An agent that is quick spends most of an episode in the
            goal, anywhere; values and f_G, of many such frames, mistake it anywhere for the goal.
    """

    balanced: bool = False
    frames: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.frames >= 0, f"goal.frames: expected at least 0, got {self.frames}")


@dataclass(frozen=True)
class SafeSetConfig(ClassifierConfig):
    """The Bellman safe set (LS3 eq. 11).

    Attributes:
        gamma_s: weight of the next state's probability; 0 gives the ablation "BC SS".
        target_period: updates between copies into the target network (released code); 0 makes
            the current network its own target (the paper's text).
        timeouts: what the frames of an online episode are that neither reached the goal nor
            violated the constraint. "outside" the safe set (paper); "undecided" are not learned
            from: an agent that is too slow at first does not unlearn the way (ours).
    """

    balanced: bool = False
    gamma_s: float = 0.9
    target_period: int = 100
    timeouts: str = "outside"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.timeouts in ("outside", "undecided"),
            f"safe_set.timeouts: expected outside or undecided, got {self.timeouts!r}",
        )


@dataclass(frozen=True)
class OnlineConfig:
    """Algorithm 1's loop.

    Attributes:
        episodes_per_update: K.
        updates: U.
        profile: of the planner that acts.
        planner: settings of that planner that differ from its profile, wherever the agent acts;
            those of the ablations are among them.
        verify_particles: of that planner. More than the realtime profile has make the robot hold
            more often while it gathers, and agents that learn from this are more reliable.
        share: of every training batch that comes from the online episodes; the rest is drawn from
            all data. 0 draws uniformly, as the paper does: of many demonstrations and few online
            episodes, what the robot has just done wrong is then hardly ever seen again.
    """

    episodes_per_update: int = 5
    updates: int = 0
    profile: str = "realtime"
    planner: dict[str, Any] = field(default_factory=dict)
    verify_particles: int = 20
    share: float = 0.0

    def __post_init__(self) -> None:
        require(
            self.verify_particles >= 1,
            f"online.verify_particles: expected at least 1, got {self.verify_particles}",
        )
        require(0 <= self.share <= 1, f"online.share: expected 0..1, got {self.share}")
        whole = {**plain(asdict(planner_profile(self.profile))), **self.planner}
        from_mapping(PlannerConfig, whole, "online.planner")


@dataclass(frozen=True)
class LS3Config(Settings):
    """Everything that is learned, and how long."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    value: ValueConfig = field(default_factory=ValueConfig)
    safe_set: SafeSetConfig = field(default_factory=SafeSetConfig)
    constraint: ClassifierConfig = field(default_factory=ClassifierConfig)
    goal: GoalConfig = field(default_factory=GoalConfig)
    online: OnlineConfig = field(default_factory=OnlineConfig)
