"""Node: gathers the episodes of a running graph and improves its agent with them."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from safe_skills.data.background import Worker
from safe_skills.data.checkpoint import load_checkpoint
from safe_skills.data.episodes import Episode, EpisodeError, EpisodeStore
from safe_skills.data.files import write_json
from safe_skills.msg import EpisodeStatus, PlanStatus
from safe_skills.nodes import qos
from safe_skills.nodes.arm import ARM_PARAMETERS, arm_of, task_position
from safe_skills.nodes.base import SkillNode, main_for
from safe_skills.nodes.camera_encoder import CAMERA_PARAMETERS
from safe_skills.nodes.conversions import nanoseconds, rgb_from_image
from safe_skills.nodes.diagnostics import ERROR, OK, Status
from safe_skills.nodes.frames import task_area
from safe_skills.nodes.gathering import EpisodeAssembler, Step
from safe_skills.nodes.learning_curve import LearningCurve, figures
from safe_skills.nodes.model import MODEL_PARAMETERS
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.reloader import Reloader
from safe_skills.nodes.roll_call import SOURCES, names_in, sources_of
from safe_skills.nodes.updaters import updater_of


class Trainer(SkillNode):
    """Improves an agent while it acts (LS3 Algorithm 1, its online phase).

    Subscribes `camera/image_raw`, `outcome/image_raw`, `ARM/servo_cp`, `ARM/measured_cp`,
    `plan_status`, `episode_start` and `episode`. Each finished episode is a file at once, written
    beside its name and renamed. After every K of them a process of its own makes an update; where
    the new agent is accepted, the nodes that use it are told to load it, and take it up when the
    next episode begins.
    """

    NAME = "trainer"
    PARAMETERS = {
        **MODEL_PARAMETERS,
        **ARM_PARAMETERS,
        "crop": CAMERA_PARAMETERS["crop"],
        "out": Param(
            "outputs/online",
            "Folder for episodes, checkpoints and figures; one that exists is gone on with.",
        ),
        "data": Param(
            "",
            "Folder of the offline episodes; empty: the folder data beside the checkpoint, if any.",
        ),
        "episodes_per_update": Param(5, "Episodes between two updates, K.", low=1, high=1000),
        "tolerance": Param(
            0.1,
            "How much worse than the agent in use a new one may be on held-out episodes.",
            low=0.0,
            high=100.0,
        ),
        "niceness": Param(10, "Niceness of the updates' process.", low=0, high=19),
        "seed": Param(0, "Seed of the updates.", low=0, high=2**31 - 1),
        "users": Param(
            "safety_monitor,cem_planner,camera_encoder",
            "Nodes, separated by commas, that are told to load a new checkpoint.",
        ),
        "resume": Param(
            "",
            "Service of who runs the episodes, called when no update is due; empty: none.",
        ),
        "sources": SOURCES,
    }

    def configure(self) -> None:
        """Take up what is in the folder, start the updates' process and open the topics."""
        self._out = Path(self.param("out")).expanduser().resolve()
        self._updater = updater_of(self, self._out)
        self._claim_folder()
        self._store = EpisodeStore(self._out / "episodes")
        self._curve = LearningCurve(self._out)
        for episode in self._store:
            self._curve.add_episode(episode)
        self._arm = arm_of(self)
        self._position: np.ndarray | None = None
        self._assembler = EpisodeAssembler(self._updater.action_dim)
        self._ready = self._updating = self._ended_one = False
        self._updates = 0
        self._trouble = ""
        self._reloader = Reloader(self, names_in(self.param("users")), str(self._updater.newest()))
        resume = self.param("resume")
        self._resume = self.create_client(Trigger, resume) if resume else None
        self._worker: Worker | None = self._updater.start_worker(self._store.folder)
        self.get_logger().info(self._updater.describe())
        self._open_topics()
        self.diagnostics.add("training", self._report_training)

    def deactivate(self) -> None:
        """Draw the curve as far as it has come."""
        self._curve.draw()

    def cleanup(self) -> None:
        """End the updates' process; its state is on disk."""
        self._reloader.close()
        if self._resume is not None:
            self.destroy_client(self._resume)
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _open_topics(self) -> None:
        arm = self.param("arm")
        self.subscribe(Image, "camera/image_raw", self._note_image, qos.LATENT_WINDOW)
        self.subscribe(Image, "outcome/image_raw", self._note_outcome, qos.LOG)
        self.subscribe(PoseStamped, f"{arm}/servo_cp", self._note_set_point, qos.LOG)
        measured = f"{arm}/measured_cp"
        self.subscribe(PoseStamped, measured, self._note_position, qos.CRTK_STATE_LATEST)
        self.subscribe(PlanStatus, "plan_status", self._note_plan, qos.LOG)
        self.subscribe(Header, "episode_start", self._note_start, qos.EVENT)
        self._sources = sources_of(self, self.param("sources"))
        self._listening = False
        self.every(0.05, self._look)

    def _claim_folder(self) -> None:
        """Refuse a folder in which another agent was trained."""
        path = self._out / "start.json"
        start = {"model": self._updater.start_id, "episodes_per_update": self._size}
        if not path.is_file():
            write_json(path, start)
            return
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != start:
            raise ValueError(
                f"out: expected a new folder, or a training of {_words(start)}; "
                f"{self._out} has one of {_words(found)}"
            )

    # ---- episodes

    def _note_start(self, message: Header) -> None:
        self._assembler.start(nanoseconds(message.stamp))
        self._reloader.episode_began()

    def _area(self, message: Image) -> np.ndarray | None:
        try:
            return task_area(rgb_from_image(message), self.param("crop"), self._updater.size)
        except ValueError as error:
            self.refuse("image refused", f"image refused: {error}")
            return None

    def _note_image(self, message: Image) -> None:
        if (area := self._area(message)) is not None:
            self._assembler.image(nanoseconds(message.header.stamp), area, self._position)

    def _note_outcome(self, message: Image) -> None:
        if (area := self._area(message)) is not None:
            self._assembler.outcome(nanoseconds(message.header.stamp), area)

    def _note_position(self, message: PoseStamped) -> None:
        try:
            self._position = task_position(self._arm, message)
        except ValueError:
            # The bridge says what is wrong with it.
            self._position = None

    def _note_set_point(self, message: PoseStamped) -> None:
        try:
            position = task_position(self._arm, message)
        except ValueError as error:
            self.refuse("servo_cp refused", f"servo_cp refused: {error}")
            return
        self._assembler.set_point(nanoseconds(message.header.stamp), position)

    def _note_plan(self, message: PlanStatus) -> None:
        stamp = nanoseconds(message.header.stamp)
        self._assembler.acted(stamp, f"ls3 {message.model_id}")

    def _note_step(self, message: EpisodeStatus) -> None:
        step = Step(
            stamp=nanoseconds(message.header.stamp),
            episode=message.episode,
            seed=message.seed,
            reward=message.reward,
            cost=message.cost,
            success=message.success,
            violation=message.violation_kind or ("unknown" if message.violation else ""),
            done=message.done,
            episode_cost=message.episode_cost,
        )
        self._assembler.step(step, time.monotonic())
        self._ended_one = self._ended_one or step.done

    def _keep(self, episode: Episode) -> None:
        try:
            self._store.append([episode])
        except EpisodeError as error:
            self._fail(f"an episode is lost: {error}")
            return
        line = self._curve.add_episode(episode)
        outcome = "success" if line.success else line.violation or "no success"
        self.get_logger().info(
            f"episode {line.episode}: {outcome} in {line.steps} steps, "
            f"{line.policy.split()[-1]} after {line.update} updates"
        )

    # ---- updates

    @property
    def _size(self) -> int:
        return self.param("episodes_per_update")

    @property
    def _due(self) -> bool:
        return len(self._curve.episodes) >= self._size * (self._updates + 1)

    def _look(self) -> None:
        if not self._listening and self._sources.complete():
            # A simulator that waits for this node shows its first image when `episode` is heard.
            self._listening = True
            self.subscribe(EpisodeStatus, "episode", self._note_step, qos.LOG)
        for episode in self._assembler.take(time.monotonic()):
            self._keep(episode)
        self._reloader.poll()
        if self._worker is not None and (answer := self._worker.answer()) is not None:
            self._take_answer(answer)
        learns = self._worker is not None
        if learns and self._ready and not self._updating and self._due:
            self._updating = True
            self._worker.ask({"update": self._updates + 1})
        elif not self._reloader.busy and not self._updating and not (learns and self._due):
            self._let_go_on()

    def _take_answer(self, answer: dict[str, Any]) -> None:
        if "error" in answer:
            self._fail(f"no update: {answer['error']}")
            # What could not be learned from now will not be the next time either.
            self._worker.close()
            self._worker, self._updating = None, False
            return
        self._updates = answer["updates"]
        if "update" in answer:
            self._conclude_update(answer)
        self._ready, self._updating = True, False

    def _conclude_update(self, answer: dict[str, Any]) -> None:
        update = answer["update"]
        lines = self._curve.episodes[self._size * (update - 1) : self._size * update]
        row = {
            "update": update,
            "model": load_checkpoint(answer["checkpoint"]).model_id,
            "episodes": self._size * update,
            **figures(lines),
            "accepted": answer["accepted"],
            "reason": answer["reason"],
        }
        for kind in ("losses", "held_out_before", "held_out_after"):
            row |= {f"{kind}_{name}": value for name, value in answer.get(kind, {}).items()}
        self._curve.add_update(row)
        self._curve.draw()
        said = (
            f"update {update} after {row['episodes']} episodes, the last {self._size}: "
            f"{100 * row['success_rate']:.0f} % success, "
            f"{100 * row['violation_rate']:.0f} % violations"
        )
        if answer["accepted"]:
            self.get_logger().info(f"{said}; next: {row['model']}")
            self._reloader.use(answer["checkpoint"])
        else:
            self.get_logger().warning(f"{said}; not used: {answer['reason']}")

    def _let_go_on(self) -> None:
        if self._ended_one and not self._assembler.waiting:
            self._ended_one = False
            if self._resume is not None and self._resume.service_is_ready():
                self._resume.call_async(Trigger.Request())

    def _fail(self, line: str) -> None:
        self._trouble = line
        self.get_logger().error(line)

    def _report_training(self, status: Status) -> None:
        status.summary(OK, f"{len(self._curve.episodes)} episodes, {self._updates} updates")
        if self._trouble:
            status.merge(ERROR, self._trouble)
        self.refusals(status)
        status.add("episodes", len(self._curve.episodes))
        status.add("incomplete_episodes", self._assembler.incomplete)
        status.add("updates", self._updates)
        status.add("updating", self._updating)
        status.add("checkpoint", self._reloader.wanted)


def _words(start: dict[str, Any]) -> str:
    return f"{start.get('model')} with {start.get('episodes_per_update')} episodes an update"


def main() -> int:
    """Run the node."""
    return main_for(Trainer)


if __name__ == "__main__":
    sys.exit(main())
