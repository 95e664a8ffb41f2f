"""Messages to arrays and back, with the checks that keep a bad message out of the arrays.

Every `*_from_*` raises `ValueError` with one line that names what was expected and what came.
"""

import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from safe_skills.msg import Command, EpisodeStatus, LatentState, PlanStatus
from safe_skills.robots.pose import Pose

if TYPE_CHECKING:
    from safe_skills.envs.run import StepOutcome
    from safe_skills.ls3.planner import Plan
    from safe_skills.nodes.episode_book import BookedStep

TASK_FRAME = "task"
"""Frame of commands: origin in the image centre on the table, x right, y up in the image."""


def nanoseconds(stamp: Time) -> int:
    """Return a stamp as integer nanoseconds, the key by which messages are matched."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def rgb_from_image(message: Image) -> np.ndarray:
    """Unpack a colour image.

    Args:
        message: `rgb8` or `bgr8`; rows may be padded.

    Returns:
        (height, width, 3) uint8, RGB.

    Raises:
        ValueError: Another encoding, no pixels, or data whose length does not fit.
    """
    size = f"{message.width}x{message.height}"
    if message.encoding not in ("rgb8", "bgr8"):
        raise ValueError(
            f"expected an image of encoding rgb8 or bgr8, got {message.encoding!r} of {size}"
        )
    least = 3 * message.width
    if message.width == 0 or message.height == 0 or message.step < least:
        raise ValueError(
            f"expected an image with rows of at least 3 x width bytes, "
            f"got {size} with rows of {message.step} bytes"
        )
    if len(message.data) != message.step * message.height:
        raise ValueError(
            f"expected {message.step * message.height} bytes for an image of {size} with rows of "
            f"{message.step} bytes, got {len(message.data)}"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    pixels = rows[:, :least].reshape(message.height, message.width, 3)
    return np.ascontiguousarray(pixels if message.encoding == "rgb8" else pixels[:, :, ::-1])


def image_from_rgb(rgb: np.ndarray, header: Header) -> Image:
    """Pack a (height, width, 3) uint8 RGB array as `rgb8`."""
    height, width, _ = rgb.shape
    return Image(
        header=header,
        height=height,
        width=width,
        encoding="rgb8",
        step=3 * width,
        data=array.array("B", np.ascontiguousarray(rgb).tobytes()),
    )


def latent_message(
    mean: np.ndarray, stddev: np.ndarray, model_id: str, header: Header, encode_time: float = 0.0
) -> LatentState:
    """Pack a latent belief; raises `ValueError` where it is not finite.

    Args:
        mean: Of the belief, (d,).
        stddev: Of the belief, (d,).
        model_id: Id of the weights that made it.
        header: Of the image.
        encode_time: How long that took [s]; 0 where it was not measured.
    """
    check_belief(mean, stddev, "the encoder made a latent state")
    return LatentState(
        header=header,
        model_id=model_id,
        encode_time=encode_time,
        mean=array.array("f", np.asarray(mean, np.float32).tobytes()),
        stddev=array.array("f", np.asarray(stddev, np.float32).tobytes()),
    )


def belief_from_latent(
    message: LatentState, model_id: str, latent_dim: int
) -> tuple[np.ndarray, np.ndarray]:
    """Unpack a latent belief.

    Args:
        message: What the encoder published.
        model_id: Id of the weights that will read it.
        latent_dim: Number of latent dimensions d of these weights.

    Returns:
        Mean and standard deviation, each (d,) float32.

    Raises:
        ValueError: Made by other weights, of another length, not finite, or a negative deviation.
    """
    check_model(message.model_id, model_id, "a latent state")
    if len(message.mean) != latent_dim or len(message.stddev) != latent_dim:
        raise ValueError(
            f"expected a latent state of {latent_dim} means and deviations, "
            f"got {len(message.mean)} and {len(message.stddev)}"
        )
    mean = np.array(message.mean, np.float32)
    stddev = np.array(message.stddev, np.float32)
    check_belief(mean, stddev, "got a latent state")
    return mean, stddev


LONGEST_NAME = 100
"""Characters of a foreign name that a line repeats."""


def check_model(given: str, expected: str, what: str) -> None:
    """Refuse what other weights made; `what` names it in the `ValueError`."""
    if given != expected:
        # What a message says may be of any length; a line of a log may not.
        found = given if len(given) <= LONGEST_NAME else f"{given[:LONGEST_NAME]}..."
        raise ValueError(
            f"expected {what} of model {expected}, got one of model {found or '(none)'}"
        )


def check_belief(mean: np.ndarray, stddev: np.ndarray, what: str) -> None:
    """Refuse a Gaussian that is not finite or has a negative deviation, with a `ValueError`."""
    bad = int(np.sum(~np.isfinite(mean)) + np.sum(~np.isfinite(stddev)))
    if bad:
        raise ValueError(f"expected finite numbers, {what} with {bad} that are not")
    if (np.asarray(stddev) < 0).any():
        raise ValueError(f"expected deviations >= 0, {what} with {float(np.min(stddev)):g}")


def command_message(
    action: Sequence[float] | np.ndarray, source: str, stamp: Time, frame: str
) -> Command:
    """Pack a displacement over one control step (SI units); `ValueError` if it is not finite."""
    if not np.isfinite(action).all():
        raise ValueError(f"expected a finite displacement, {source} made {list(action)}")
    return Command(
        header=Header(stamp=stamp, frame_id=frame),
        action=[float(entry) for entry in action],
        source=source,
    )


def action_from_command(message: Command, action_dim: int, frame: str) -> np.ndarray:
    """Unpack a displacement.

    Args:
        message: The command.
        action_dim: Number of entries expected.
        frame: Frame in which it must be expressed.

    Returns:
        (action_dim,) float64, SI units.

    Raises:
        ValueError: Another frame, another length, or not finite.
    """
    if message.header.frame_id != frame:
        raise ValueError(
            f"expected a command in frame {frame!r}, got frame {message.header.frame_id!r} "
            f"from {message.source or '(no source)'}"
        )
    if len(message.action) != action_dim:
        raise ValueError(
            f"expected a command of {action_dim} entries, got {len(message.action)} "
            f"from {message.source or '(no source)'}"
        )
    action = np.array(message.action, np.float64)
    if not np.isfinite(action).all():
        raise ValueError(
            f"expected a finite command, got {action.tolist()} from "
            f"{message.source or '(no source)'}"
        )
    return action


def plan_status_message(plan: "Plan", model_id: str, header: Header) -> PlanStatus:
    """Pack how a plan came about."""
    return PlanStatus(
        header=header,
        model_id=model_id,
        outcome=int(plan.outcome),
        solve_time=plan.solve_time,
        iterations=plan.iterations,
        restarts=plan.restarts,
        delta_s=plan.delta_s,
        feasible_share=plan.feasible_share,
        value=plan.value,
        constraint_probability=plan.constraint_probability,
        safe_set_probability=plan.safe_set_probability,
        horizon=len(plan.actions),
        planned_actions=np.asarray(plan.actions, np.float64).ravel().tolist(),
    )


def episode_status_message(step: "StepOutcome | BookedStep", stamp: Time) -> EpisodeStatus:
    """Pack what is true of a step.

    Args:
        step: Its attributes are fields of the message; `stamp`, if it has one, is left out.
        stamp: Of the image before the step.
    """
    fields = {name: value for name, value in vars(step).items() if name != "stamp"}
    return EpisodeStatus(
        header=Header(stamp=stamp, frame_id=TASK_FRAME),
        violation=bool(step.violation_kind),
        **fields,
    )


def pose_from_message(message: PoseStamped) -> Pose:
    """Unpack a measured pose.

    Raises:
        ValueError: Its stamp is zero, by which CRTK robots mark invalid data, or its numbers are
            not finite or no unit quaternion.
    """
    if nanoseconds(message.header.stamp) == 0:
        raise ValueError("expected valid data, got a pose with a zero stamp, which means invalid")
    position, rotation = message.pose.position, message.pose.orientation
    return Pose.from_values(
        (position.x, position.y, position.z, rotation.x, rotation.y, rotation.z, rotation.w)
    )


def pose_message(pose: Pose, header: Header) -> PoseStamped:
    """Pack a pose."""
    message = PoseStamped(header=header)
    x, y, z = (float(entry) for entry in pose.position)
    message.pose.position.x, message.pose.position.y, message.pose.position.z = x, y, z
    turn = message.pose.orientation
    turn.x, turn.y, turn.z, turn.w = (float(entry) for entry in pose.quaternion)
    return message
