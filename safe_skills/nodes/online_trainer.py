"""What trainers share: a running graph's episodes on disk, updates beside them, models in use."""

import json
import time
from pathlib import Path
from typing import Any, ClassVar

from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from safe_skills.data.background import Worker
from safe_skills.data.checkpoint import load_checkpoint
from safe_skills.data.episodes import Episode, EpisodeError, EpisodeStore
from safe_skills.data.files import write_json
from safe_skills.msg import EpisodeStatus
from safe_skills.nodes import qos
from safe_skills.nodes.base import SkillNode
from safe_skills.nodes.camera_encoder import CAMERA_PARAMETERS
from safe_skills.nodes.diagnostics import ERROR, OK, Status
from safe_skills.nodes.episode_topics import EpisodeTopics
from safe_skills.nodes.learning_curve import LearningCurve, figures
from safe_skills.nodes.model import MODEL_PARAMETERS
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.reloader import Reloader
from safe_skills.nodes.roll_call import SOURCES, names_in, sources_of
from safe_skills.nodes.updaters import Updater

TRAINER_PARAMETERS = {
    **MODEL_PARAMETERS,
    "crop": CAMERA_PARAMETERS["crop"],
    "out": Param(
        "outputs/online",
        "Folder for episodes, checkpoints and figures; one that exists is gone on with.",
    ),
    "episodes_per_update": Param(5, "Episodes between two updates, K.", low=1, high=1000),
    "niceness": Param(10, "Niceness of the updates' process.", low=0, high=19),
    "seed": Param(0, "Seed of the updates.", low=0, high=2**31 - 1),
    "resume": Param(
        "",
        "Service of who runs the episodes, called when no update is due; empty: none.",
    ),
    "sources": SOURCES,
}

SILENCE = 5.0
"""Seconds without an image after which the robot may be waiting, for all that is known."""


class OnlineTrainer(SkillNode):
    """Improves an agent with the episodes of the running graph that it acts in.

    A subclass says how its method is updated, and takes what was done in each step from the topics
    of its robot. Each finished episode is a file at once, written beside its name and renamed.
    After every K of them a process of its own makes an update; where the new agent is accepted, the
    nodes that use it are told to load it, and take it up when the next episode begins.
    """

    USED: ClassVar[str] = "checkpoint"
    """Parameter of the users that names the model that acts."""

    FREEZES: ClassVar[bool] = True
    """Whether a violation freezes the state of an episode."""

    def new_updater(self, out: Path) -> Updater:
        """Return how the agent is updated; `ValueError` where it cannot be."""
        raise NotImplementedError

    def new_topics(self) -> EpisodeTopics:
        """Return what puts the episodes together from the topics."""
        raise NotImplementedError

    def open_robot(self) -> None:
        """Subscribe to what says what was done, and by whom."""
        raise NotImplementedError

    def configure(self) -> None:
        """Take up what is in the folder, start the updates' process and open the topics."""
        self._out = Path(self.param("out")).expanduser().resolve()
        self._updater = self.new_updater(self._out)
        self._claim_folder()
        self._store = EpisodeStore(self._out / "episodes")
        self._curve = LearningCurve(self._out, freezes=self.FREEZES)
        for episode in self._store:
            self._curve.add_episode(episode)
        self._topics = self.new_topics()
        self._assembler = self._topics.assembler
        self._ready = self._updating = False
        # Who runs the episodes may be waiting for a trainer that died: it is told to go on, too.
        self._ended_one = True
        self._updates = 0
        self._last_image = time.monotonic()
        self._trouble = ""
        self._open_topics()
        users = names_in(self.param("users"))
        self._reloader = Reloader(self, users, self._updater.newest(), self.USED)
        resume = self.param("resume")
        self._resume = self.create_client(Trigger, resume) if resume else None
        self._worker: Worker | None = self._updater.start_worker(self._store.folder)
        self.get_logger().info(self._updater.describe())
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
        self.subscribe(Image, "camera/image_raw", self._note_image, qos.LATENT_WINDOW)
        self.subscribe(Image, "outcome/image_raw", self._topics.outcome, qos.LOG)
        self.subscribe(Header, "episode_start", self._note_start, qos.EVENT)
        self.open_robot()
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
        self._topics.start(message)
        self._reloader.episode_began()

    def _note_image(self, message: Image) -> None:
        self._last_image = time.monotonic()
        self._topics.image(message)

    def _note_step(self, message: EpisodeStatus) -> None:
        step = self._topics.step(message, time.monotonic())
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
        if self._resume is None or self._assembler.waiting:
            return
        now = time.monotonic()
        # How an episode ended while this node was started again was not heard.
        waits = self._ended_one or now - self._last_image > SILENCE
        if waits and self._resume.service_is_ready():
            self._ended_one, self._last_image = False, now
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
