"""A long run without faults, or with few: memory and latency over time."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from safe_skills.data.files import replacing, write_json
from safe_skills.experiments.benchmark import machine, print_table
from safe_skills.experiments.faults_messages import SPOIL, spoiled
from safe_skills.experiments.faults_rig import Rig
from safe_skills.experiments.faults_schedule import kinds_of

WARM_UP = 0.1
"""Share of the run, 5 minutes at most, that is left out: libraries load, caches fill."""

WINDOW = 300.0
"""Length of the windows in which latencies are summed up [s]."""

FLAT_MEMORY = 5.0
"""Slope of memory up to which it is flat [MB/h]."""

FLAT_LATENCY = 1.5
"""How many times the p99 of the first window that of the last may be, at most, to be flat."""


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Slope of a straight line through values, an hour.

    Args:
        times: in seconds.
        values: at these times.
    """
    if len(times) < 2:
        return 0.0
    return float(3600.0 * np.polyfit(np.asarray(times), np.asarray(values), 1)[0])


def windows(
    times: Sequence[float], values: Sequence[float], length: float = WINDOW
) -> list[float | None]:
    """The 99th percentile of values in windows of `length` seconds; None for empty windows."""
    times, values = np.asarray(times), np.asarray(values)
    if len(times) == 0:
        return []
    index = ((times - times[0]) // length).astype(int)
    return [
        float(np.percentile(values[index == k], 99)) if (index == k).any() else None
        for k in range(index[-1] + 1)
    ]


def is_flat(slopes: Mapping[str, float], latencies: Mapping[str, Sequence[float | None]]) -> bool:
    """Whether memory and latencies of a run are flat, by `FLAT_MEMORY` and `FLAT_LATENCY`.

    Args:
        slopes: of memory, by node [MB/h].
        latencies: p99 by window, by hop [ms].
    """
    for found in latencies.values():
        known = [value for value in found if value is not None]
        if len(known) > 1 and known[-1] > FLAT_LATENCY * known[0]:
            return False
    return all(value <= FLAT_MEMORY for value in slopes.values())


def memory_of(pid: int) -> float:
    """Resident memory of a process [MB]."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


def soak(rig: Rig, args: argparse.Namespace) -> int:
    """Lets a started graph run and samples it once a second.

    Returns:
        The exit status: 0 where memory and latencies are flat, 130 when interrupted.
    """
    begin = time.monotonic()
    episodes = rig.episodes
    seconds: list[float] = []
    memory: dict[str, list[float]] = {name: [] for name in rig.processes.children}
    rng = np.random.default_rng(args.seed)
    rainy = [
        (kind.name, target)
        for kind in kinds_of(args.system)
        if kind.mode == "extra" and kind.name in SPOIL
        for target in kind.targets
        if target in rig.streams
    ]
    drops = 0
    interrupted = False
    with _progress() as progress:
        task = progress.add_task("soak", total=60.0 * args.soak)
        try:
            while (now := time.monotonic() - begin) < 60.0 * args.soak:
                rig.spin(1.0)
                if rig.processes.ended():
                    raise ValueError(f"soak: {rig.processes.ended()[0]} ended by itself")
                seconds.append(now)
                for name, child in rig.processes.children.items():
                    memory[name].append(memory_of(child.pid))
                if args.rain:
                    kind, target = rainy[int(rng.integers(len(rainy)))]
                    past = list(rig.streams[target].past)
                    rig.streams[target].send(spoiled(kind, past[-1], past[:-1], rng))
                    drops += 1
                    if rig.stopped:
                        rig.reset()
                progress.update(task, completed=now)
        except KeyboardInterrupt:
            interrupted = True
    warm = min(WARM_UP * 60.0 * args.soak, WINDOW)
    first = int(np.searchsorted(seconds, warm))
    slopes = {name: slope(seconds[first:], values[first:]) for name, values in memory.items()}
    hops = {
        name: [(at - begin, 1e3 * value) for at, value in rows if at - begin >= warm]
        for name, rows in rig.latencies.items()
    }
    latencies = {
        name: windows([at for at, _ in rows], [value for _, value in rows])
        for name, rows in hops.items()
    }
    flat = is_flat(slopes, latencies)
    summary = {
        "minutes": (seconds[-1] if seconds else 0.0) / 60.0,
        "rain": drops,
        "episodes": rig.episodes - episodes,
        "flat": flat,
        "criterion": f"memory <= {FLAT_MEMORY:g} MB/h after warm-up in every process; p99 of the "
        f"last window <= {FLAT_LATENCY:g} times that of the first",
        "rss_mb": {name: values[-1] for name, values in memory.items() if values},
        "rss_slope_mb_per_hour": slopes,
        "p99_ms_by_window": latencies,
    }
    _report(args, summary, seconds, memory, hops)
    if interrupted:
        return 130
    return 0 if flat else 1


def _report(
    args: argparse.Namespace,
    summary: dict[str, Any],
    seconds: Sequence[float],
    memory: Mapping[str, Sequence[float]],
    hops: Mapping[str, Sequence[tuple[float, float]]],
) -> None:
    title = f"{args.system}: {summary['minutes']:.0f} minutes, {summary['episodes']} episodes"
    rows = [
        (name, f"{summary['rss_mb'][name]:.0f}", f"{value:+.2f}")
        for name, value in summary["rss_slope_mb_per_hour"].items()
        if name in summary["rss_mb"]
    ]
    print_table(title, ["process", "MB at the end", "MB/h"], rows)
    rows = []
    for name, found in summary["p99_ms_by_window"].items():
        cells = ["" if value is None else f"{value:.1f}" for value in found]
        rows.append((name.replace("_", " "), " ".join(cells)))
    print_table("p99 by 5 minutes", ["from image to", "ms"], rows)
    Console().print("flat" if summary["flat"] else "not flat", highlight=False)
    written = {"system": args.system, "seed": args.seed, "machine": machine(), **summary}
    if args.json:
        write_json(args.json, written)
    if args.out:
        name = "soak" if args.system == "ls3_cable" else f"soak-{args.system}"
        write_json(args.out / f"{name}.json", written)
        draw(args.out / f"{name}.png", seconds, memory, hops)


def draw(
    path: Path,
    seconds: Sequence[float],
    memory: Mapping[str, Sequence[float]],
    hops: Mapping[str, Sequence[tuple[float, float]]],
) -> None:
    """Draws memory and latencies over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for name, values in memory.items():
        above.plot(np.asarray(seconds[: len(values)]) / 60.0, values, label=name)
    above.set(ylabel="resident memory [MB]", ylim=(0, None))
    above.legend(fontsize=7, ncols=2)
    for name, rows in hops.items():
        if rows:
            at, value = np.array(rows).T
            below.plot(at / 60.0, value, ".", markersize=1, label=name.replace("_", " "))
    below.set(xlabel="minutes", ylabel="latency [ms]", yscale="log")
    below.legend(fontsize=7, markerscale=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        refresh_per_second=1,
        console=Console(stderr=True),
    )
