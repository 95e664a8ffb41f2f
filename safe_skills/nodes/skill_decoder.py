"""Node: abstract actions to commands, through the flow of the skill prior."""

import sys
import time
from typing import Any

import numpy as np
from rclpy.time import Time
from std_msgs.msg import Header

from safe_skills.msg import AbstractAction, Command, LatentState, SafetyContext, SkillStatus
from safe_skills.nodes import qos
from safe_skills.nodes.answers import GATE_FIRST, LastCommand
from safe_skills.nodes.base import SkillNode, main_for
from safe_skills.nodes.conversions import (
    TASK_FRAME,
    belief_from_latent,
    command_message,
    nanoseconds,
)
from safe_skills.nodes.decoding import (
    ABSTRACT_ACTION,
    CONTEXT,
    LATENT,
    REASONS,
    Answer,
    ContextPart,
    SkillDecoding,
)
from safe_skills.nodes.diagnostics import OK, WARN, Status
from safe_skills.nodes.model import MODEL_PARAMETERS
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.skill_conversions import (
    abstract_action_from_message,
    context_from_message,
    skill_status_message,
)
from safe_skills.nodes.skill_model import BOUND_PARAMETERS, bound_of, load_prior
from safe_skills.robots.arm5 import STEP_LIMIT
from safe_skills.safer.prior import SkillPrior

LOOK = 0.01
"""Period of looking for frames that have waited too long [s]."""

WARM_UP = 5
"""Actions decoded before the first frame: the first of a process take much longer."""


