"""Node: an operator starts, ends and labels the episodes of a physical robot."""

import sys
from collections.abc import Sequence

from builtin_interfaces.msg import Time
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from safe_skills.data.vision import RED, hsv_mask, pixels_inside
from safe_skills.msg import Command, EpisodeStatus, SafetyStatus, Violation
from safe_skills.nodes import qos
from safe_skills.nodes.base import SkillNode, main_for
from safe_skills.nodes.camera_encoder import CAMERA_PARAMETERS
from safe_skills.nodes.conversions import (
    TASK_FRAME,
    episode_status_message,
    nanoseconds,
    rgb_from_image,
)
from safe_skills.nodes.diagnostics import OK, Status
from safe_skills.nodes.episode_book import BookedStep, EpisodeBook
from safe_skills.nodes.frames import task_area
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.safety_monitor import hsv_ranges

LEAST_AREA = 16
"""Pixels that the side of the task area has at least."""


class EpisodeOperator(SkillNode):
    """Says when an episode begins and how it ended, as the simulator does.

    Publishes `episode_start` and `episode`; subscribes `command_safe`, `safety_status`, `violation`
    and, where a goal is given, `camera/image_raw`.

    Between episodes, and while it is paused, the robot stands still: the gate's `e_stop` is
    called, and its `reset` when an episode begins or goes on; then the bridge's `resume`, for an
    arm that the stop has paused. Every gated command of an open episode is a step. Cable seen in
    the goal, and contact seen by the safety monitor, end an episode by themselves where that is
    asked for.
    """

    NAME = "episode_operator"
    PARAMETERS = {
        "horizon": Param(
            50, "Steps after which an episode ends as a failure; 0: never.", low=0, high=10**6
        ),
        "bridge": Param(
            "hardware_bridge", "Node whose resume is called where an episode begins or goes on."
        ),
        "gate": Param("safety_monitor", "Node whose e_stop and reset hold and release the robot."),
        "crop": CAMERA_PARAMETERS["crop"],
        "cable_hsv": Param(
            [entry for bounds in RED for triple in bounds for entry in triple],
            "Colour ranges of the cable: low and high hue (0-179), saturation, value, in sixes.",
            low=0,
            high=255,
        ),
        "goal": Param(
            [0.0, 0.0, 0.0, 0.0],
            "Goal area in the task frame: xmin, xmax, ymin, ymax [m]; zeros: none is looked at.",
            low=-10.0,
            high=10.0,
        ),
        "goal_pixels": Param(
            1, "Pixels of the cable in the goal that make a success.", low=1, high=10**6
        ),
        "camera_span": Param(
            0.25, "Half width of what the task area shows [m].", low=0.01, high=5.0
        ),
        "contact_ends": Param(
            True, "Whether a contact seen by the safety monitor ends an episode as a violation."
        ),
    }

    def configure(self) -> None:
        """Open topics and services."""
        goal = self.param("goal")
        if len(goal) != 4:
            raise ValueError(f"goal: expected xmin, xmax, ymin, ymax, got {goal}")
        self._goal = ((goal[0], goal[1]), (goal[2], goal[3])) if any(goal) else None
        self._cable = hsv_ranges("cable_hsv", self.param("cable_hsv"))
        self._book = EpisodeBook(self.param("horizon"))
        self._paused = self._foreign = self._resume_due = False
        self._gate_state: int | None = None
        gate = self.param("gate")
        self._stop = self.create_client(Trigger, f"{gate}/e_stop")
        self._release = self.create_client(Trigger, f"{gate}/reset")
        self._resume = self.create_client(Trigger, f"{self.param('bridge')}/resume")
        self._starts = self.advertise(Header, "episode_start", qos.EVENT)
        self._statuses = self.advertise(EpisodeStatus, "episode", qos.EVENT)
        self.subscribe(SafetyStatus, "safety_status", self._note_gate, qos.STATUS)
        self.subscribe(Command, "command_safe", self._note_command, qos.LOG)
        self.subscribe(Violation, "violation", self._note_violation, qos.EVENT)
        if self._goal is not None:
            self.subscribe(Image, "camera/image_raw", self._look_at_goal, qos.IMAGE)
        self.serve(Trigger, "~/start", self._start)
        self.serve(Trigger, "~/success", self._success)
        self.serve(Trigger, "~/failure", self._failure)
        self.serve(Trigger, "~/violation", self._violation)
        self.serve(Trigger, "~/discard", self._discard)
        self.serve(SetBool, "~/pause", self._pause)
        self.every(0.2, self._keep_still)
        self.diagnostics.add("episodes", self._report_episodes)

    def cleanup(self) -> None:
        """Close the clients."""
        for client in (self._stop, self._release, self._resume):
            self.destroy_client(client)

    # ---- the gate

    @property
    def _still(self) -> bool:
        """Whether the robot should stand still now."""
        return self._paused or not self._book.open

    def _note_gate(self, message: SafetyStatus) -> None:
        before, self._gate_state = self._gate_state, message.state
        stopped = message.state == SafetyStatus.STOPPED
        # Who else stops the robot in an episode is to release it, too.
        began = before != SafetyStatus.STOPPED and not self._still
        self._foreign = stopped and (self._foreign or began)

    def _keep_still(self) -> None:
        """Stop the gate where it should be stopped; also one that was started again."""
        released = self._gate_state not in (None, SafetyStatus.STOPPED)
        if self._still and released:
            self._call(self._stop)
        elif self._resume_due and released and self._resume.service_is_ready():
            # Again until it is taken: the bridge may not have heard of the release yet.
            self._resume.call_async(Trigger.Request()).add_done_callback(self._resumed)

    def _resumed(self, future: Future) -> None:
        self._resume_due = self._resume_due and not future.result().success
        if self._resume_due:
            self.get_logger().error(future.result().message, throttle_duration_sec=2.0)

    def _call(self, client) -> None:
        if client.service_is_ready():
            client.call_async(Trigger.Request()).add_done_callback(self._called)
        else:
            self.get_logger().error(
                f"{client.srv_name} is not there", throttle_duration_sec=2.0, skip_first=True
            )

    def _called(self, future: Future) -> None:
        if not future.result().success:
            self.get_logger().error(future.result().message)

    # ---- services

    def _start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._foreign:
            return _answer(response, "the robot was stopped by someone else: reset the gate first")
        if not self.is_active or self._gate_state is None:
            return _answer(response, f"no safety_status of {self.param('gate')} yet")
        stamp = self.get_clock().now()
        try:
            number = self._book.start(stamp.nanoseconds)
        except ValueError as error:
            return _answer(response, str(error))
        self._paused = False
        self._starts.publish(Header(stamp=stamp.to_msg(), frame_id=TASK_FRAME))
        self._call(self._release)
        self._resume_due = True
        self.get_logger().info(f"episode {number} begins")
        return _answer(response, f"episode {number} begins", True)

    def _success(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._end(response, "success")

    def _failure(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._end(response, "failure")

    def _violation(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._end(response, "violation", "operator")

    def _discard(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            self._book.discard()
        except ValueError as error:
            return _answer(response, str(error))
        self._hold_after(f"episode {self._book.episode} counts for nothing")
        return _answer(response, f"episode {self._book.episode} counts for nothing", True)

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if not self._book.open:
            return _answer(response, "no episode is open: the robot stands still")
        if not request.data and self._foreign:
            return _answer(response, "the robot was stopped by someone else: reset the gate first")
        self._paused = request.data
        self._resume_due = not self._paused
        self._call(self._stop if self._paused else self._release)
        said = "is paused" if self._paused else "goes on"
        self.get_logger().info(f"episode {self._book.episode} {said}")
        return _answer(response, f"episode {self._book.episode} {said}", True)

    def _end(self, response: Trigger.Response, outcome: str, kind: str = "") -> Trigger.Response:
        try:
            told = self._book.end(outcome, kind)
        except ValueError as error:
            return _answer(response, str(error))
        self._tell(told)
        return _answer(response, f"episode {self._book.episode}: {outcome}", True)

    # ---- steps and labels

    def _note_command(self, message: Command) -> None:
        self._tell(self._book.command(nanoseconds(message.header.stamp)))

    def _note_violation(self, message: Violation) -> None:
        seen = message.kind == "seen_contact" and self.param("contact_ends")
        if seen and self._book.is_present(nanoseconds(message.header.stamp)):
            self._tell(self._book.end("violation", message.kind))

    def _look_at_goal(self, message: Image) -> None:
        if self._paused or not self._book.is_present(nanoseconds(message.header.stamp)):
            return
        try:
            area = task_area(rgb_from_image(message), self.param("crop"), LEAST_AREA)
        except ValueError as error:
            self.refuse("image refused", f"image refused: {error}")
            return
        there = pixels_inside(hsv_mask(area, self._cable), self._goal, self.param("camera_span"))
        if there >= self.param("goal_pixels"):
            self._tell(self._book.end("success"))

    def _tell(self, steps: Sequence[BookedStep]) -> None:
        for step in steps:
            stamp = Time(sec=step.stamp // 10**9, nanosec=step.stamp % 10**9)
            self._statuses.publish(episode_status_message(step, stamp))
            if step.done:
                how = "success" if step.success else step.violation_kind or "failure"
                self._hold_after(f"episode {step.episode}: {how} in {step.step} steps")

    def _hold_after(self, line: str) -> None:
        self._paused = self._resume_due = False
        self._call(self._stop)
        self.get_logger().info(line)

    def _report_episodes(self, status: Status) -> None:
        state = "paused" if self._paused else "open" if self._book.open else "over"
        status.summary(OK, f"episode {self._book.episode} {state}")
        self.refusals(status)
        for name, count in self._book.ended.items():
            status.add(name, count)


def _answer(response, message: str, success: bool = False):
    response.success, response.message = success, message
    return response


def main() -> int:
    """Run the node."""
    return main_for(EpisodeOperator)


if __name__ == "__main__":
    sys.exit(main())
