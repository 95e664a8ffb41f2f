"""Where an arm is, asked from outside of the graph: for tools that a person works with."""

from __future__ import annotations

import os
import time
from types import TracebackType

import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor

from safe_skills.nodes import qos
from safe_skills.nodes.conversions import pose_from_message
from safe_skills.nodes.middleware import without_shared_memory
from safe_skills.robots.pose import Pose
from safe_skills.systems import DISCOVERY

PATIENCE = 5.0
"""Seconds to wait for the first pose."""

SETTLING = 0.2
"""Seconds after which no pose comes in any more that was measured before."""


class PoseReader:
    """Reads `ARM/measured_cp`; a context manager with a ROS context of its own.

    Args:
        arm: name of the arm, the first part of its topics' names.
        namespace: of the arm's topics; empty: none.
    """

    def __init__(self, arm: str, namespace: str = "") -> None:
        self._topic = f"{arm}/measured_cp"
        self._namespace = namespace
        self._poses: list[Pose] = []
        self._refused = ""
        self._frame = ""

    def __enter__(self) -> PoseReader:
        os.environ.setdefault(DISCOVERY, "LOCALHOST")
        os.environ.update(without_shared_memory(os.environ))
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node(
            "pose_reader", namespace=self._namespace, context=self._context
        )
        self._topic = self._node.resolve_topic_name(self._topic)
        self._node.create_subscription(PoseStamped, self._topic, self._note, qos.CRTK_STATE_LATEST)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    @property
    def frame(self) -> str:
        """Frame in which the poses read last were measured."""
        return self._frame

    def poses(self, seconds: float) -> list[Pose]:
        """Returns the poses that come in some seconds from now on.

        Raises:
            ValueError: none comes, one is invalid (zero stamp), or they change their frame; one
                line.
        """
        # What waits to be read, or is on its way, was measured before.
        self._spin(SETTLING)
        self._poses, self._refused, frame = [], "", self._frame
        first = time.monotonic() + PATIENCE
        until = first
        while time.monotonic() < until and not self._refused:
            self._executor.spin_once(timeout_sec=0.05)
            if self._poses and until == first:
                until = time.monotonic() + seconds
        if self._refused:
            raise ValueError(f"{self._topic}: {self._refused}")
        if not self._poses:
            raise ValueError(f"{self._topic}: expected measured poses, none came in {PATIENCE:g} s")
        if frame not in ("", self._frame):
            raise ValueError(
                f"{self._topic}: expected poses in frame {frame!r} as before, got {self._frame!r}"
            )
        return self._poses

    def _spin(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._executor.spin_once(timeout_sec=0.02)

    def _note(self, message: PoseStamped) -> None:
        try:
            self._poses.append(pose_from_message(message))
        except ValueError as error:
            self._refused = str(error)
        self._frame = message.header.frame_id
