"""Every test session has a ROS domain of its own on this host, so that graphs do not meet."""

import os

# Domains above 101 may run into the ephemeral ports of Linux.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
