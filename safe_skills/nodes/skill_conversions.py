"""SAFER's messages to arrays and back, checked like the others in `conversions`.

Every `*_from_*` raises `ValueError` with one line that names what was expected and what came.
"""

import array

import numpy as np
from std_msgs.msg import Header

from safe_skills.msg import AbstractAction, SafetyContext, SkillStatus
from safe_skills.nodes.conversions import check_belief, check_model
from safe_skills.nodes.decoding import Answer, largest_entry, within


def context_message(
    mean: np.ndarray,
    stddev: np.ndarray,
    fill: float,
    model_id: str,
    header: Header,
    infer_time: float = 0.0,
) -> SafetyContext:
    """Pack q(c | Lambda).

    Args:
        mean: Of c, (C,); C is 0 for a prior without c.
        stddev: Of c, (C,).
        fill: Share of the window that has been seen.
        model_id: Id of the prior whose posterior it is.
        header: Of the newest image in the window.
        infer_time: How long that took [s]; 0 where it was not measured.

    Raises:
        ValueError: The Gaussian is not finite.
    """
    check_belief(mean, stddev, "the posterior made a context")
    return SafetyContext(
        header=header,
        model_id=model_id,
        infer_time=infer_time,
        fill=float(fill),
        mean=_floats(mean),
        stddev=_floats(stddev),
    )


def context_from_message(
    message: SafetyContext, model_id: str, size: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Unpack q(c | Lambda).

    Args:
        message: What the posterior published.
        model_id: Id of the prior that will read it.
        size: Number of components C of its c.

    Returns:
        Mean and standard deviation, each (C,) float32, and the window's fill, 0 to 1.

    Raises:
        ValueError: Made by another prior, of another length, not finite, a negative deviation, or
            a fill that is no share.
    """
    check_model(message.model_id, model_id, "a context")
    if len(message.mean) != size or len(message.stddev) != size:
        raise ValueError(
            f"expected a context of {size} means and deviations, "
            f"got {len(message.mean)} and {len(message.stddev)}"
        )
    mean = np.array(message.mean, np.float32)
    stddev = np.array(message.stddev, np.float32)
    check_belief(mean, stddev, "got a context")
    if not 0.0 <= message.fill <= 1.0:
        raise ValueError(f"expected a window filled by 0 to 1, got {message.fill:g}")
    return mean, stddev, message.fill


def abstract_action_message(
    z: np.ndarray,
    eta: float,
    model_id: str,
    source: str,
    header: Header,
    choose_time: float = 0.0,
) -> AbstractAction:
    """Pack an abstract action.

    Args:
        z: (A,).
        eta: Bound that every entry keeps.
        model_id: Id of the prior that z belongs to.
        source: Who chose it.
        header: Of the image that it answers.
        choose_time: How long that took [s]; 0 where it was not measured.

    Raises:
        ValueError: It is not finite or leaves the bound.
    """
    largest = largest_entry(z)
    if not within(largest, eta):
        raise ValueError(f"expected |z| <= {eta:g}, {source} chose {largest:g}")
    return AbstractAction(
        header=header,
        model_id=model_id,
        source=source,
        choose_time=choose_time,
        eta=float(eta),
        z=_floats(z),
    )


def abstract_action_from_message(
    message: AbstractAction, model_id: str, action_dim: int
) -> np.ndarray:
    """Unpack an abstract action; whether it keeps a bound is for its reader to judge.

    Args:
        message: What the policy published.
        model_id: Id of the prior that will decode it.
        action_dim: Number of entries A expected.

    Returns:
        (A,) float32.

    Raises:
        ValueError: Of another prior, of another length, or not finite.
    """
    check_model(message.model_id, model_id, "an abstract action")
    if len(message.z) != action_dim:
        raise ValueError(
            f"expected an abstract action of {action_dim} entries, got {len(message.z)} "
            f"from {message.source or '(no source)'}"
        )
    z = np.array(message.z, np.float32)
    if not np.isfinite(z).all():
        raise ValueError(
            f"expected a finite abstract action, got {z.tolist()} from "
            f"{message.source or '(no source)'}"
        )
    return z


def skill_status_message(answer: Answer, eta: float, model_id: str, header: Header) -> SkillStatus:
    """Pack how a frame's command came about, under the decoder's bound `eta`."""
    return SkillStatus(
        header=header,
        model_id=model_id,
        outcome=SkillStatus.HOLD if answer.action is None else SkillStatus.DECODED,
        reason=answer.reason,
        decode_time=answer.decode_time,
        wait_time=answer.wait_time,
        fill=answer.fill,
        eta=eta,
        largest=answer.largest,
    )


def _floats(values: np.ndarray) -> array.array:
    return array.array("f", np.asarray(values, np.float32).tobytes())
