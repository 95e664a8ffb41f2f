from dataclasses import replace

import numpy as np
import pytest
from std_msgs.msg import Header

from safe_skills.msg import LatentState
from safe_skills.nodes import qos
from safe_skills.nodes.camera_encoder import CameraEncoder
from safe_skills.nodes.conversions import image_from_rgb
from safe_skills.nodes.diagnostics import OK, WARN, Status


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


def frame(side=64):
    rgb = np.full((side, side, 3), 200, np.uint8)
    rgb[side // 2 :, side // 3 : side // 2] = (220, 25, 25)
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


def test_nothing_is_read_while_inactive(graph, encoder):
    encoder.trigger_deactivate()
    send(graph, frame())
    graph.spin(0.3)
    assert graph.latents == []
