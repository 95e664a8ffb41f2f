"""Encoder, posterior, policy and decoder together: what the library does, and what faults do."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from safe_skills.envs.operation import STEP_LIMIT, OperationEnv
from safe_skills.msg import AbstractAction, Command, SkillStatus
from safe_skills.nodes import answers, qos
from safe_skills.nodes.camera_encoder import CameraEncoder
from safe_skills.nodes.conversions import image_from_rgb
from safe_skills.nodes.safety_posterior import SafetyPosterior
from safe_skills.nodes.skill_decoder import SkillDecoder
from safe_skills.nodes.skill_policy import SkillPolicy
from safe_skills.safer.policy import SkillPolicy as Policy
from safe_skills.safer.skill_env import SkillActions, StateFeatures

STEPS = 9  # longer than the window
FOREVER, SOON = 60.0, 0.01


class Frames(gymnasium.Wrapper):
    """Notes the frames that the task shows."""

    def reset(self, **options):
        image, info = self.env.reset(**options)
        self.frames = [image]
        return image, info

    def step(self, action):
        image, *rest = self.env.step(action)
        self.frames.append(image)
        return image, *rest


@pytest.fixture(scope="module")
def episode(prior, policy_checkpoint):
    """Frames of an episode of a held-out task, and the commands that the library gave in them."""
    policy = Policy.load(policy_checkpoint, prior_id=prior.model_id)
    recorded = Frames(OperationEnv(task=34))
    env = SkillActions(StateFeatures(recorded, prior), policy.bound)
    state, _ = env.reset(seed=1)
    commands = []
    for _ in range(STEPS):
        state, *_, info = env.step(policy.act(state))
        action = info["action"]
        commands.append([*(action[:4].astype(np.float64) * STEP_LIMIT), action[4]])
    env.close()
    return recorded.frames[:STEPS], commands


@pytest.fixture
def chain(graph, prior_checkpoint, policy_checkpoint, monkeypatch):
    """The four nodes; none answers a frame again because the machine is slow."""
    monkeypatch.setattr(answers, "REPEAT_AFTER", 60.0)
    common = {"checkpoint": str(prior_checkpoint)}
    # Stamps of the graph are whole seconds apart.
    graph.posterior = graph.start(SafetyPosterior, gap=60.0, **common)
    graph.policy = graph.start(SkillPolicy, policy=str(policy_checkpoint), **common)
    graph.decoder = graph.start(SkillDecoder, patience=FOREVER, **common)
    graph.encoder = graph.start(CameraEncoder, camera_timeout=60.0, **common)
    nodes = (graph.posterior, graph.policy, graph.decoder, graph.encoder)
    assert [node.fault for node in nodes if not node.is_active] == []
    publishers = [p for node in nodes for p in node.publishers if graph._readers(p.topic_name)]
    assert graph.until(lambda: all(graph.joined(publisher) for publisher in publishers))
    graph.commands = graph.collect(Command, "command", qos.LOG)
    graph.statuses = graph.collect(SkillStatus, "skill_status", qos.LOG)
    graph.matched(graph.decoder)
    return graph


def show(chain, frame):
    """Shows a frame; returns the one status that answers it, and the command."""
    before = len(chain.statuses)
    header = Header(stamp=chain.stamp(), frame_id="camera")
    chain.publish("camera/image_raw", image_from_rgb(frame, header), qos.IMAGE)
    assert chain.until(lambda: len(chain.statuses) > before and len(chain.commands) > before)
    assert len(chain.statuses) == len(chain.commands) == before + 1
    assert chain.statuses[-1].header.stamp == chain.commands[-1].header.stamp == header.stamp
    return chain.statuses[-1], chain.commands[-1]


def test_commands_are_exactly_those_of_the_library(chain, episode):
    frames, expected = episode
    for frame in frames:
        show(chain, frame)
    np.testing.assert_array_equal([command.action for command in chain.commands], expected)
    assert [status.fill for status in chain.statuses[:6]] == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    # The next episode begins with an empty window.
    chain.publish("episode_start", Header(stamp=chain.stamp()), qos.EVENT)
    for frame, action in zip(frames[:3], expected, strict=False):
        np.testing.assert_array_equal(show(chain, frame)[1].action, action)


def test_without_its_posterior_the_decoder_holds_and_then_goes_on(chain, episode):
    frames, expected = episode
    show(chain, frames[0])
    chain.posterior.trigger_deactivate()
    chain.decoder.set_parameters([Parameter("patience", value=SOON)])
    for frame in frames[1:3]:
        status, command = show(chain, frame)
        assert status.outcome == SkillStatus.HOLD and status.reason == "no_context"
        assert not any(command.action) and command.source == "skill_decoder: hold"
    chain.decoder.set_parameters([Parameter("patience", value=FOREVER)])
    chain.posterior.trigger_activate()
    status, command = show(chain, frames[0])
    assert status.reason == "" and status.fill == 0.2
    np.testing.assert_array_equal(command.action, expected[0])


def test_after_a_gap_the_window_is_too_short_until_it_has_filled_again(chain, episode):
    frames, _ = episode
    chain.posterior.set_parameters([Parameter("gap", value=1.5)])
    for frame in frames[:5]:
        show(chain, frame)
    chain.decoder.set_parameters([Parameter("min_fill", value=0.6)])
    chain.stamp()  # a frame is lost
    reasons = [show(chain, frame)[0].reason for frame in frames[5:9]]
    assert reasons == ["window_too_short", "window_too_short", "", ""]


def test_a_policy_that_leaves_the_bound_moves_nothing(chain, episode, prior):
    frames, _ = episode
    chain.policy.trigger_deactivate()
    before = len(chain.statuses)
    header = Header(stamp=chain.stamp(), frame_id="camera")
    z = [0.0, 5.0, 0.0, 0.0, 0.0]
    rogue = AbstractAction(header=header, model_id=prior.model_id, source="rogue", eta=5.0, z=z)
    chain.publish("abstract_action", rogue, qos.COMMAND)
    chain.publish("camera/image_raw", image_from_rgb(frames[0], header), qos.IMAGE)
    assert chain.until(lambda: len(chain.statuses) > before and len(chain.commands) > before)
    assert chain.statuses[-1].reason == "abstract_action_too_large"
    assert not any(chain.commands[-1].action)
    chain.policy.trigger_activate()
    assert show(chain, frames[1])[0].reason == ""


def test_a_larger_frame_is_cut_out_and_shrunk(graph, prior, prior_checkpoint):
    from safe_skills.data.segments import shrink
    from safe_skills.msg import LatentState

    crop = [0.0, 0.125, 1.0, 0.75]
    node = graph.start(CameraEncoder, checkpoint=str(prior_checkpoint), crop=crop)
    latents = graph.collect(LatentState, "latent", qos.IMAGE)
    graph.matched(node)
    wide = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    header = Header(stamp=graph.stamp(), frame_id="camera")
    graph.publish("camera/image_raw", image_from_rgb(wide, header), qos.IMAGE)
    assert graph.until(lambda: latents)
    (latent,) = latents
    np.testing.assert_array_equal(latent.mean, prior.features(shrink(wide[:, 16:112], 48)))
    assert latent.model_id == prior.model_id and not any(latent.stddev)


def test_an_encoder_refuses_a_checkpoint_that_encodes_nothing(graph, policy_checkpoint):
    node = graph.start(CameraEncoder, checkpoint=str(policy_checkpoint))
    assert node.fault == (
        f"checkpoint {policy_checkpoint}: expected method ls3, safer, parrot, context-parrot, "
        f"found 'sac'"
    )


def test_nodes_of_a_robot_do_without_the_learning_library():
    modules = ("camera_encoder", "safety_posterior", "skill_policy", "skill_decoder")
    code = "import sys\n" + "".join(f"import safe_skills.nodes.{name}\n" for name in modules)
    code += "print(sorted({'stable_baselines3', 'pybullet', 'gymnasium'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "[]", run.stderr
