"""Settings of a watcher: what it learns over given latents, and how sure it has to be."""

from __future__ import annotations

from dataclasses import dataclass, field

from safe_skills.data.settings import Settings, require
from safe_skills.ls3.config import ClassifierConfig, DynamicsConfig, SafeSetConfig


@dataclass(frozen=True)
class CalibrationConfig:
    """How a watcher's levels are chosen.

    Attributes:
        hold_out: share of the episodes that are not trained on.
        allowed: largest share of unsafe steps among those that delta_C lets through.
        refused: largest share of the safe set's states that delta_S refuses.
        confidence: with which each of the two holds.
    """

    hold_out: float = 0.1
    allowed: float = 0.1
    refused: float = 0.1
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name in ("hold_out", "allowed", "refused", "confidence"):
            value = getattr(self, name)
            require(0 < value < 1, f"calibration.{name}: expected a share in (0, 1), got {value}")


@dataclass(frozen=True)
class WatcherConfig(Settings):
    """What a watcher learns over given latents, and how its levels are chosen."""

    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    safe_set: SafeSetConfig = field(default_factory=SafeSetConfig)
    constraint: ClassifierConfig = field(default_factory=ClassifierConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
