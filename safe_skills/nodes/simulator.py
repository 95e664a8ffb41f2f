"""Node: the simulated table with a dVRK arm over it, which serves what the hardware serves."""

from __future__ import annotations

import sys
import time

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from safe_skills.envs.cable_layouts import LAYOUTS, find_layout
from safe_skills.envs.cable_run import CableRun, table_camera_matrix
from safe_skills.envs.cable_scene import PHYSICS_RATE
from safe_skills.envs.run import StepOutcome
from safe_skills.msg import EpisodeStatus
from safe_skills.nodes import qos
from safe_skills.nodes.base import SkillNode, main_for
from safe_skills.nodes.conversions import TASK_FRAME, image_from_rgb, nanoseconds
from safe_skills.nodes.crtk import CrtkServer
from safe_skills.nodes.diagnostics import OK, WARN, Status
from safe_skills.nodes.lockstep import Lockstep
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.roll_call import RollCall, names_in
from safe_skills.robots.dvrk import DvrkArm
from safe_skills.robots.simulated_psm import DISABLED, ENABLED, NotReadyError, SimulatedPsm

START_PAUSE = 0.05
"""Seconds between `episode_start` and the first image: time to forget the last attempt."""

LONGEST_TICK = 0.1
"""Seconds of simulation that one timer call makes up for; what is beyond is lost."""

AUDIENCE_PATIENCE = 20.0
"""Seconds that the first image waits for those who record the run."""

IN_LOCKSTEP = ("servo_cp", "jaw/servo_jp", "hold", "state_command")
"""Commands that make sense where time stands still."""


