"""How nodes reach each other: by sockets, unless the user says otherwise."""

import os
import subprocess
import sys

import pytest

from safe_skills.nodes import middleware
from safe_skills.nodes.middleware import (
    OLD_PROFILES,
    PROFILES,
    SOCKETS,
    STATIC_PEERS,
    TRANSPORTS,
    without_shared_memory,
)
from safe_skills.paths import config_file
from safe_skills.systems import DISCOVERY

# Two programs that each answer the other; the first sets nothing, as ros2 topic or rqt.
TALK = """
import sys, time, rclpy
from std_msgs.msg import String
name, other = sys.argv[1:]
rclpy.init()
node = rclpy.create_node(name)
heard = []
node.create_subscription(String, other, heard.append, 10)
publisher = node.create_publisher(String, name, 10)
end = time.monotonic() + 60.0
while time.monotonic() < end and not (heard and heard[-1].data == "heard"):
    publisher.publish(String(data="heard" if heard else "here"))
    rclpy.spin_once(node, timeout_sec=0.1)
for _ in range(10):  # the other may still wait for the word that it was heard
    publisher.publish(String(data="heard"))
    time.sleep(0.1)
sys.exit(not heard)
"""


def test_this_host_alone_is_a_profile_without_shared_memory():
    made = without_shared_memory({DISCOVERY: "LOCALHOST"})
    path = str(config_file(middleware.LOCALHOST))
    assert made == {PROFILES: path, DISCOVERY: "SYSTEM_DEFAULT"}


def test_older_distributions_which_do_not_know_the_profile_stay_on_this_host():
    assert without_shared_memory({DISCOVERY: "LOCALHOST", "ROS_DISTRO": "jazzy"}) == {}


@pytest.mark.parametrize("wider", [{}, {DISCOVERY: "SUBNET"}, {DISCOVERY: "SYSTEM_DEFAULT"}])
def test_wider_discovery_stays_as_it_is(wider):
    assert without_shared_memory(wider) == {TRANSPORTS: SOCKETS}


@pytest.mark.parametrize("name", [TRANSPORTS, PROFILES, OLD_PROFILES, STATIC_PEERS])
def test_what_the_user_says_stays(name):
    assert without_shared_memory({DISCOVERY: "LOCALHOST", name: "mine"}) == {}


def test_what_was_changed_is_not_changed_again():
    changed = {DISCOVERY: "LOCALHOST", **without_shared_memory({DISCOVERY: "LOCALHOST"})}
    assert without_shared_memory(changed) == {}


def test_other_middleware_stays_on_this_host(monkeypatch):
    name = "get_rmw_implementation_identifier"
    monkeypatch.setattr(middleware, name, lambda: "rmw_cyclonedds_cpp")
    assert without_shared_memory({DISCOVERY: "LOCALHOST"}) == {}


@pytest.mark.parametrize("range_of_tool", ["LOCALHOST", "SUBNET"])
def test_tools_that_know_nothing_of_it_reach_the_nodes(range_of_tool):
    told = (TRANSPORTS, PROFILES, OLD_PROFILES, STATIC_PEERS, DISCOVERY)
    plain = {name: value for name, value in os.environ.items() if name not in told}
    local = {**plain, DISCOVERY: "LOCALHOST"}
    environments = {
        "tool": {**plain, DISCOVERY: range_of_tool},
        "node": {**local, **without_shared_memory(local)},
    }
    children = [
        subprocess.Popen(
            [sys.executable, "-c", TALK, name, other],
            env=environments[name],
        )
        for name, other in (("tool", "node"), ("node", "tool"))
    ]
    assert [child.wait(120.0) for child in children] == [0, 0]
