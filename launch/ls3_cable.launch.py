"""Starts LS3 on cable routing, a process a node: ros2 launch safe_skills ls3_cable.launch.py."""

from safe_skills.nodes.launching import describe


def generate_launch_description():
    """Returns the graph that `safe_skills.systems` describes under this file's name."""
    return describe("ls3_cable")
