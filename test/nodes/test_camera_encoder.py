import shutil
from dataclasses import replace

import numpy as np
import pytest
from std_msgs.msg import Header

from safe_skills.data.surprise import (
    FILE,
    EncodedFrames,
    calibrate_held_out,
    load_surprise,
    save_surprise,
)
from safe_skills.ls3.surprise import encoded_frames, reconstruction_error
from safe_skills.msg import LatentState, Surprise
from safe_skills.nodes import qos
from safe_skills.nodes.camera_encoder import CameraEncoder
from safe_skills.nodes.conversions import image_from_rgb
from safe_skills.nodes.diagnostics import OK, WARN, Status


@pytest.fixture(scope="session")
def calibrated(checkpoint, agent, tmp_path_factory):
    """The checkpoint, calibrated on frames of a bar that moves."""
    folder = tmp_path_factory.mktemp("calibrated") / "checkpoint"
    shutil.copytree(checkpoint, folder)
    episodes = [np.stack([frame(at=at + k) for at in range(0, 40, 4)]) for k in range(8)]
    save_surprise(calibrate_held_out(encoded_frames(agent, episodes), 0), folder, agent.model_id)
    return folder


@pytest.fixture
def encoder(graph, checkpoint):
    return start(graph, checkpoint, 60.0)


def start(graph, checkpoint, camera_timeout):
    node = graph.start(CameraEncoder, checkpoint=str(checkpoint), camera_timeout=camera_timeout)
    assert node.is_active, node.fault
    graph.latents = graph.collect(LatentState, "latent", qos.IMAGE)
    graph.matched(node)
    return node


def send(graph, rgb, **changes):
    header = Header(stamp=graph.stamp(), frame_id="camera")
    message = image_from_rgb(rgb, header)
    for name, value in changes.items():
        setattr(message, name, value)
    graph.publish("camera/image_raw", message, qos.IMAGE)
    return header


