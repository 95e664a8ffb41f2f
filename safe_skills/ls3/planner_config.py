"""Settings of the planner, those of LS3's Table 3, and the profile that plans at camera rate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from safe_skills.data.settings import ConfigError, require


@dataclass(frozen=True)
class PlannerConfig:
    """CEM under two chance constraints (LS3 sec. 4.4, Table 3, and the released planner).

    Attributes:
        horizon: H, steps of a plan.
        candidates: action sequences of a population.
        particles: latent rollouts of a candidate.
        elites: sequences the Gaussian is fitted to.
        iterations: populations evaluated. The released code says 5 and evaluates 4.
        p_random: share of uniform sequences in the first population when a warm start exists.
        delta_s: required probability of the terminal latent being in the safe set.
        delta_c: largest allowed probability of a constraint violation at any step.
        relaxation: factor on delta_s while no candidate satisfies both constraints.
        max_relaxations: how often; the released code's number.
        relax_on: "population" tests the relaxed level on the same candidates; "restart" is the
            released code's way, a fresh random population each time.
        warm_start: "shifted" moves the last Gaussian one step ahead; "unshifted" is the released
            code's; "none" starts uniform at every step.
        min_stddev: floor of the Gaussian's stddev as a share of the range of actions.
        constraint_over: "mean" over the particles (the probability of eq. 6), or "max" (released
            code).
        objective_on: "particles" averages goal and value over the particles (eq. 2); "mean_latent"
            evaluates them once a candidate, on the particles' mean.
        bounded_value: count no predicted value above 0, which no state can have where rewards are
            never positive; a network asked about latents it has not seen may say so, and a search
            finds them. False is the paper's and the released code's way.
        goal_reward: "probability" sums f_G over the steps (eq. 2); "indicator" counts the steps
            whose mean probability is above one half, as the released code does (at 0.62).
        ensemble_sampling: "particle": each particle draws a member at every step (TS-1);
            "step": one member a step for all, as the released code does.
        latent_sampling: "particle" draws a start latent for each particle (eq. 3); "plan" draws
            one a plan (released code); "mean" uses the encoder's mean.
        returned: "verified" re-evaluates the final mean and the best elites with fresh particles
            and returns the best of them; "best" is the released code's best sequence.
        verify_particles: particles of that last test, more than `particles` where those are few.
            With `constraint_over` "max" it should be as many as `particles`: of more, one is likely
            to reject whatever the search had found, and the robot holds for nothing.
        infeasible: "max_safe_set" returns the plan below delta_c that is nearest to the safe set,
            else holds; "hold" always holds; "random" is the released code's uniform action, for
            reproduction only.
        use_safe_set: False is the ablation LS3(-SS).
        use_constraint: False plans without the constraint estimator.
        action_range: largest |action| of a plan, as a share of the action limit: less than 1 for a
            robot that is slower than the one in the data.
        precision: of the products: "float32", "bfloat16", or "auto": bfloat16 where the processor
            multiplies it natively, else float32.
        noise: "independent" draws for each candidate's rollouts, or "common": the same draws for
            all candidates of a population, so that they differ by their actions alone.
        noise_exponent: colour of the noise over the steps of a candidate (iCEM); 0 is white.
        kept_elites: share of the elites that come again in the next population, and shifted in the
            next plan's first (iCEM).
        decay: factor by which populations shrink from one to the next, down to twice the elites
            (iCEM); 1 keeps their size.
        stop_stddev: the search ends early where the Gaussian's largest stddev is no more than this
            share of the action range; 0 never does.
    """

    horizon: int = 5
    candidates: int = 2000
    particles: int = 20
    elites: int = 200
    iterations: int = 5
    p_random: float = 0.3
    delta_s: float = 0.8
    delta_c: float = 0.2
    relaxation: float = 0.8
    max_relaxations: int = 5
    relax_on: str = "population"
    warm_start: str = "shifted"
    min_stddev: float = 0.02
    constraint_over: str = "mean"
    objective_on: str = "particles"
    bounded_value: bool = True
    goal_reward: str = "probability"
    ensemble_sampling: str = "particle"
    latent_sampling: str = "particle"
    returned: str = "verified"
    verify_particles: int = 20
    infeasible: str = "max_safe_set"
    use_safe_set: bool = True
    use_constraint: bool = True
    action_range: float = 1.0
    precision: str = "auto"
    noise: str = "independent"
    noise_exponent: float = 0.0
    kept_elites: float = 0.0
    decay: float = 1.0
    stop_stddev: float = 0.0

    _CHOICES = {
        "relax_on": ("population", "restart"),
        "warm_start": ("shifted", "unshifted", "none"),
        "constraint_over": ("max", "mean"),
        "objective_on": ("particles", "mean_latent"),
        "goal_reward": ("probability", "indicator"),
        "ensemble_sampling": ("particle", "step"),
        "latent_sampling": ("particle", "plan", "mean"),
        "returned": ("verified", "best"),
        "infeasible": ("max_safe_set", "hold", "random"),
        "precision": ("float32", "bfloat16", "auto"),
        "noise": ("independent", "common"),
    }

    def __post_init__(self) -> None:
        for name, choices in self._CHOICES.items():
            value = getattr(self, name)
            require(value in choices, f"planner.{name}: expected {choices}, got {value!r}")
        for name in ("horizon", "particles", "iterations", "verify_particles"):
            value = getattr(self, name)
            require(value >= 1, f"planner.{name}: expected at least 1, got {value}")
        require(
            2 <= self.elites <= self.candidates,
            f"planner.elites: expected 2..candidates ({self.candidates}), got {self.elites}",
        )
        shares = ("p_random", "delta_s", "delta_c", "relaxation", "min_stddev")
        for name in (*shares, "kept_elites", "stop_stddev"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"planner.{name}: expected 0..1, got {value}")
        require(
            0 < self.action_range <= 1,
            f"planner.action_range: expected above 0, up to 1, got {self.action_range}",
        )
        for name, low, high in (("decay", 1, 10), ("noise_exponent", 0, 10)):
            value = getattr(self, name)
            require(low <= value <= high, f"planner.{name}: expected {low}..{high}, got {value}")


# Planner settings of LS3 Table 3, a column a domain.
_SIMULATED = PlannerConfig(candidates=1000, elites=100, p_random=1.0)
TABLE_3 = {
    "navigation": _SIMULATED,
    "reacher": replace(_SIMULATED, horizon=3, delta_s=0.5),
    "pushing": replace(_SIMULATED, horizon=3),
    "cable": PlannerConfig(),
}

# The paper's cable column, and the setting that plans at camera rate on two cores.
PROFILES = {
    "paper": TABLE_3["cable"],
    "realtime": PlannerConfig(
        candidates=64,
        particles=5,
        verify_particles=5,
        elites=8,
        iterations=2,
        constraint_over="max",
        objective_on="mean_latent",
        precision="float32",
        noise_exponent=2.0,
    ),
}


def planner_profile(
    profile: str | PlannerConfig, task: str = "cable", **changes: Any
) -> PlannerConfig:
    """Returns a profile by name, with some settings changed.

    Args:
        profile: a name, or a full configuration.
        task: whose column of Table 3 is meant by "paper".
        changes: settings and their values.
    """
    if isinstance(profile, str):
        if profile not in PROFILES:
            raise ConfigError(f"unknown planner profile {profile!r}; known: {', '.join(PROFILES)}")
        profile = TABLE_3[task] if profile == "paper" else PROFILES[profile]
    return replace(profile, **changes)
