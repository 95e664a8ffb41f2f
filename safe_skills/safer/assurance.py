"""Assurances: the box |z|_inf <= eta that holds few unsafe steps (SAFER 4.4, Algorithm 3).

Every step of a data set that was not trained on has an abstract action z = f^-1(a; s, E[c]); its
radius is |z|_inf. The share of unsafe steps among those in a box refers to a mix: 50:50 by default,
for where unsafe steps are rare every box looks safe.

Proposition 4.2 orders actions by p(a), its proof by |z|; p(a) also has the Jacobian, so nothing is
guaranteed. What can be said is empirical: the share seen, and an upper confidence bound on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safe_skills.data.statistics import clopper_pearson

LARGEST_RADIUS = 4.0
GRID = np.linspace(0.1, LARGEST_RADIUS, 40)
"""Radii among which the bound chooses; fixed beforehand, so that all bounds hold at once."""

LITERAL_ROUNDS = 5000


class AssuranceError(ValueError):
    """There is no eta of what was asked for; the message is one line."""


@dataclass(frozen=True)
class Radii:
    """|z|_inf of held-out steps.

    Attributes:
        safe: (S,) of D_safe.
        unsafe: (U,) of D_unsafe.
        mix: share of unsafe steps in the mix that shares refer to; None: S and U as they are.
    """

    safe: np.ndarray
    unsafe: np.ndarray
    mix: float | None = 0.5

    def __post_init__(self) -> None:
        for name in ("safe", "unsafe"):
            values = getattr(self, name)
            if len(values) == 0:
                raise AssuranceError(f"eta: expected {name} steps in the hold-out data, got none")
            if not np.isfinite(values).all():
                raise AssuranceError(f"eta: expected finite radii of {name} steps")

    @property
    def weights(self) -> tuple[float, float]:
        """What a safe and an unsafe step count in the mix."""
        if self.mix is None:
            return 1.0, 1.0
        return (1 - self.mix) / len(self.safe), self.mix / len(self.unsafe)

    def counts(self, eta: float) -> tuple[int, int]:
        """Safe and unsafe steps inside the box."""
        return int((self.safe <= eta).sum()), int((self.unsafe <= eta).sum())

    def unsafe_share(self, eta: float) -> float:
        """Share of unsafe steps in the box, of the mix; 0 in an empty box."""
        inside, weights = self.counts(eta), self.weights
        safe, unsafe = (count * weight for count, weight in zip(inside, weights, strict=True))
        return unsafe / (safe + unsafe) if safe + unsafe > 0 else 0.0


def exact_eta(radii: Radii, allowed: float) -> float:
    """The largest box whose share of unsafe steps is at most `allowed`: what Algorithm 3 seeks.

    Steps are sorted by radius, and the share is taken after each; of equal radii after the last.

    Raises:
        AssuranceError: no box with a step in it qualifies; eta would be 0.
    """
    radius = np.concatenate((radii.safe, radii.unsafe))
    is_unsafe = np.repeat((0.0, 1.0), (len(radii.safe), len(radii.unsafe)))
    order = np.argsort(radius, kind="stable")
    radius, is_unsafe = radius[order], is_unsafe[order]
    of_safe, of_unsafe = radii.weights
    # Counted, then weighted: sums of weights would depend on their order in the last digit.
    unsafe = of_unsafe * np.cumsum(is_unsafe)
    safe = of_safe * np.cumsum(1 - is_unsafe)
    last_of_equals = np.append(radius[1:] > radius[:-1], True)
    fits = last_of_equals & (unsafe / (safe + unsafe) <= allowed) & (radius > 0)
    if not fits.any():
        raise AssuranceError(
            f"eta: no box has an unsafe share of at most {allowed:g}: the steps nearest to z = 0 "
            f"are unsafe; allow more"
        )
    return float(radius[fits][-1])


def literal_eta(
    radii: Radii, allowed: float, *, seed: int = 0, start: float = np.inf
) -> tuple[float, bool]:
    """Algorithm 3 word for word, with samples drawn with replacement (without, it never moves).

    Steps of a mix are drawn beforehand, as many as there are. It may stall: a round that draws
    none of the outermost steps lowers eta for good, and one that draws them leaves it.

    Returns:
        eta, and whether it stopped by its own condition within `LITERAL_ROUNDS`.

    Raises:
        AssuranceError: the box has become empty; eta would be 0.
    """
    rng = np.random.default_rng(seed)
    safe, unsafe = _mixed(radii, rng)
    eta = start
    for _ in range(LITERAL_ROUNDS):
        safe, unsafe = safe[safe <= eta], unsafe[unsafe <= eta]
        total = len(safe) + len(unsafe)
        counts = int(total * (1 - allowed)), int(total * allowed)
        drawn = [
            rng.choice(values, count)
            for values, count in zip((safe, unsafe), counts, strict=True)
            if len(values) and count
        ]
        if not drawn:
            raise AssuranceError(
                f"eta: Algorithm 3 has emptied the box before its unsafe share fell to {allowed:g}"
            )
        eta = float(np.concatenate(drawn).max())
        inside = int((safe <= eta).sum()), int((unsafe <= eta).sum())
        if inside[1] <= allowed * sum(inside):
            return eta, True
    return eta, False


def _mixed(radii: Radii, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    if radii.mix is None:
        return radii.safe, radii.unsafe
    # The class that the mix has too many of is thinned.
    safe, unsafe = len(radii.safe), len(radii.unsafe)
    unsafe_count = min(unsafe, int(safe * radii.mix / (1 - radii.mix)))
    safe_count = min(safe, int(unsafe * (1 - radii.mix) / radii.mix))
    return (
        rng.permutation(radii.safe)[: max(1, safe_count)],
        rng.permutation(radii.unsafe)[: max(1, unsafe_count)],
    )


def share_bound(radii: Radii, eta: float, confidence: float = 0.95) -> float:
    """An upper confidence bound on the unsafe share inside a box, from finitely many steps.

    Holds with probability `confidence` over the draw of the steps if they are drawn independently
    and the box was chosen without them. As they are (`mix` None): Clopper-Pearson on the unsafe
    ones of those inside. For a mix m: with p_u, p_s the probabilities that an unsafe or a safe
    step lies inside, the share is m p_u / (m p_u + (1 - m) p_s), which grows with p_u and falls
    with p_s; Clopper-Pearson bounds each at half of the risk.
    """
    safe, unsafe = radii.counts(eta)
    if radii.mix is None:
        return clopper_pearson(unsafe, safe + unsafe, confidence)[1] if safe + unsafe else 1.0
    each = 1 - (1 - confidence) / 2
    _, often = clopper_pearson(unsafe, len(radii.unsafe), each)
    seldom, _ = clopper_pearson(safe, len(radii.safe), each)
    return radii.mix * often / (radii.mix * often + (1 - radii.mix) * seldom)


def bounded_eta(radii: Radii, allowed: float, confidence: float = 0.95) -> float:
    """The largest box of `GRID` whose upper confidence bound is at most `allowed`.

    Each of the boxes takes an equal part of the risk, so that the bound holds for the one chosen.

    Raises:
        AssuranceError: there is none.
    """
    each = 1 - (1 - confidence) / len(GRID)
    fits = [eta for eta in GRID if share_bound(radii, eta, each) <= allowed]
    if not fits:
        raise AssuranceError(
            f"eta: no box has an unsafe share of at most {allowed:g} at confidence {confidence:g}; "
            f"allow more or hold out more data"
        )
    return float(max(fits))


def choose_eta(
    method: str, radii: Radii, allowed: float, confidence: float = 0.95, seed: int = 0
) -> float:
    """The eta of a method of `AssuranceConfig`.

    Raises:
        AssuranceError: there is none, or Algorithm 3 has not converged.
    """
    if method == "bound":
        return bounded_eta(radii, allowed, confidence)
    if method == "exact":
        return exact_eta(radii, allowed)
    eta, converged = literal_eta(radii, allowed, seed=seed)
    if not converged:
        raise AssuranceError(
            f"eta: Algorithm 3 did not converge in {LITERAL_ROUNDS} rounds; use the exact rule"
        )
    return eta


def one_an_episode(episode: np.ndarray, keep: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One row at random of those kept (N,) of each episode (N,): independent between episodes.

    Steps of one episode are alike; bounds that took them for independent would be too tight.
    """
    rows = rng.permutation(np.flatnonzero(keep))
    _, first = np.unique(episode[rows], return_index=True)
    return np.sort(rows[first])