def frame(side=64, at=None):
    rgb = np.full((side, side, 3), 200, np.uint8)
    first, last = (side // 3, side // 2) if at is None else (at, at + side // 6)
    rgb[side // 2 :, first:last] = (220, 25, 25)
    return rgb


def errors(lines):
    return [text for severity, text in lines if severity == "ERROR"]


def level(node):
    status = Status()
    node._report_frames(status)
    return status


def test_a_frame_becomes_a_latent_with_its_stamp(graph, encoder, agent):
    header = send(graph, frame())
    assert graph.until(lambda: graph.latents)
    latent = graph.latents[0]
    mean, stddev = agent.encode(frame())
    assert latent.header == header and latent.model_id == agent.model_id
    np.testing.assert_array_equal(latent.mean, mean)
    np.testing.assert_array_equal(latent.stddev, stddev)
    assert level(encoder).level == OK


@pytest.mark.parametrize(
    ("rgb", "changes", "says"),
    [
        (frame(32), {}, "at least 64x64 pixels, got 32x32"),
        (np.zeros((64, 128, 3), np.uint8), {}, "task area is square"),
        (frame(), {"encoding": "mono8"}, "encoding rgb8 or bgr8, got 'mono8'"),
        (frame(), {"data": bytes(100)}, "expected 12288 bytes"),
    ],
)
def test_a_bad_image_is_one_line_a_warning_and_no_latent(graph, encoder, lines, rgb, changes, says):
    for _ in range(5):
        send(graph, rgb, **changes)
    assert graph.latents == []
    assert len(errors(lines)) == 1 and says in errors(lines)[0]
    status = level(encoder)
    assert status.level == WARN and says in status.message
    assert status.values["image refused"] == "5"
    header = send(graph, frame())
    assert graph.until(lambda: graph.latents) and graph.latents[0].header == header


def test_a_larger_square_frame_is_understood(graph, encoder):
    send(graph, frame(128))
    assert graph.until(lambda: graph.latents)


def test_a_latent_that_is_not_finite_is_not_published(graph, encoder, lines, monkeypatch):
    bad = np.full(32, np.nan, np.float32)
    broken = replace(encoder._encoder, encode=lambda area: (bad, bad))
    monkeypatch.setattr(encoder, "_encoder", broken)
    send(graph, frame())
    assert graph.until(lambda: errors(lines))
    graph.spin(0.2)
    assert graph.latents == [] and "finite" in errors(lines)[0]


def test_a_dead_camera_is_reported_once_and_so_is_its_return(graph, checkpoint, lines):
    encoder = start(graph, checkpoint, 0.5)
    send(graph, frame())
    assert graph.until(lambda: graph.latents)
    assert graph.until(lambda: errors(lines))
    graph.spin(1.0)
    assert len(errors(lines)) == 1 and errors(lines)[0].startswith("no image on /camera/image_raw")
    assert level(encoder).level == WARN
    send(graph, frame())
    assert graph.until(lambda: ("INFO", "images are coming again") in lines)
    assert level(encoder).level == OK


def test_a_camera_that_fell_silent_is_listened_to_anew(graph, checkpoint):
    encoder = start(graph, checkpoint, 0.3)
    send(graph, frame())
    assert graph.until(lambda: graph.latents)
    before = encoder._camera
    assert graph.until(lambda: encoder._camera is not before)
    made = [sub for sub in encoder.subscriptions if sub.topic_name == "/camera/image_raw"]
    assert made == [encoder._camera]
    graph.until(lambda: False, 2.0)  # each try waits for longer, or this would be six tries
    assert encoder._renewals <= 15
    send(graph, frame())
    assert graph.until(lambda: len(graph.latents) == 2)
    encoder.trigger_deactivate()
    encoder.trigger_cleanup()
    assert [sub for sub in encoder.subscriptions if sub.topic_name == "/camera/image_raw"] == []


def test_a_slow_encoder_drops_frames_and_counts_them(graph, encoder):
    send(graph, frame())
    assert graph.until(lambda: graph.latents)
    publisher = graph._publishers["camera/image_raw"]
    header = Header(stamp=graph.stamp(), frame_id="camera")
    for _ in range(5):
        publisher.publish(image_from_rgb(frame(), header))
    assert graph.until(lambda: len(graph.latents) == 2)
    graph.spin(0.2)
    assert len(graph.latents) == 2
    assert encoder._drops.dropped == 4 and level(encoder).values["dropped"] == "4"


def test_the_crop_cuts_the_task_out_of_a_camera_frame(graph, checkpoint, agent):
    node = graph.start(CameraEncoder, checkpoint=str(checkpoint), crop=[0.0, 0.125, 1.0, 0.75])
    latents = graph.collect(LatentState, "latent", qos.IMAGE)
    graph.matched(node)
    wide = np.zeros((192, 256, 3), np.uint8)
    wide[:, 32:224] = frame(192)
    send(graph, wide)
    assert graph.until(lambda: latents)
    np.testing.assert_array_equal(latents[0].mean, agent.encode(frame(192))[0])


def watch_surprise(graph, checkpoint, **parameters):
    node = graph.start(CameraEncoder, checkpoint=str(checkpoint), **parameters)
    assert node.is_active, node.fault
    latents = graph.collect(LatentState, "latent", qos.IMAGE)
    surprises = graph.collect(Surprise, "surprise", qos.IMAGE)
    graph.matched(node)
    return latents, surprises


def test_every_latent_is_followed_by_its_surprise(graph, calibrated, agent):
    limits = load_surprise(calibrated, agent.model_id)
    latents, surprises = watch_surprise(graph, calibrated)
    clean, black = frame(at=10), np.zeros((64, 64, 3), np.uint8)
    for sent, rgb in enumerate((clean, black), start=1):
        header = send(graph, rgb)
        assert graph.until(lambda sent=sent: len(surprises) == len(latents) == sent)
        latent, surprise = latents[-1], surprises[-1]
        assert surprise.header == header and surprise.model_id == agent.model_id
        mean = np.array(latent.mean, np.float32)
        assert surprise.latent_distance == limits.latent_distance_of(mean)
        error = reconstruction_error(agent, rgb, mean)
        assert surprise.reconstruction_error == pytest.approx(error, rel=1e-4)
        assert surprise.compute_time > 0
    assert surprises[0].reconstruction_error <= limits.reconstruction_limit
    assert surprises[0].latent_distance <= limits.latent_distance_limit
    assert surprises[1].reconstruction_error > limits.reconstruction_limit


def test_a_frame_that_is_refused_has_no_surprise(graph, calibrated):
    latents, surprises = watch_surprise(graph, calibrated)
    send(graph, frame(32))
    send(graph, frame())
    assert graph.until(lambda: surprises)
    assert len(surprises) == len(latents) == 1


def test_of_many_frames_some_are_measured(graph, calibrated):
    latents, surprises = watch_surprise(graph, calibrated, surprise_every=3)
    headers = []
    for sent in range(1, 5):
        headers.append(send(graph, frame(at=4 * sent)))
        assert graph.until(lambda sent=sent: len(latents) == sent)
    assert graph.until(lambda: len(surprises) == 2)
    assert [surprise.header for surprise in surprises] == [headers[0], headers[3]]


def test_a_prior_has_a_distance_and_no_error(graph, prior_checkpoint, prior, tmp_path):
    folder = tmp_path / "prior"
    shutil.copytree(prior_checkpoint, folder)
    rng = np.random.default_rng(0)
    mean = prior.features(rng.integers(0, 255, (200, 48, 48, 3), np.uint8))
    frames = EncodedFrames(mean, np.zeros_like(mean), None, np.repeat(np.arange(20), 10))
    limits = calibrate_held_out(frames, 0)
    save_surprise(limits, folder, prior.model_id)
    _, surprises = watch_surprise(graph, folder)
    send(graph, frame(48))
    assert graph.until(lambda: surprises)
    assert np.isnan(surprises[0].reconstruction_error)
    expected = limits.latent_distance_of(prior.features(frame(48)))
    assert surprises[0].latent_distance == pytest.approx(expected)


def test_a_checkpoint_without_calibration_works_and_says_so_once(graph, checkpoint, lines):
    latents, surprises = watch_surprise(graph, checkpoint)
    for sent in (1, 2):
        send(graph, frame())
        assert graph.until(lambda sent=sent: len(latents) == sent)
    graph.spin(0.2)
    assert surprises == []
    said = [text for _, text in lines if "not calibrated for surprise" in text]
    assert len(said) == 1 and "safe-skills calibrate surprise" in said[0]


@pytest.mark.parametrize("foreign", [True, False])
def test_a_calibration_that_cannot_be_used_refuses_the_checkpoint(
    graph, calibrated, agent, tmp_path, foreign
):
    folder = tmp_path / "checkpoint"
    shutil.copytree(calibrated, folder)
    if foreign:
        save_surprise(load_surprise(calibrated, agent.model_id), folder, "cable-another")
    else:
        (folder / FILE).write_bytes((folder / FILE).read_bytes()[:100])
    node = graph.start(CameraEncoder, checkpoint=str(folder))
    assert not node.is_active
    assert ("found that of cable-another" if foreign else "is damaged") in node.fault


def test_nothing_is_read_while_inactive(graph, encoder):
    encoder.trigger_deactivate()
    send(graph, frame())
    graph.spin(0.3)
    assert graph.latents == []
