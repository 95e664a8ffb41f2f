"""What the benchmarks share: timing in turns, the machine and what its cores can do, tables."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from safe_skills.data.provenance import revision


def in_turns(
    cases: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Times functions one after the other, round by round, so that noise meets them alike.

    Args:
        cases: what to call, by name.
        rounds: timed calls of each.
        warm_up: calls of each before, not timed.

    Returns:
        `rounds` durations [ms] by name.
    """
    for call in cases.values():
        for _ in range(warm_up):
            call()
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, call in cases.items():
            began = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - began))
    return times


def median_ratio(slow: Sequence[float], fast: Sequence[float]) -> tuple[float, float, float]:
    """Median of the rounds' ratios slow/fast, and their quartiles: (median, low, high)."""
    low, middle, high = np.percentile(np.asarray(slow) / np.asarray(fast), (25, 50, 75))
    return float(middle), float(low), float(high)


CPU = torch.device("cpu")


def machine(device: torch.device = CPU) -> dict[str, Any]:
    """What the figures were measured on: processor, cores, threads, versions, and the GPU if any.

    Args:
        device: where the networks were.
    """
    return {
        "processor": _processor(),
        **({} if device == CPU else {"gpu": torch.cuda.get_device_name(device)}),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "revision": revision(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def gemm_peak(dtype: torch.dtype, device: torch.device, rounds: int = 8) -> float:
    """Multiply-adds a second [1e9] of a square product, the best of some.

    Args:
        dtype: of the product.
        device: where it is made; on a CPU it fits the caches, on a GPU it fills the processors.
        rounds: products.
    """
    size = 1024 if device == CPU else 8192
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty(size, size, dtype=dtype, device=device)

    def product() -> None:
        torch.mm(a, b, out=out)
        if device != CPU:
            torch.cuda.synchronize(device)

    times = in_turns({"product": product}, rounds, warm_up=2)
    return size**3 / (1e6 * min(times["product"]))


def print_table(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], width: int = 0
) -> None:
    """Prints a table whose first column is text and whose others are numbers.

    Args:
        title: above it.
        headings: of the columns.
        rows: cells.
        width: in characters, at least; a narrower terminal breaks its lines.
    """
    table = Table(title=title)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.width = max(console.width, width)
    console.print(table)
