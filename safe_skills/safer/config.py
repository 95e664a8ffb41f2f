"""SAFER's hyperparameters, as data classes that read from and write to plain mappings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from safe_skills.data.segments import UnsafeLabel
from safe_skills.data.settings import ConfigError, Settings, require

METHODS = ("safer", "parrot", "context-parrot")
"""SAFER; PARROT (no c, no unsafe term); Context PARROT (c, no unsafe term; SAFER app. E)."""


@dataclass(frozen=True)
class EncoderConfig:
    """The CNN that turns a frame into psi(s), for the flow and the posterior alike.

    Attributes:
        image_size: side to which frames are shrunk by area.
        channels: of the convolutions, each of 4x4 with stride 2.
        features: length of psi(s).
        shift: frames are moved by up to so many pixels in training, all of an episode alike.
    """

    image_size: int = 24
    channels: tuple[int, ...] = (16, 32, 64)
    features: int = 64
    shift: int = 1

    def __post_init__(self) -> None:
        step = 2 ** len(self.channels)
        require(
            self.image_size % step == 0 and self.image_size >= step,
            f"encoder.image_size: {len(self.channels)} convolutions take a multiple of {step}, "
            f"got {self.image_size}",
        )


@dataclass(frozen=True)
class FlowConfig:
    """The conditional RealNVP f(z; s, c).

    Attributes:
        couplings: affine coupling layers (3; the paper also tried 5).
        hidden: widths of each coupling's network (the paper tried 128 and 256).
        max_log_scale: bound on the log-scales, by tanh.
    """

    couplings: int = 3
    hidden: tuple[int, ...] = (128, 128)
    max_log_scale: float = 2.0

    def __post_init__(self) -> None:
        require(self.couplings >= 2, f"flow.couplings: expected 2 or more, got {self.couplings}")


@dataclass(frozen=True)
class PosteriorConfig:
    """q(c | Lambda), a transformer over the window of past states.

    Attributes:
        kind: "gaussian"; "deterministic" is the ablation of SAFER app. C: c is the mean and there
            is no KL; "none" leaves c out.
        size: components of c (8; the paper also tried 32 and 64).
        window: states in Lambda, with the present one (16; the paper also tried 32).
        width: of a token.
    """

    kind: str = "gaussian"
    size: int = 8
    window: int = 16
    layers: int = 2
    heads: int = 4
    width: int = 32

    def __post_init__(self) -> None:
        kinds = ("gaussian", "deterministic", "none")
        require(self.kind in kinds, f"posterior.kind: expected one of {kinds}, got {self.kind!r}")
        require(
            self.width % self.heads == 0,
            f"posterior.width: expected a multiple of heads ({self.heads}), got {self.width}",
        )
        for name in ("size", "window", "layers"):
            value = getattr(self, name)
            require(value >= 1, f"posterior.{name}: expected at least 1, got {value}")

    @property
    def context_size(self) -> int:
        """Length of c as the flow sees it: 0 without c."""
        return 0 if self.kind == "none" else self.size


@dataclass(frozen=True)
class ObjectiveConfig:
    """The contrastive objective (SAFER eq. 4, Algorithm 2).

    Attributes:
        contrastive: False leaves the unsafe term out, as PARROT and Context PARROT do.
        imitate: without the unsafe term, whose likelihood is raised: "safe" is D_safe;
            "successful" is every step of successful episodes, with contacts or without (SAFER app.
            C, Fig. 9).
        rho: weight of an unsafe step relative to a safe one. lambda multiplies means over batches,
            so that lambda = rho N_unsafe / N_safe.
        absolute_lambda: lambda itself, as the paper sets it (1e-4, 1e-5); takes rho's place.
        kl_weight: of both KL terms (1 in the paper).
        freeze: when the unsafe term is frozen ("if it starts to diverge"): "sample" takes no
            gradient from unsafe steps with log p below the floor; "batch" from none while their
            mean is below it; "none" never.
        freeze_margin: the floor lies so many nats below the mean log p of the safe batch.
        contacts: which contacts are unsafe, "first" or "any" (`data.segments.UnsafeLabel`).
        ahead: so many steps before a contact are unsafe, too.
    """

    contrastive: bool = True
    imitate: str = "safe"
    rho: float = 2.0
    absolute_lambda: float | None = None
    kl_weight: float = 0.01
    freeze: str = "sample"
    freeze_margin: float = 5.0
    contacts: str = "first"
    ahead: int = 0

    def __post_init__(self) -> None:
        rules = ("sample", "batch", "none")
        require(
            self.freeze in rules, f"objective.freeze: expected one of {rules}, got {self.freeze!r}"
        )
        known = ("safe", "successful")
        require(
            self.imitate in known,
            f"objective.imitate: expected one of {known}, got {self.imitate!r}",
        )
        for name in ("rho", "kl_weight", "absolute_lambda"):
            value = getattr(self, name)
            require(value is None or value >= 0, f"objective.{name}: expected 0 or more")
        _ = self.label

    @property
    def label(self) -> UnsafeLabel:
        """Which steps are unsafe."""
        return UnsafeLabel(self.contacts, self.ahead)

    def lambda_(self, safe: int, unsafe: int) -> float:
        """Lambda of eq. 4 for a data set with so many safe and unsafe steps."""
        if self.absolute_lambda is not None:
            return self.absolute_lambda
        return self.rho * unsafe / safe


@dataclass(frozen=True)
class OptimizationConfig:
    """How the objective is optimized.

    Attributes:
        optimizer: "sgd" (with momentum, the paper's) or "adam" (the paper's for PARROT).
        decay: "cosine" lowers the learning rate to a hundredth over the run, "none" keeps it.
        clip: largest norm of the gradient.
        iterations: optimization steps.
        segments: runs of steps in a batch.
        segment_steps: longest run; every frame of a run is encoded once.
        dequantization: distribution of the noise on actions, "normal" or "uniform": commands at
            the ends of their range are atoms, whose density has no bound.
        dequantization_scale: its stddev, or half of its width; one number, or one a component.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    decay: str = "cosine"
    clip: float = 5.0
    iterations: int = 8000
    segments: int = 16
    segment_steps: int = 30
    dequantization: str = "normal"
    dequantization_scale: tuple[float, ...] = (0.05,)

    def __post_init__(self) -> None:
        choices = {
            "optimizer": ("sgd", "adam"),
            "decay": ("cosine", "none"),
            "dequantization": ("normal", "uniform"),
        }
        for name, known in choices.items():
            value = getattr(self, name)
            require(value in known, f"optimization.{name}: expected {known}, got {value!r}")
        for name in ("iterations", "segments", "segment_steps"):
            value = getattr(self, name)
            require(value >= 1, f"optimization.{name}: expected at least 1, got {value}")


