"""Which faults are injected, and in which order: a pure function of seed, count and system."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

SLOW_SHARE = 0.02
"""Share of faults that take seconds each: processes, silences, second publishers, full disks."""

EXTRA_BURST = 25
"""Messages of one kind that are sent besides the graph's own before it is left in peace."""

REPLACED_BURST = 5
"""Messages of the graph that are tampered with before it is left in peace."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: for the report.
        mode: how it is injected: `extra` messages on a stream; messages of a stream that are
            `replaced`; `silence` of a stream, or its stamps `shifted`, for a while; a second
            `publisher` on a topic; a `process` that is killed, stopped or restarted; a `parameter`
            call; a recorder on a full `disk`.
        targets: streams or nodes.
        must_hold: whether the robot has to be held for every single fault of the kind.
    """

    name: str
    mode: str
    targets: tuple[str, ...]
    must_hold: bool = False

    @property
    def is_slow(self) -> bool:
        """Whether each of these faults takes seconds."""
        return self.mode not in ("extra", "replaced", "parameter")


@dataclass(frozen=True)
class Burst:
    """Faults of one kind, one after the other, after which the graph is left in peace.

    Attributes:
        kind: of the faults.
        target: stream or node.
        count: number of faults.
        seed: of the values in them.
    """

    kind: Kind
    target: str
    count: int
    seed: int


@dataclass(frozen=True)
class Surface:
    """Where a system can be attacked.

    Attributes:
        commands: the stream of commands, and others by the type of what they carry.
        nodes: that may be killed, stopped, restarted.
        tuned: nodes whose parameters are set.
        owned: topics on which only one node may publish, and `command`.
    """

    latents: tuple[str, ...]
    states: tuple[str, ...]
    nodes: tuple[str, ...]
    tuned: tuple[str, ...]
    owned: tuple[str, ...]
    others: tuple[str, ...] = ()
    images: tuple[str, ...] = ("camera/image_raw",)
    commands: tuple[str, ...] = ("command",)
    starts: tuple[str, ...] = ("episode_start",)
    robot: str = field(default="", compare=False)

    @property
    def streams(self) -> tuple[str, ...]:
        """Topics that travel through the harness."""
        return (*self.images, *self.latents, *self.others, *self.commands, *self.states)


SURFACES: Mapping[str, Surface] = {
    "ls3_cable": Surface(
        latents=("latent",),
        states=("PSM1/measured_cp",),
        nodes=("cem_planner", "camera_encoder", "safety_monitor", "hardware_bridge", "simulator"),
        tuned=("safety_monitor", "hardware_bridge", "cem_planner", "camera_encoder"),
        owned=("command", "command_safe", "PSM1/servo_cp"),
    ),
    "safer_grasp": Surface(
        latents=("latent",),
        states=("joint_states",),
        others=("safety_context", "abstract_action"),
        nodes=(
            "skill_policy",
            "skill_decoder",
            "safety_posterior",
            "camera_encoder",
            "safety_monitor",
            "hardware_bridge",
            "simulator",
        ),
        tuned=("safety_monitor", "hardware_bridge", "skill_decoder", "skill_policy"),
        owned=("command", "command_safe", "arm_controller/joint_trajectory"),
    ),
}


