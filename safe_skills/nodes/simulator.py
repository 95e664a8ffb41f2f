"""Node: the simulated table with a dVRK arm over it, which serves what the hardware serves."""

from __future__ import annotations

import sys
import time

import numpy as np
from builtin_interfaces.msg import Time

from safe_skills.envs.cable_layouts import LAYOUTS, find_layout
from safe_skills.envs.cable_run import CableRun, table_camera_matrix
from safe_skills.envs.run import StepOutcome
from safe_skills.nodes.base import main_for
from safe_skills.nodes.crtk import CrtkServer
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.simulation import WORLD_PARAMETERS, SimulatedWorld
from safe_skills.robots.dvrk import DvrkArm
from safe_skills.robots.simulated_psm import DISABLED, ENABLED, NotReadyError, SimulatedPsm

IN_LOCKSTEP = ("servo_cp", "jaw/servo_jp", "hold", "state_command")
"""Commands that make sense where time stands still."""


class Simulator(SimulatedWorld):
    """The cable task on the simulated table, as a robot with a camera.

    Publishes, besides what every simulator does, the arm's CRTK topics. In lockstep the command of
    an image is `ARM/servo_cp`. In realtime the newest `ARM/servo_cp` counts, at whatever rate they
    come: the gripper goes to it in as long as they come apart.
    """

    NAME = "simulator"
    PARAMETERS = {
        "layout": Param("open", "Scene of the cable task.", choices=tuple(LAYOUTS)),
        **WORLD_PARAMETERS,
        "arm": Param("PSM1", "Name of the arm, the first part of its topics' names."),
        "initial_state": Param(
            ENABLED,
            "Operating state at the start: ENABLED (and homed), or DISABLED.",
            choices=(ENABLED, DISABLED),
        ),
        "image_size": Param(64, "Side of the camera's image in pixels.", low=64, high=1024),
    }

    def build(self) -> CableRun:
        """Build the table and serve the arm's CRTK topics."""
        self._layout = find_layout(self.param("layout"))
        self._pulled_at = time.monotonic()
        arm = DvrkArm(workspace=self._layout.workspace)
        self._robot = SimulatedPsm(arm, self.param("initial_state"))
        self._crtk = CrtkServer(
            self, self.param("arm"), self._robot, admit=self._admit, moved=self._take
        )
        self.diagnostics.hardware_id = f"simulated {self.param('arm')}"
        self.diagnostics.add("commands", self._crtk.refusals)
        run = CableRun(self._layout, self.param("seed"), self.param("episodes"))
        self._robot.place(run.scene.gripper_position)
        return run

    def announce(self) -> None:
        """Say what is served, as at a start."""
        self._crtk.announce()

    def publish_state(self) -> None:
        """Publish measured state and set-points of the arm."""
        self._crtk.publish_state(self.now)

    def camera_matrix(self, size: int) -> np.ndarray:
        """(3, 3) pinhole matrix of the camera above the table."""
        return table_camera_matrix(self._layout, size)

    def halt(self) -> None:
        """Have the arm hold, where it may be told anything."""
        if self._robot.ready:
            self._robot.hold()
            self._take("hold")

    def episode_begins(self) -> None:
        """Put the arm to where the scene has its gripper."""
        self._robot.place(self._run.scene.gripper_position)

    def run_ends(self, outcome: StepOutcome) -> None:
        """Say that the last episode is over, and leave the arm where it is."""
        self._crtk.event("status", f"the run of {outcome.episode + 1} episodes is over")
        self._robot.place(self._run.scene.gripper_position)
        self._run.scene.command(self._robot.plane_set_point)

    def before_physics(self, seconds: float) -> None:
        """Move `move_*` on by some time."""
        if self._robot.is_busy:
            self._robot.advance(seconds)
            self._pull()

    def after_physics(self) -> None:
        """Take where the physics has the gripper."""
        self._robot.track(self._run.scene.gripper_position)

    # ---- commands

    def _admit(self, name: str, stamp: Time) -> None:
        """Raises `NotReadyError` for a command that cannot be taken now."""
        if not self._realtime and name not in IN_LOCKSTEP and not self._run.finished:
            raise NotReadyError(
                f"{name} ignored: in lockstep only servo_cp moves the arm, set clock to realtime"
            )
        if why := self.why_untimely(stamp):
            raise NotReadyError(f"{name} ignored: {why}")

    def _take(self, name: str) -> None:
        """Hands the set-point of a command that was taken to the physics."""
        self._pull()
        if name not in ("hold", "state_command") and not name.startswith("jaw/"):
            self.moved()

    def _pull(self) -> None:
        """Has the gripper go to the set-point in as long as set-points come apart."""
        ramp = None
        if self._realtime:
            now = time.monotonic()
            ramp = round((now - self._pulled_at) * self._run.rate)
            self._pulled_at = now
        self._run.scene.command(self._robot.plane_set_point, ramp)


def main() -> int:
    """Run the node."""
    return main_for(Simulator)


if __name__ == "__main__":
    sys.exit(main())
