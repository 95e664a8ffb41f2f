"""Quality of service of every topic in the graph, written once.

No profile asks for a deadline or liveliness: the dVRK's CRTK bridge offers neither, and a
subscription that requests them would never be matched.
"""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, *, reliable: bool = True, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


IMAGE = _profile(1, reliable=False)
"""Images and latents: the newest wins, a slow reader drops frames."""

LATENT_WINDOW = _profile(16, reliable=False)
"""Latents for a reader that needs each of them, not the newest: the posterior's window."""

COMMAND = _profile(1)
"""Commands, what they are made of, and plan status: reliable, a newer one supersedes."""

EVENT = _profile(100, latched=True)
"""Events not to be missed: violations, episodes, CRTK `operating_state`, `error`, `warning`."""

STATUS = _profile(1, latched=True)
"""A present state that late joiners must see: `safety_status`."""

CRTK_STATE = _profile(100)
"""How CRTK robots publish `measured_cp` and its like."""

CRTK_STATE_LATEST = _profile(1)
"""How this package subscribes to `measured_cp` and its like: only the newest counts."""

DIAGNOSTICS = _profile(10)
"""`/diagnostics`, as diagnostic_updater publishes it."""

LOG = _profile(100)
"""How a recorder subscribes to reliable topics: it may lag, but loses nothing."""
