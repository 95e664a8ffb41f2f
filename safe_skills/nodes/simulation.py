"""What the simulators of all tasks share: a robot with a camera, episode after episode."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from safe_skills.envs.run import StepOutcome, TaskRun
from safe_skills.msg import EpisodeStatus
from safe_skills.nodes import qos
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.conversions import (
    TASK_FRAME,
    episode_status_message,
    image_from_rgb,
    nanoseconds,
)
from safe_skills.nodes.diagnostics import OK, WARN, Status
from safe_skills.nodes.lockstep import Lockstep
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.roll_call import RollCall, names_in

START_PAUSE = 0.05
"""Seconds between `episode_start` and the first image: time to forget the last attempt."""

LONGEST_TICK = 0.1
"""Seconds of simulation that one timer call makes up for; what is beyond is lost."""

AUDIENCE_PATIENCE = 20.0
"""Seconds that the first image waits for those who record the run."""

WORLD_PARAMETERS = {
    "clock": Param(
        "lockstep",
        "Whether the simulation waits for the command of each image, or goes on.",
        choices=("lockstep", "realtime"),
    ),
    "seed": Param(
        1_000_000,
        "Seed of the first episode's scene; the next has the next.",
        low=0,
        high=2**31,
    ),
    "episodes": Param(0, "Episodes to run; 0: no end.", low=0, high=10**6),
    "overview": Param(False, "Whether to render a perspective view for people."),
    "overview_size": Param([640, 480], "Its width and height in pixels.", low=16, high=4096),
    "audience": Param(
        "",
        "Nodes, separated by commas, that hear `episode` before the first image is shown, "
        "so that they miss none; waits 20 s at most.",
    ),
    "pause_every": Param(
        0,
        "Episodes after which the run waits for the service resume; 0: it never waits.",
        low=0,
        high=10**6,
    ),
    "state_rate": Param(100.0, "Rate of the arm's state [Hz].", low=1.0, high=1000.0),
}


class SimulatedWorld(SkillNode, ABC):
    """A task in simulation, as a robot with a camera.

    Publishes `camera/image_raw`, `camera/camera_info`, `overview/image_raw` where asked for,
    `episode_start`, `episode` (ground truth, for no controller), and `outcome/image_raw`, what the
    camera sees at the end of an episode: nothing is to be done about that image, so it is none of
    `camera/image_raw`. A subclass builds the run and serves the robot's own topics.

    In lockstep, time stands still until the robot gets its command with the stamp of the newest
    image; it then moves on by one control step. In realtime it goes on with the wall clock, from
    the first command on in steps of an episode.
    """

    def configure(self) -> None:
        """Build the scene and open the topics."""
        if len(self.param("overview_size")) != 2:
            raise ValueError(
                f"overview_size: expected width, height, got {self.param('overview_size')}"
            )
        self._size = self.param("image_size")
        self._realtime = self.param("clock") == "realtime"
        self._images = self.advertise(Image, "camera/image_raw", qos.IMAGE)
        self._infos = self.advertise(CameraInfo, "camera/camera_info", qos.IMAGE)
        self._overviews = self.advertise(Image, "overview/image_raw", qos.IMAGE)
        self._outcomes = self.advertise(Image, "outcome/image_raw", qos.COMMAND)
        self._statuses = self.advertise(EpisodeStatus, "episode", qos.EVENT)
        self._starts = self.advertise(Header, "episode_start", qos.EVENT)
        self.serve(Trigger, "~/resume", self._resume)
        self._paused = False
        self._run = self.build()
        self.every(1.0 / self.param("state_rate"), self._tick)
        self.diagnostics.add("episodes", self._report_episodes)
        self._lockstep = Lockstep()
        self._stamp = Time()
        self._begun = False
        self._substep = 0
        self._audience = RollCall(
            names_in(self.param("audience")),
            self._listeners,
            AUDIENCE_PATIENCE,
            self._begin_without,
        )
        self._heard = False
        self._lost_time = 0.0
        self._ended = {"successes": 0, "violations": 0, "episodes": 0}

    def activate(self) -> None:
        """Begin the present episode."""
        self.announce()
        self._pause_until = 0.0
        if not (self._run.finished or self._paused):
            self._announce_episode()

    def deactivate(self) -> None:
        """Leave the robot still."""
        self._lockstep.answered()
        self.halt()

    def cleanup(self) -> None:
        """End the simulation."""
        self._run.close()

    # ---- what a simulated task says

    @abstractmethod
    def build(self) -> TaskRun:
        """Build the episodes and open the robot's topics."""

    @abstractmethod
    def publish_state(self) -> None:
        """Publish what the robot measures."""

    @abstractmethod
    def camera_matrix(self, size: int) -> np.ndarray:
        """(3, 3) pinhole matrix of the camera for an image of `size` pixels."""

    @abstractmethod
    def halt(self) -> None:
        """Have the robot stay where it is."""

    def announce(self) -> None:
        """Say what is served, as at a start."""

    def episode_begins(self) -> None:
        """Take up where the scene of a new episode has the robot."""

    def run_ends(self, outcome: StepOutcome) -> None:
        """Say that the last episode is over, and have the robot stay where it is."""

    def before_physics(self, seconds: float) -> None:
        """In realtime: move the robot's set-points on by some time."""

    def after_physics(self) -> None:
        """Take where the physics has the robot."""

    def before_image(self) -> None:
        """Publish what is to be known before a new image is answered."""

    # ---- for subclasses

    @property
    def now(self) -> Time:
        """Present time as a stamp."""
        return self.get_clock().now().to_msg()

    def why_untimely(self, stamp: Time, moves: bool = True) -> str:
        """Why a command of this stamp cannot be taken now; empty when it can.

        Args:
            stamp: of the image answered; zero where there is none.
            moves: whether it is one that, in lockstep, lets the world move on.
        """
        if self._run.finished:
            return "the run is over"
        if self._paused:
            return "the run waits for resume"
        asked = nanoseconds(stamp)
        if self._realtime:
            if 0 < asked < self._start:
                return "it answers an image of an earlier episode"
        elif moves and not self._lockstep.answers(asked):
            return (
                f"expected the stamp of the newest image, {nanoseconds(self._stamp)} ns, "
                f"got {asked} ns"
            )
        return ""

    def moved(self) -> None:
        """A motion was commanded: in lockstep, take the step that answers the newest image."""
        self._begun = True
        if self._realtime:
            return
        self._lockstep.answered()
        outcome = self._run.step()
        self.after_physics()
        self._conclude_step(outcome)
        if not outcome.done:
            self._publish_image(time.monotonic())

    # ---- episodes

    def _announce_episode(self) -> None:
        stamp = self.get_clock().now()
        self._start = stamp.nanoseconds
        self._pause_until = time.monotonic() + START_PAUSE
        self._at = self._pause_until
        self._substeps_due = 0.0
        self._starts.publish(Header(stamp=stamp.to_msg(), frame_id=TASK_FRAME))
        self.publish_state()

    def _conclude_step(self, outcome: StepOutcome) -> None:
        self.publish_state()
        if outcome.done and self._outcomes.get_subscription_count():
            seen = Header(stamp=self.now, frame_id="camera")
            self._outcomes.publish(image_from_rgb(self._run.scene.render(self._size), seen))
        self._statuses.publish(episode_status_message(outcome, self._stamp))
        if not outcome.done:
            return
        self._ended["episodes"] += 1
        self._ended["successes"] += outcome.success
        self._ended["violations"] += outcome.episode_cost > 0.0
        if outcome.finished:
            self.run_ends(outcome)
            return
        self._run.next_episode()
        self._substep = 0
        self.episode_begins()
        pause_every = self.param("pause_every")
        self._paused = pause_every > 0 and self._run.episode % pause_every == 0
        if self._paused:
            self.get_logger().info(f"{self._run.episode} episodes are over: waiting for resume")
        else:
            self._announce_episode()

    def _resume(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._paused
        response.message = "the run goes on" if self._paused else "the run was not waiting"
        if self._paused:
            self._paused = False
            if self.is_active:
                self._announce_episode()
        return response

    # ---- time

    def _tick(self) -> None:
        now = time.monotonic()
        if not self._heard:
            self._heard = self._audience.complete()
            self._at = now
        elif now >= self._pause_until and not self._paused:
            if self._realtime:
                self._pass_time(now)
            elif not self._run.done and (not self._lockstep.waiting or self._lockstep.due(now)):
                self._publish_image(now)
        self.publish_state()

    def _listeners(self) -> set[str]:
        listeners = self.get_subscriptions_info_by_topic(self._statuses.topic_name)
        return {endpoint.node_name for endpoint in listeners}

    def _begin_without(self, missing: list[str]) -> None:
        names = ", ".join(missing)
        self.get_logger().warning(f"the run begins without {names}: their records lack its start")

    def _pass_time(self, now: float) -> None:
        elapsed, self._at = now - self._at, now
        self._lost_time += max(elapsed - LONGEST_TICK, 0.0)
        elapsed = min(elapsed, LONGEST_TICK)
        self.before_physics(elapsed)
        self._substeps_due += elapsed * self._run.rate
        while self._substeps_due >= 1.0 and now >= self._pause_until and not self._paused:
            if self._substep == 0:
                if not self._run.done:
                    self._publish_image(now)
                self._counting = self._begun
            part = min(int(self._substeps_due), self._run.substeps - self._substep)
            outcomes = self._run.advance(part, counting=self._counting)
            self._substeps_due -= part
            self._substep = (self._substep + part) % self._run.substeps
            self.after_physics()
            for outcome in outcomes:
                self._conclude_step(outcome)

    # ---- publishing

    def _publish_image(self, now: float) -> None:
        """Publishes what the camera sees; in lockstep again under the same stamp while it waits."""
        picture = self._run.scene.render(self._size)
        if not self._lockstep.waiting:
            # As of a camera: when the picture is there. The world stood still meanwhile.
            self._stamp = self.now
            self.before_image()
        if not self._realtime:
            self._lockstep.show(nanoseconds(self._stamp), now)
        header = Header(stamp=self._stamp, frame_id="camera")
        self._images.publish(image_from_rgb(picture, header))
        self._infos.publish(self._camera_info(header))
        if self.param("overview"):
            view = self._run.scene.render_overview(*self.param("overview_size"))
            self._overviews.publish(image_from_rgb(view, header))

    def _camera_info(self, header: Header) -> CameraInfo:
        matrix = self.camera_matrix(self._size)
        projection = [*matrix[0], 0.0, *matrix[1], 0.0, *matrix[2], 0.0]
        return CameraInfo(
            header=header,
            height=self._size,
            width=self._size,
            distortion_model="plumb_bob",
            d=[0.0] * 5,
            k=[float(entry) for entry in matrix.ravel()],
            r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            p=[float(entry) for entry in projection],
        )

    def _report_episodes(self, status: Status) -> None:
        if self._run.finished:
            status.summary(OK, "the run is over")
        else:
            waits = ", waiting for resume" if self._paused else ""
            status.summary(OK, f"episode {self._run.episode}{waits}")
        if self._lost_time > 0.0:
            status.merge(WARN, "the simulation is slower than the wall clock")
        status.add("lost_time_s", self._lost_time)
        for name, count in self._ended.items():
            status.add(name, count)