def kinds_of(system: str) -> tuple[Kind, ...]:
    """Every kind of fault for a system; ValueError names those that there are."""
    try:
        at = SURFACES[system]
    except KeyError:
        raise ValueError(f"system: expected {' or '.join(SURFACES)}, got {system!r}") from None
    beliefs = (*at.latents, *at.others)
    every = (*at.commands, *beliefs, *at.states)
    return (
        Kind("wrong size", "extra", (*at.commands, *beliefs), must_hold=False),
        Kind("wrong frame", "extra", (*at.commands, *at.states)),
        Kind("wrong model", "extra", beliefs),
        Kind("NaN", "extra", every),
        Kind("infinite", "extra", every),
        Kind("huge", "extra", every),
        Kind("denormal", "extra", at.commands),
        Kind("negative", "extra", every),
        Kind("old stamp", "extra", (*every, *at.images)),
        Kind("future stamp", "extra", (*every, *at.images)),
        Kind("zero stamp", "extra", (*every, *at.images)),
        Kind("duplicate", "extra", (*every, *at.images)),
        Kind("replay", "extra", (*every, *at.images)),
        Kind("oversized", "extra", (*at.commands, *beliefs)),
        Kind("old stamp", "extra", at.starts),
        Kind("wrong size", "replaced", at.commands, must_hold=True),
        Kind("wrong frame", "replaced", at.commands, must_hold=True),
        Kind("NaN", "replaced", at.commands, must_hold=True),
        Kind("infinite", "replaced", at.commands, must_hold=True),
        Kind("huge", "replaced", at.commands, must_hold=True),
        Kind("NaN", "replaced", (*beliefs, *at.states)),
        Kind("wrong model", "replaced", beliefs),
        Kind("reordered", "replaced", (*at.commands, *beliefs, *at.images)),
        Kind("late", "replaced", (*at.commands, *beliefs, *at.images, *at.states)),
        Kind("dropped", "replaced", (*at.commands, *beliefs, *at.images, *at.states)),
        Kind("frozen", "replaced", at.images),
        Kind("black", "replaced", at.images),
        Kind("white", "replaced", at.images),
        Kind("noise", "replaced", at.images),
        Kind("resized", "replaced", at.images),
        Kind("truncated", "replaced", at.images),
        Kind("wrong encoding", "replaced", at.images),
        Kind("oversized", "replaced", at.images),
        Kind("parameter NaN", "parameter", at.tuned),
        Kind("parameter infinite", "parameter", at.tuned),
        Kind("parameter out of range", "parameter", at.tuned),
        Kind("parameter of another type", "parameter", at.tuned),
        Kind("parameter unknown", "parameter", at.tuned),
        Kind("parameter fixed", "parameter", at.tuned),
        Kind("silence", "silence", (*at.commands, *at.latents, *at.images, *at.states), True),
        Kind("clock jump forward", "shifted", at.images),
        Kind("clock jump back", "shifted", at.images),
        Kind("second publisher", "publisher", at.owned),
        Kind("foreign type", "publisher", at.owned),
        Kind("killed", "process", at.nodes),
        Kind("stopped", "process", at.nodes),
        Kind("restarted", "process", at.nodes),
        Kind("disk full", "disk", ("bag_recorder",)),
        Kind("clock taken away", "clock", ("safety_monitor", "hardware_bridge"), True),
    )


def make_schedule(seed: int, count: int, system: str) -> list[Burst]:
    """The faults of a campaign.

    Args:
        seed: of order and values.
        count: number of faults, 1 or more.
        system: name of the system.

    Returns:
        Bursts with `count` faults in all, the same for the same arguments. Every kind is there at
        every one of its targets before one is there twice, as far as `count` goes.
    """
    rng = np.random.default_rng([seed, count])
    pairs = [(kind, target) for kind in kinds_of(system) for target in kind.targets]
    slow = [pair for pair in pairs if pair[0].is_slow]
    fast = [pair for pair in pairs if not pair[0].is_slow]
    bursts = _take(slow, round(SLOW_SHARE * count), rng)
    bursts += _take(fast, count - len(bursts), rng)
    return [bursts[index] for index in rng.permutation(len(bursts))]


def _take(pairs: list[tuple[Kind, str]], count: int, rng: np.random.Generator) -> list[Burst]:
    bursts: list[Burst] = []
    for kind, target in _rounds(pairs, rng):
        if count == 0:
            break
        size = min(_size(kind), count)
        bursts.append(Burst(kind, target, size, int(rng.integers(2**31))))
        count -= size
    return bursts


def _rounds(pairs: list[tuple[Kind, str]], rng: np.random.Generator) -> Iterator[tuple[Kind, str]]:
    while True:
        yield from (pairs[index] for index in rng.permutation(len(pairs)))


def _size(kind: Kind) -> int:
    if kind.is_slow:
        return 1
    return REPLACED_BURST if kind.mode == "replaced" else EXTRA_BURST
