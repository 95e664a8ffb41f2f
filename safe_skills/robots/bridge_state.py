"""Whether a bridge may move its robot, and why not: a state machine without ROS and clock.

CRTK's operating states (ENABLED, DISABLED, PAUSED, FAULT; homed or not) are followed where a robot
tells them; a robot that does not is judged by its measured data alone.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from safe_skills.robots.servo import ServoState

ENABLED, DISABLED, PAUSED, FAULT = "ENABLED", "DISABLED", "PAUSED", "FAULT"

SETTLED = 1.0
"""Seconds for which an operating state must have stood before anything follows from it alone: who
joins late is told the past states first, as fast as they come."""


class BridgeState(IntEnum):
    """What a bridge does with its robot; the states of BridgeStatus.msg."""

    UNCONNECTED = 0
    DISABLED = 1
    UNHOMED = 2
    READY = 3
    MOVING = 4
    HOLDING = 5
    FAULT = 6


class OperatingState(NamedTuple):
    """What a robot says of itself (CRTK `operating_state`)."""

    state: str
    is_homed: bool
    is_busy: bool = False


class Standing(NamedTuple):
    """A state and why.

    Attributes:
        state: one of them.
        reason: one line; empty in READY and MOVING.
        gently: whether a robot in motion may be brought to rest before it holds: nothing is wrong
            but that nobody is heard.
    """

    state: BridgeState
    reason: str = ""
    gently: bool = False


class BridgeMachine:
    """Follows robot and safety monitor, and says whether the robot may be moved.

    All times are arguments: receive times in monotonic seconds. `standing` puts the reasons in
    order: a fault of the robot first, then what the robot lacks, then what people and the monitor
    forbid. What the robot is to be told comes out of `orders`.

    A pause that this bridge ordered, and a fault of the robot, need an explicit `resume`. A pause
    by somebody else ends where it was begun: this bridge neither resumes it nor, once it is over,
    asks for another word.

    Args:
        link_timeout: silence of the safety monitor after which nothing moves [s].
        state_timeout: silence of the robot after which it is not connected [s].
        supervised: whether the robot tells its operating state.
        pauses: whether a stop by the monitor pauses the robot, besides the hold.
        enable: whether to enable a disabled robot, once.
        home: whether to home an enabled robot that is not, once.

    Attributes:
        fault: why the robot did not do as it was told, found by the bridge; empty: it did.
    """

    def __init__(
        self,
        link_timeout: float,
        state_timeout: float,
        *,
        supervised: bool = False,
        pauses: bool = True,
        enable: bool = False,
        home: bool = False,
    ) -> None:
        self.link_timeout, self.state_timeout = link_timeout, state_timeout
        self.supervised, self.pauses = supervised, pauses
        self.fault = ""
        self._wishes = {"enable": enable, "home": home}
        self._robot: OperatingState | None = None
        self._robot_since = 0.0
        self._robot_at: float | None = None
        self._invalid = ""
        self._monitor_at: float | None = None
        self._stopped = False
        self._resume_needed = ""
        self._own_pause = self._pause_due = False
        self._orders: list[str] = []

    # ---- events

    def measured(self, now: float, invalid: str = "") -> None:
        """Takes that the robot sent a measurement, and why it cannot be used, if so."""
        self._robot_at, self._invalid = now, invalid

    def operating(self, told: OperatingState, now: float) -> None:
        """Takes the robot's operating state."""
        before, self._robot = self._robot, told
        if before is None or before[:2] != told[:2]:
            stood, self._robot_since = now - self._robot_since, now
            if before is not None and before.state == PAUSED != told.state:
                self._own_pause = False
            if before is not None and before.state == FAULT != told.state and stood >= SETTLED:
                self._resume_needed = "the robot was in FAULT"

    def monitor(self, now: float) -> None:
        """Takes a word of the safety monitor, whatever it says."""
        self._monitor_at = now

    def stop(self) -> None:
        """Takes that the safety monitor has stopped the robot."""
        began, self._stopped = not self._stopped, True
        robot = self._robot
        if not (began and self.pauses and self.supervised):
            return
        if robot is None:
            self._pause_due = True
            return
        resuming = self._own_pause and not self._resume_needed
        if robot.state == ENABLED or (robot.state == PAUSED and resuming):
            self._pause()

    def release(self) -> None:
        """Takes that the safety monitor that stopped the robot lets it move."""
        self._stopped = self._pause_due = False

    def resume(self) -> tuple[bool, str]:
        """Takes an explicit word that the robot may move again.

        Returns:
            Whether it was taken, and one line that says what was done or why not.
        """
        if self._stopped:
            return False, "not resumed: the safety monitor has stopped the robot, reset it first"
        if self.fault:
            return False, f"not resumed: {self.fault}"
        if self.supervised:
            robot = self._robot
            if robot is None:
                return False, "not resumed: no operating_state yet"
            if robot.state == PAUSED and not self._own_pause:
                return False, "not resumed: somebody else paused the robot, and is to resume it"
            if robot.state not in (ENABLED, PAUSED):
                return False, f"not resumed: expected the robot ENABLED, it is {robot.state}"
            if self._own_pause:
                # One that is still ENABLED may not have read the pause yet: it is told both.
                self._own_pause = robot.state == PAUSED
                self._resume_needed = ""
                self._orders.append("resume")
                return True, "resume was sent to the robot"
        needed, self._resume_needed = self._resume_needed, ""
        return True, "the robot may move again" if needed else "there was nothing to resume"

    def orders(self, now: float) -> tuple[str, ...]:
        """Takes out what the robot is to be told now (CRTK `state_command`), each once."""
        robot = self._robot
        settled = robot is not None and now - self._robot_since >= SETTLED
        if self._pause_due and settled:
            # It was stopped before it had told its state.
            self._pause_due = False
            if robot.state == ENABLED:
                self._pause()
        allowed = self._monitor_at is not None and not self._stopped and not self._resume_needed
        if settled and allowed:
            if robot.state == DISABLED and self._wishes["enable"]:
                self._wishes["enable"] = False
                self._orders.append("enable")
            elif robot.state == ENABLED and not robot.is_homed and self._wishes["home"]:
                self._wishes["home"] = False
                self._orders.append("home")
        taken, self._orders = tuple(self._orders), []
        return taken

    def _pause(self) -> None:
        self._own_pause = True
        self._resume_needed = "the robot was paused by a stop"
        self._orders.append("pause")

    # ---- what is so

    def against(self, now: float, moving: bool) -> Standing:
        """What speaks against motion first; READY and no reason where nothing does."""
        found = self._against(now)
        if not found.reason and not moving and self._robot is not None and self._robot.is_busy:
            # In motion it may be busy with what this bridge tells it.
            return Standing(BridgeState.HOLDING, "the robot is busy with a motion of somebody else")
        return found

    def standing(self, motion: ServoState, now: float, hold: str = "", also: str = "") -> Standing:
        """The state, of which one is true at any time, and its reason.

        Args:
            motion: what the servo does.
            now: time [s].
            hold: why the servo holds, where it does.
            also: why else the robot must not be moved; empty: nothing.
        """
        against = self.against(now, motion is ServoState.MOVING)
        if against.reason:
            return against
        if also:
            return Standing(BridgeState.HOLDING, also)
        if motion is ServoState.MOVING:
            return Standing(BridgeState.MOVING)
        if motion is ServoState.HOLDING:
            return Standing(BridgeState.HOLDING, hold or "held")
        if motion is ServoState.UNCONNECTED:
            return Standing(BridgeState.UNCONNECTED, "no valid measured position")
        return Standing(BridgeState.READY)

    def _against(self, now: float) -> Standing:
        robot = self._robot
        if robot is not None and robot.state == FAULT:
            return Standing(BridgeState.FAULT, "the robot reports FAULT")
        if self.fault:
            return Standing(BridgeState.FAULT, self.fault)
        if self.supervised and robot is None:
            return Standing(BridgeState.UNCONNECTED, "no operating_state of the robot yet")
        if self._robot_at is None:
            return Standing(BridgeState.UNCONNECTED, "no measured position yet")
        if now - self._robot_at > self.state_timeout:
            silent = f"no measured position for {self.state_timeout:g} s"
            return Standing(BridgeState.UNCONNECTED, silent)
        if robot is not None and robot.state not in (ENABLED, PAUSED):
            told = "DISABLED" if robot.state == DISABLED else repr(robot.state)
            return Standing(
                BridgeState.DISABLED, f"expected the robot ENABLED and homed, it is {told}"
            )
        if robot is not None and not robot.is_homed:
            return Standing(
                BridgeState.UNHOMED, f"expected the robot homed, it is {robot.state}, not homed"
            )
        if self._invalid:
            return Standing(BridgeState.UNCONNECTED, self._invalid)
        if why := self._forbidden():
            return Standing(BridgeState.HOLDING, why)
        return self._unheard(now)

    def _forbidden(self) -> str:
        """What people or the monitor have against motion."""
        paused = self._robot is not None and self._robot.state == PAUSED
        if self._stopped:
            return "the safety monitor has stopped the robot"
        if paused and not self._own_pause:
            return "somebody else paused the robot"
        if self._resume_needed:
            return f"{self._resume_needed}: call resume"
        return "the robot is PAUSED, resume was sent" if paused else ""

    def _unheard(self, now: float) -> Standing:
        if self._monitor_at is None:
            return Standing(BridgeState.HOLDING, "no word of the safety monitor yet")
        if now - self._monitor_at > self.link_timeout:
            silent = f"no word of the safety monitor for {self.link_timeout:g} s"
            return Standing(BridgeState.HOLDING, silent, gently=True)
        return Standing(BridgeState.READY)