class Simulator(SkillNode):
    """The cable task on the simulated table, as a robot with a camera.

    Publishes `camera/image_raw`, `camera/camera_info`, `overview/image_raw` where asked for,
    `episode_start`, `episode` (ground truth, for no controller), and the arm's CRTK topics.

    In lockstep, time stands still until `ARM/servo_cp` comes with the stamp of the newest image; it
    then moves on by one control step. In realtime it goes on with the wall clock, from the first
    command on in steps of an episode.
    """

    NAME = "simulator"
    PARAMETERS = {
        "layout": Param("open", "Scene of the cable task.", choices=tuple(LAYOUTS)),
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
        "arm": Param("PSM1", "Name of the arm, the first part of its topics' names."),
        "initial_state": Param(
            ENABLED,
            "Operating state at the start: ENABLED (and homed), or DISABLED.",
            choices=(ENABLED, DISABLED),
        ),
        "overview": Param(False, "Whether to render a perspective view for people."),
        "overview_size": Param([640, 480], "Its width and height in pixels.", low=16, high=4096),
        "image_size": Param(64, "Side of the camera's image in pixels.", low=64, high=1024),
        "audience": Param(
            "",
            "Nodes, separated by commas, that hear `episode` before the first image is shown, "
            "so that they miss none; waits 20 s at most.",
        ),
        "state_rate": Param(100.0, "Rate of the arm's state [Hz].", low=1.0, high=1000.0),
    }

    def configure(self) -> None:
        """Build the scene and open the topics."""
        if len(self.param("overview_size")) != 2:
            raise ValueError(
                f"overview_size: expected width, height, got {self.param('overview_size')}"
            )
        layout = find_layout(self.param("layout"))
        self._layout = layout
        self._size = self.param("image_size")
        self._realtime = self.param("clock") == "realtime"
        arm = DvrkArm(workspace=layout.workspace)
        self._robot = SimulatedPsm(arm, self.param("initial_state"))
        self._images = self.advertise(Image, "camera/image_raw", qos.IMAGE)
        self._infos = self.advertise(CameraInfo, "camera/camera_info", qos.IMAGE)
        self._overviews = self.advertise(Image, "overview/image_raw", qos.IMAGE)
        self._statuses = self.advertise(EpisodeStatus, "episode", qos.EVENT)
        self._starts = self.advertise(Header, "episode_start", qos.EVENT)
        self._crtk = CrtkServer(
            self, self.param("arm"), self._robot, admit=self._admit, moved=self._moved
        )
        self.every(1.0 / self.param("state_rate"), self._tick)
        self.diagnostics.hardware_id = f"simulated {self.param('arm')}"
        self.diagnostics.add("episodes", self._report_episodes)
        self.diagnostics.add("commands", self._crtk.refusals)
        self._run = CableRun(layout, self.param("seed"), self.param("episodes"))
        self._robot.place(self._run.scene.gripper_position)
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
        self._crtk.announce()
        self._pause_until = 0.0
        if not self._run.finished:
            self._announce_episode()

    def deactivate(self) -> None:
        """Leave the robot still."""
        self._lockstep.answered()
        if self._robot.ready:
            self._robot.hold()
            self._moved("hold")

    def cleanup(self) -> None:
        """End the simulation."""
        self._run.close()

    # ---- episodes

    def _announce_episode(self) -> None:
        stamp = self.get_clock().now()
        self._start = stamp.nanoseconds
        self._pause_until = time.monotonic() + START_PAUSE
        self._at = self._pause_until
        self._substeps_due = 0.0
        self._starts.publish(Header(stamp=stamp.to_msg(), frame_id=TASK_FRAME))
        self._publish_state()

    def _conclude_step(self, outcome: StepOutcome) -> None:
        self._publish_state()
        self._statuses.publish(
            EpisodeStatus(
                header=Header(stamp=self._stamp, frame_id=TASK_FRAME),
                episode=outcome.episode,
                seed=outcome.seed,
                step=outcome.step,
                reward=outcome.reward,
                cost=outcome.cost,
                success=outcome.success,
                violation=bool(outcome.violation_kind),
                violation_kind=outcome.violation_kind,
                done=outcome.done,
                episode_return=outcome.episode_return,
                episode_cost=outcome.episode_cost,
                finished=outcome.finished,
            )
        )
        if not outcome.done:
            return
        self._ended["episodes"] += 1
        self._ended["successes"] += outcome.success
        self._ended["violations"] += bool(outcome.violation_kind)
        if outcome.finished:
            self._crtk.event("status", f"the run of {outcome.episode + 1} episodes is over")
            self._robot.place(self._run.scene.gripper_position)
            self._run.scene.command(self._robot.plane_set_point)
            return
        self._run.next_episode()
        self._substep = 0
        self._robot.place(self._run.scene.gripper_position)
        self._announce_episode()

    # ---- commands

    def _admit(self, name: str, stamp: Time) -> None:
        """Raises `NotReadyError` for a command that cannot be taken now."""
        if self._run.finished:
            raise NotReadyError(f"{name} ignored: the run is over")
        asked = nanoseconds(stamp)
        if self._realtime:
            if 0 < asked < self._start:
                raise NotReadyError(f"{name} ignored: it answers an image of an earlier episode")
        elif name not in IN_LOCKSTEP:
            raise NotReadyError(
                f"{name} ignored: in lockstep only servo_cp moves the arm, set clock to realtime"
            )
        elif not self._lockstep.answers(asked):
            raise NotReadyError(
                f"{name} ignored: expected the stamp of the newest image, "
                f"{nanoseconds(self._stamp)} ns, got {asked} ns"
            )

    def _moved(self, name: str) -> None:
        """Hands the set-point of a command that was taken to the physics."""
        self._run.scene.command(self._robot.plane_set_point)
        if name in ("hold", "state_command") or name.startswith("jaw/"):
            return
        self._begun = True
        if not self._realtime:
            self._lockstep.answered()
            outcome = self._run.step()
            self._robot.track(self._run.scene.gripper_position)
            self._conclude_step(outcome)
            if not outcome.done:
                self._publish_image(time.monotonic())

    # ---- time

    def _tick(self) -> None:
        now = time.monotonic()
        if not self._heard:
            self._heard = self._audience.complete()
            self._at = now
        elif now >= self._pause_until:
            if self._realtime:
                self._pass_time(now)
            elif not self._run.done and (not self._lockstep.waiting or self._lockstep.due(now)):
                self._publish_image(now)
        self._publish_state()

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
        if self._robot.is_busy:
            self._robot.advance(elapsed)
            self._run.scene.command(self._robot.plane_set_point)
        self._substeps_due += elapsed * PHYSICS_RATE
        while self._substeps_due >= 1.0 and now >= self._pause_until:
            if self._substep == 0:
                if not self._run.done:
                    self._publish_image(now)
                self._counting = self._begun
            part = min(int(self._substeps_due), self._layout.substeps - self._substep)
            outcomes = self._run.advance(part, counting=self._counting)
            self._substeps_due -= part
            self._substep = (self._substep + part) % self._layout.substeps
            self._robot.track(self._run.scene.gripper_position)
            for outcome in outcomes:
                self._conclude_step(outcome)

    # ---- publishing

    def _publish_state(self) -> None:
        self._crtk.publish_state(self.get_clock().now().to_msg())

    def _publish_image(self, now: float) -> None:
        """Publishes what the camera sees; in lockstep again under the same stamp while it waits."""
        picture = self._run.scene.render(self._size)
        if not self._lockstep.waiting:
            # As of a camera: when the picture is there. The world stood still meanwhile.
            self._stamp = self.get_clock().now().to_msg()
        if not self._realtime:
            self._lockstep.show(nanoseconds(self._stamp), now)
        header = Header(stamp=self._stamp, frame_id="camera")
        self._images.publish(image_from_rgb(picture, header))
        self._infos.publish(self._camera_info(header))
        if self.param("overview"):
            view = self._run.scene.render_overview(*self.param("overview_size"))
            self._overviews.publish(image_from_rgb(view, header))

    def _camera_info(self, header: Header) -> CameraInfo:
        matrix = table_camera_matrix(self._layout, self._size)
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
            status.summary(OK, f"episode {self._run.episode}")
        if self._lost_time > 0.0:
            status.merge(WARN, "the simulation is slower than the wall clock")
        status.add("lost_time_s", self._lost_time)
        for name, count in self._ended.items():
            status.add(name, count)


def main() -> int:
    """Run the node."""
    return main_for(Simulator)


if __name__ == "__main__":
    sys.exit(main())
