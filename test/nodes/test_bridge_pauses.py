"""A bridge that stood still itself, as under SIGSTOP, forgets what it was on the way to."""

import time

import numpy as np
from std_msgs.msg import Header
from test_hardware_bridge import ARM, CALM, command, measure, set_points, start

from safe_skills.nodes.conversions import pose_message

SLOW = {"servo_rate": 100.0, "max_speed": 0.002, "max_acceleration": 0.5}
STILL = 3.0


def test_after_a_pause_of_its_own_it_holds_and_begins_where_the_robot_is(graph, lines):
    start(graph, **{**CALM, **SLOW, "state_timeout": STILL})
    measure(graph)
    command(graph, (0.03, 0.0))
    assert graph.until(lambda: len(graph.servo) > 5) and graph.holds == []
    # The robot was moved meanwhile; the bridge finds its newest pose when it goes on.
    header = Header(stamp=graph.stamp(), frame_id="PSM1_base")
    time.sleep(STILL + 0.5)
    elsewhere = pose_message(ARM.target(np.array((-0.1, 0.05))), header)
    graph._publishers["PSM1/measured_cp"].publish(elsewhere)
    assert graph.until(lambda: graph.holds)
    assert any("stood still" in text for _, text in lines)
    sent = len(graph.servo)
    graph.spin(0.3)
    assert len(graph.servo) == sent
    measure(graph, (-0.1, 0.05))
    command(graph, (0.03, 0.0))
    assert graph.until(lambda: len(graph.servo) > sent)
    np.testing.assert_allclose(set_points(graph)[sent], (-0.1, 0.05), atol=1e-3)
