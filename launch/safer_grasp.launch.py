"""Starts SAFER on an arm, a process a node: ros2 launch safe_skills safer_grasp.launch.py."""

from safe_skills.nodes.launching import describe


def generate_launch_description():
    """Returns the graph that `safe_skills.systems` describes under this file's name."""
    return describe("safer_grasp")
