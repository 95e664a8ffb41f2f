"""What a run of the graph came to: rates with intervals, times, counters. No ROS in here."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from safe_skills.data.statistics import percentiles, rate_interval

OUTCOMES = ("feasible", "max_safe_set", "hold", "random")
"""Names of the outcomes of PlanStatus.msg, by their value."""

SKILL_OUTCOMES = ("decoded", "hold")
"""Names of the outcomes of SkillStatus.msg, by their value."""

KEPT_FRAMES = 100_000
"""Frames whose times are kept: more than a day of a robot at 1 Hz, two hours and more at 10 Hz."""


@dataclass
class EpisodeRecord:
    """One episode as its last status told it."""

    episode: int
    seed: int = 0
    steps: int = 0
    success: bool = False
    violation: bool = False
    violation_kind: str = ""
    episode_return: float = 0.0
    episode_cost: float = 0.0
    done: bool = False


HOPS = {
    "image_to_latent": ("image", "latent"),
    "latent_to_command": ("latent", "command"),
    "command_to_safe": ("command", "safe"),
    "safe_to_servo": ("safe", "servo"),
    "command_to_servo": ("command", "servo"),
    "image_to_servo": ("image", "servo"),
}
"""Parts of the way from image to robot, by the times between which they lie (see `_Frame`)."""


@dataclass
class _Frame:
    """Wall times [ns] of an image and of its answers, and what was computed meanwhile.

    Attributes:
        image: stamp of the image.
        latent: publication of the encoder's latent, `command`, `safe` and `servo` likewise.
        encode_time: the encoder's own [s]; None where it is not known.
        solve_time: the planner's own [s].
    """

    image: int
    latent: int = 0
    command: int = 0
    safe: int = 0
    servo: int = 0
    encode_time: float | None = None
    solve_time: float | None = None

    def milliseconds(self, begin: str, end: str) -> float | None:
        """Time between two of them; None where one is not known."""
        first, last = getattr(self, begin), getattr(self, end)
        return 1e-6 * (last - first) if first and last else None

    def overhead(self) -> float | None:
        """Image to set-point without the encoder's and the planner's own time [ms]."""
        whole = self.milliseconds("image", "servo")
        if whole is None or self.encode_time is None or self.solve_time is None:
            return None
        return whole - 1e3 * (self.encode_time + self.solve_time)


@dataclass
class RunLog:
    """Collects what the graph reports; `summary` turns it into one dictionary.

    Times are nanoseconds of this host's clock; frames are matched by the image's stamp. The first
    answer to a frame counts, repeats do not.

    Attributes:
        outcomes: names of a plan's outcomes, by their value; the first is what one hopes for.
    """

    outcomes: tuple[str, ...] = OUTCOMES
    episodes: dict[int, EpisodeRecord] = field(default_factory=dict)
    finished: bool = False
    model_id: str = ""
    _frames: dict[int, _Frame] = field(default_factory=dict)
    _solve_times: list[float] = field(default_factory=list)
    _outcomes: dict[str, int] = field(default_factory=dict)
    _feasible: list[float] = field(default_factory=list)
    _gate: dict[str, int] = field(default_factory=dict)
    _memory: dict[int, float] = field(default_factory=dict)

    def note_episode(self, record: EpisodeRecord, finished: bool) -> bool:
        """Take a step's status; True when it ends an episode that had not ended before."""
        before = self.episodes.get(record.episode)
        if before is not None and before.done:
            return False
        if before is not None:
            record.violation_kind = record.violation_kind or before.violation_kind
            record.violation |= before.violation
            record.success |= before.success
        self.episodes[record.episode] = record
        self.finished |= finished
        return record.done

    def note_latent(self, stamp: int, published: int, encode_time: float) -> None:
        """Take the time at which a latent was published, and how long the encoder took [s]."""
        frame = self._frame(stamp)
        if not frame.latent:
            frame.latent = published
            frame.encode_time = encode_time or None

    def note_plan(
        self,
        stamp: int,
        model_id: str,
        outcome: int,
        solve_time: float,
        feasible: float | None = None,
    ) -> None:
        """Take a plan's status: who planned, how it came out, how long it took [s]."""
        self._frame(stamp).solve_time = solve_time
        self.model_id = model_id
        self._solve_times.append(solve_time)
        if feasible is not None:
            self._feasible.append(feasible)
        name = self.outcomes[outcome]
        self._outcomes[name] = self._outcomes.get(name, 0) + 1

    def note_command(self, stamp: int, published: int) -> None:
        """Take the time at which the planner's command was published."""
        frame = self._frame(stamp)
        frame.command = frame.command or published

    def note_safe_command(self, stamp: int, published: int) -> None:
        """Take the time at which the gate let a command through."""
        frame = self._frame(stamp)
        frame.safe = frame.safe or published

    def note_servo(self, stamp: int, published: int) -> None:
        """Take the time at which the bridge sent the set-point to the robot."""
        frame = self._frame(stamp)
        frame.servo = frame.servo or published

    def note_gate(self, counters: Mapping[str, int]) -> None:
        """Take the gate's counters; they only ever grow, so the newest count."""
        self._gate = dict(counters)

    def note_process(self, pid: int, peak_rss_mb: float) -> None:
        """Take a process's peak memory."""
        self._memory[pid] = max(peak_rss_mb, self._memory.get(pid, 0.0))

    @property
    def started(self) -> bool:
        """Whether anything of the run was seen."""
        return bool(self.episodes or self._frames)

    @property
    def done(self) -> list[EpisodeRecord]:
        """Episodes that ended, in order."""
        return [self.episodes[k] for k in sorted(self.episodes) if self.episodes[k].done]

    def summary(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the run's summary, ready for JSON (unknown numbers are None).

        Args:
            settings: What the run was started with; copied in.
        """
        done = self.done
        wins = [record for record in done if record.success]
        violations = sum(record.violation for record in done)
        plans = len(self._solve_times)
        frames = list(self._frames.values())
        # While the nodes still find each other the first image waits for who will answer it.
        settled = frames[1:]
        gate = dict(self._gate)
        outcomes = {name: self._outcomes.get(name, 0) for name in self.outcomes}
        return {
            "episodes": len(done),
            "success_rate": len(wins) / len(done) if done else None,
            "success_interval_95": list(rate_interval(len(wins), len(done))),
            "violation_rate": violations / len(done) if done else None,
            "violation_interval_95": list(rate_interval(violations, len(done))),
            "mean_return": _mean(record.episode_return for record in done),
            "mean_steps": _mean(record.steps for record in wins),
            "mean_steps_over": "successes",
            "plan_ms": percentiles([1e3 * t for t in self._solve_times]),
            "latency_ms": _known(frame.milliseconds("image", "safe") for frame in frames),
            "gate_bridge_ms": _known(frame.milliseconds("command", "servo") for frame in frames),
            "hops_ms": {
                name: _known(frame.milliseconds(*ends) for frame in settled)
                for name, ends in HOPS.items()
            },
            "overhead_ms": _known(frame.overhead() for frame in settled),
            "plans": plans,
            "infeasible_share": None if plans == 0 else 1 - outcomes[self.outcomes[0]] / plans,
            "mean_feasible_share": _mean(self._feasible),
            "outcomes": outcomes,
            "seen_contacts": gate.pop("seen_contacts", None),
            "gate": gate,
            "peak_rss_mb": sum(self._memory.values()) if self._memory else None,
            "processes": len(self._memory),
            "model_id": self.model_id or None,
            **settings,
            "episode_list": [_plain(record) for record in done],
        }

    def _frame(self, stamp: int) -> _Frame:
        frame = self._frames.get(stamp)
        if frame is None:
            if len(self._frames) >= KEPT_FRAMES:
                self._frames.pop(next(iter(self._frames)))
            frame = self._frames[stamp] = _Frame(stamp)
        return frame


def _known(values: Iterable[float | None]) -> dict[str, float | None]:
    return percentiles([value for value in values if value is not None])


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return math.fsum(values) / len(values) if values else None


def _plain(record: EpisodeRecord) -> dict[str, Any]:
    return {
        "episode": record.episode,
        "seed": record.seed,
        "steps": record.steps,
        "return": record.episode_return,
        "cost": record.episode_cost,
        "success": record.success,
        "violation": record.violation_kind if record.violation else "",
    }


def table_rows(summary: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """Return the summary as rows (name, value) for a person."""
    rows = [
        ("checkpoint", f"{summary.get('checkpoint')} ({summary['model_id'] or 'no model seen'})"),
        (
            "run",
            ", ".join(
                f"{key} {summary[key]}"
                for key in ("robot", "layout", "task", "profile", "policy", "clock", "seed")
                if key in summary
            ),
        ),
        ("episodes", str(summary["episodes"])),
        ("success", _rate(summary["success_rate"], summary["success_interval_95"])),
        ("violation", _rate(summary["violation_rate"], summary["violation_interval_95"])),
        ("mean return", _number(summary["mean_return"])),
        ("mean steps of successes", _number(summary["mean_steps"])),
        ("plan p50 / p95 / p99", _times(summary["plan_ms"])),
        ("image to gated command", _times(summary["latency_ms"])),
        ("gate and bridge", _times(summary["gate_bridge_ms"])),
        ("plans", _counts(summary["outcomes"])),
        ("gate", _counts(summary["gate"])),
        ("contacts seen by the camera", _number(summary["seen_contacts"])),
        (
            "peak memory",
            f"{_number(summary['peak_rss_mb'])} MB in {summary['processes']} processes",
        ),
    ]
    return [(name, value) for name, value in rows if value]


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _rate(value: float | None, interval: Sequence[float]) -> str:
    if value is None:
        return "unknown"
    return f"{value:.3f}  (95 %: {interval[0]:.3f} to {interval[1]:.3f})"


def _times(values: Mapping[str, float | None]) -> str:
    if values["p50"] is None:
        return "unknown"
    return " / ".join(f"{values[key]:.1f}" for key in ("p50", "p95", "p99")) + " ms"


def _counts(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in values.items() if count) or "none"