@dataclass(frozen=True)
class AssuranceConfig:
    """How eta is chosen and certified (SAFER sec. 4.4, Algorithm 3).

    Attributes:
        hold_out: share of the episodes that is not trained on, half to choose, half to certify.
        allowed: unsafe shares (1 - epsilon) for which an eta is computed.
        method: "exact" (sorted), "literal" (Algorithm 3), or "bound": the largest box whose upper
            confidence bound is allowed.
        unsafe_mix: share of unsafe steps in the mix that the shares refer to; null takes the data
            as they are.
        confidence: of the upper bounds.
    """

    hold_out: float = 0.1
    allowed: tuple[float, ...] = (0.0, 0.15, 0.3, 0.45)
    method: str = "exact"
    unsafe_mix: float | None = 0.5
    confidence: float = 0.95

    def __post_init__(self) -> None:
        methods = ("exact", "literal", "bound")
        require(self.method in methods, f"assurance.method: expected one of {methods}")
        require(0 < self.hold_out < 1, f"assurance.hold_out: expected 0..1, got {self.hold_out}")
        require(0 < self.confidence < 1, f"assurance.confidence: expected 0..1: {self.confidence}")
        for value in self.allowed:
            require(0 <= value < 1, f"assurance.allowed: expected 0 to below 1, got {value}")
        mix = self.unsafe_mix
        require(mix is None or 0 < mix < 1, f"assurance.unsafe_mix: expected 0..1, got {mix}")


@dataclass(frozen=True)
class SaferConfig(Settings):
    """Everything of a skill prior."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    posterior: PosteriorConfig = field(default_factory=PosteriorConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    assurance: AssuranceConfig = field(default_factory=AssuranceConfig)


def for_method(config: SaferConfig, method: str) -> SaferConfig:
    """The configuration with what a method leaves out (SAFER app. E) left out.

    Raises:
        ConfigError: for an unknown method.
    """
    if method not in METHODS:
        raise ConfigError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    if method == "safer":
        require(
            config.objective.imitate == "safe",
            "objective.imitate: expected 'safe' for the method safer, whose unsafe steps are not "
            f"imitated; got {config.objective.imitate!r}",
        )
        return config
    changed = replace(config, objective=replace(config.objective, contrastive=False))
    if method == "parrot":
        changed = replace(changed, posterior=replace(changed.posterior, kind="none"))
    return changed