class SkillDecoder(SkillNode):
    """Decodes each frame's abstract action to a command, a = f(z; s, E[c]) (SAFER Alg. 1, line 5).

    Subscribes `latent`, `safety_context` (where the prior has a c), `abstract_action` and
    `episode_start`; publishes `command` and `skill_status`. What belongs together is found by
    stamp. A frame that lacks a part after `patience`, or whose abstract action leaves the bound, is
    answered by no motion. A frame that is shown again gets the same answer again.
    """

    NAME = "skill_decoder"
    PARAMETERS = {
        **MODEL_PARAMETERS,
        **BOUND_PARAMETERS,
        "patience": Param(
            0.1,
            "Time from the first part of a frame that arrives to the hold, where one is missing "
            "[s].",
            low=0.01,
            high=3600.0,
            runtime=True,
        ),
        "min_fill": Param(
            0.0,
            "Least share of the posterior's window that must have been seen for a motion.",
            low=0.0,
            high=1.0,
            runtime=True,
        ),
        "full_step": Param(
            STEP_LIMIT.tolist(),
            "Displacement of a full action in the prior's data: x, y, z [m], yaw [rad].",
            low=0.0,
            high=1.0,
        ),
    }

    def configure(self) -> None:
        """Load the prior and open the topics."""
        self._prior = load_prior(self)
        self._full_step = np.array(self.param("full_step"))
        if len(self._full_step) != self._prior.action_dim - 1:
            raise ValueError(
                f"full_step: expected {self._prior.action_dim - 1} numbers for a prior of "
                f"{self._prior.action_dim} with the gripper's, got {len(self._full_step)}"
            )
        self._eta = bound_of(self, self._prior)
        _warm_up(self._prior)
        self._start = 0
        self._decoding = self._new_decoding()
        self._last = LastCommand()
        self._outcomes = dict.fromkeys(("", *REASONS), 0)
        self._slowest = 0.0
        self._latest: Answer | None = None
        self._commands = self.advertise(Command, "command", qos.COMMAND)
        self._status = self.advertise(SkillStatus, "skill_status", qos.COMMAND)
        self.subscribe(LatentState, "latent", self._take_latent, qos.IMAGE)
        if self._prior.context_size:
            self.subscribe(SafetyContext, "safety_context", self._take_context, qos.COMMAND)
        self.subscribe(AbstractAction, "abstract_action", self._take_abstract_action, qos.COMMAND)
        self.subscribe(Header, "episode_start", self._new_episode, qos.EVENT)
        # Most frames are whole within milliseconds; the timer runs only while one is not.
        self._looking = self.every(LOOK, self._look)
        self._looking.cancel()
        self.diagnostics.add("skills", self._report_skills)

    def activate(self) -> None:
        """Wait for whole frames from here."""
        self._decoding = self._new_decoding()
        self._last.forget()

    def parameters_changed(self, names: set[str]) -> None:
        """Take up the new limits with the next frame."""
        self._decoding.patience = self.param("patience")
        self._decoding.min_fill = self.param("min_fill")

    def _new_decoding(self) -> SkillDecoding:
        decoding = SkillDecoding(
            self._prior,
            self._eta,
            patience=self.param("patience"),
            min_fill=self.param("min_fill"),
        )
        decoding.start_episode(self._start)
        return decoding

    # ---- what arrives

    def _new_episode(self, start: Header) -> None:
        if nanoseconds(start.stamp) > self._start:
            self._start = nanoseconds(start.stamp)
            self._decoding.start_episode(self._start)
            self._last.forget()

    def _take_latent(self, message: LatentState) -> None:
        size = self._prior.config.encoder.features
        try:
            features, _ = belief_from_latent(message, self._prior.model_id, size)
        except ValueError as error:
            self.refuse("latent refused", f"latent state refused: {error}")
            return
        self._put(LATENT, message.header, features)

    def _take_context(self, message: SafetyContext) -> None:
        size = self._prior.context_size
        try:
            mean, _, fill = context_from_message(message, self._prior.model_id, size)
        except ValueError as error:
            self.refuse("context refused", f"context refused: {error}")
            return
        self._put(CONTEXT, message.header, ContextPart(mean, fill))

    def _take_abstract_action(self, message: AbstractAction) -> None:
        size = self._prior.action_dim
        try:
            z = abstract_action_from_message(message, self._prior.model_id, size)
        except ValueError as error:
            self.refuse("abstract action refused", f"abstract action refused: {error}")
            return
        self._put(ABSTRACT_ACTION, message.header, z)

    # ---- answers

    def _put(self, part: str, header: Header, value: Any) -> None:
        stamp = nanoseconds(header.stamp)
        if self._last.answers(stamp):
            if (command := self._last.again()) is not None:
                self._commands.publish(command)
            return
        answer = self._decoding.put(part, stamp, value)
        if answer is not None:
            self._publish(answer)
        self._look_while_frames_wait()

    def _look(self) -> None:
        for answer in self._decoding.overdue():
            self._publish(answer)
        self._look_while_frames_wait()

    def _look_while_frames_wait(self) -> None:
        if not self._decoding.matcher.waiting:
            self._looking.cancel()
        elif self._looking.is_canceled():
            self._looking.reset()

    def _publish(self, answer: Answer) -> None:
        held = answer.action is None
        stamp = Time(nanoseconds=answer.stamp).to_msg()
        source = f"{self.NAME}: hold" if held else self.NAME
        action = np.zeros(self._prior.action_dim) if held else self._in_si(answer.action)
        command = command_message(action, source, stamp, TASK_FRAME)
        self._commands.publish(command)
        self._last.note(command)
        time.sleep(GATE_FIRST)
        header = Header(stamp=stamp, frame_id=TASK_FRAME)
        self._status.publish(skill_status_message(answer, self._eta, self._prior.model_id, header))
        if held:
            self.get_logger().warning(f"hold: {answer.reason}", throttle_duration_sec=2.0)
        self._outcomes[answer.reason] += 1
        self._slowest = max(self._slowest, answer.decode_time)
        self._latest = answer

    def _in_si(self, action: np.ndarray) -> np.ndarray:
        action = np.array(action, np.float64)
        action[:-1] *= self._full_step
        return action

    def _report_skills(self, status: Status) -> None:
        decoded = self._outcomes[""]
        self.refusals(status)
        status.merge(OK, f"{decoded} decoded")
        if self._latest is not None and self._latest.reason:
            status.merge(WARN, f"hold: {self._latest.reason}")
        status.add("decoded", decoded)
        for reason in REASONS:
            status.add(reason, self._outcomes[reason])
        status.add("late", self._decoding.matcher.late)
        status.add("unmatched", self._decoding.matcher.unmatched)
        status.add("slowest_decode_ms", 1e3 * self._slowest)
        self._slowest = 0.0


def _warm_up(prior: SkillPrior) -> None:
    for _ in range(WARM_UP):
        prior.decode(
            np.zeros(prior.action_dim),
            np.zeros(prior.config.encoder.features),
            np.zeros(prior.context_size),
        )


def main() -> int:
    """Run the node."""
    return main_for(SkillDecoder)


if __name__ == "__main__":
    sys.exit(main())
