"""Node: camera frames to latent states."""

import sys
import time
from typing import Any

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from safe_skills.msg import LatentState, Surprise
from safe_skills.nodes import qos
from safe_skills.nodes.base import SkillNode, main_for
from safe_skills.nodes.conversions import latent_message, nanoseconds, rgb_from_image
from safe_skills.nodes.diagnostics import WARN, FrequencyStatus, Status
from safe_skills.nodes.encoders import Encoder, load_encoder
from safe_skills.nodes.frames import task_area
from safe_skills.nodes.model import OPENCV_PARAMETERS, checkpoint_folder, share_cores
from safe_skills.nodes.parameters import Param
from safe_skills.nodes.reload import RELOADED_MODEL_PARAMETERS, Successor
from safe_skills.nodes.watch import DropCounter, Silence

CAMERA_PARAMETERS = {
    "crop": Param(
        [0.0, 0.0, 1.0, 1.0],
        "Task area in the camera frame: top, left, height, width as shares of the frame.",
        low=0.0,
        high=1.0,
    ),
    "camera_timeout": Param(
        2.0, "Silence of the camera after which it is reported [s].", low=0.1, high=60.0
    ),
}


class CameraEncoder(SkillNode):
    """Encodes the newest camera frame and publishes the belief with its stamp.

    The checkpoint's method decides how: LS3's encoder (sec. 4.1), or psi(s) of a skill prior
    (SAFER sec. 4.2). Subscribes `camera/image_raw` and `episode_start`; publishes `latent`, and
    after it, where the checkpoint has been calibrated for that, `surprise`. A frame that is refused
    makes no latent. A checkpoint set while the node runs is used from the next `episode_start` on.
    """

    NAME = "camera_encoder"
    PARAMETERS = {
        **RELOADED_MODEL_PARAMETERS,
        **OPENCV_PARAMETERS,
        **CAMERA_PARAMETERS,
        "min_rate": Param(
            1.0, "Rate of frames below which diagnostics warn [Hz].", low=0.0, high=1000.0
        ),
        "surprise_every": Param(
            1, "Of so many frames one is measured for surprise; 0: none.", low=0, high=1000
        ),
    }

    def configure(self) -> None:
        """Load the model and open the topics."""
        share_cores(self)
        self._successor = Successor(self, self._load, _form, self._use)
        self._encoder = self._successor.model
        self._start = 0
        self._crop = self.param("crop")
        self._drops = DropCounter()
        self._silence = Silence(self.param("camera_timeout"))
        self._rate = FrequencyStatus(low=self.param("min_rate"))
        self._encoded = 0
        self._surprise_every = self.param("surprise_every")
        self._latents = self.advertise(LatentState, "latent", qos.IMAGE)
        self._surprises = self.advertise(Surprise, "surprise", qos.IMAGE)
        self._camera = self.subscribe(Image, "camera/image_raw", self._encode, qos.IMAGE)
        self._renewals = 1
        self.subscribe(Header, "episode_start", self._new_episode, qos.EVENT)
        self.serve(Trigger, "~/reload", self._successor.reload)
        self.every(0.1, self._watch)
        self.diagnostics.add("camera", self._rate)
        self.diagnostics.add("frames", self._report_frames)

    def activate(self) -> None:
        """Count rate and silence from here."""
        self._rate.reset()
        self._silence.feed()

    def judge_parameters(self, values: dict[str, Any]) -> None:
        """Load a new checkpoint, or refuse it."""
        self._successor.judge(values)

    def parameters_changed(self, names: set[str]) -> None:
        """Encode with the new checkpoint from the next episode on."""
        self._successor.intend(names)

    def _load(self, checkpoint: str) -> Encoder:
        encoder = load_encoder(self, checkpoint_folder(checkpoint))
        # The first frame that a process encodes and decodes takes much longer.
        black = np.zeros((encoder.size, encoder.size, 3), np.uint8)
        encoder.reconstruction_error(black, encoder.encode(black)[0])
        if encoder.surprise is None:
            self.get_logger().info(
                f"model {encoder.model_id} was not calibrated for surprise: nothing is said of "
                f"frames unlike its training; safe-skills calibrate surprise mends that"
            )
        return encoder

    def _use(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def _new_episode(self, start: Header) -> None:
        if nanoseconds(start.stamp) > self._start:
            self._start = nanoseconds(start.stamp)
            self._successor.take_up()

    def _encode(self, message: Image, info: dict) -> None:
        self._rate.tick()
        self._drops.count(info["publisher_gid"]["data"], info["publication_sequence_number"])
        if self._silence.feed():
            self.get_logger().info("images are coming again")
        try:
            area = task_area(rgb_from_image(message), self._crop, self._encoder.size)
            began = time.perf_counter()
            mean, stddev = self._encoder.encode(area)
            spent = time.perf_counter() - began
            latent = latent_message(mean, stddev, self._encoder.model_id, message.header, spent)
        except ValueError as error:
            self.refuse("image refused", f"image refused: {error}")
            return
        self._latents.publish(latent)
        if self._surprise_every and self._encoded % self._surprise_every == 0:
            self._measure_surprise(area, mean, latent)
        self._encoded += 1

    def _measure_surprise(self, area: np.ndarray, mean: np.ndarray, latent: LatentState) -> None:
        encoder = self._encoder
        if encoder.surprise is None:
            return
        began = time.perf_counter()
        error = encoder.reconstruction_error(area, mean)
        distance = encoder.surprise.latent_distance_of(mean)
        self._surprises.publish(
            Surprise(
                header=latent.header,
                model_id=latent.model_id,
                reconstruction_error=error,
                latent_distance=distance,
                compute_time=time.perf_counter() - began,
            )
        )

    def _watch(self) -> None:
        if self._silence.begins():
            topic = self.resolve_topic_name("camera/image_raw")
            self.get_logger().error(f"no image on {topic} for {self._silence.age:.1f} s")
            self._renewals = 1
        if self._silence.silent and self._silence.age > self._silence.timeout * self._renewals:
            # A publisher that missed this node's restart hears of it now; each try waits longer.
            self._camera = self.renew(self._camera)
            self._renewals = 2 * self._renewals + 1

    def _report_frames(self, status: Status) -> None:
        self.refusals(status)
        if self._silence.silent:
            status.merge(WARN, f"no image for {self._silence.age:.1f} s")
        status.add("encoded", self._encoded)
        status.add("dropped", self._drops.dropped)


def _form(encoder: Encoder) -> dict[str, Any]:
    return {"frames of at least": encoder.size, "latents of": encoder.dim}


def main() -> int:
    """Run the node."""
    return main_for(CameraEncoder)


if __name__ == "__main__":
    sys.exit(main())
