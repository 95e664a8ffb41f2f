"""Every test session has a ROS domain of its own on this host, and one thread a process."""

import os

from hypothesis import settings

from safe_skills.nodes.middleware import without_shared_memory

# How long one example takes says more about the machine than about the code.
settings.register_profile("safe_skills", deadline=None)
settings.load_profile("safe_skills")

# Domains above 101 may run into the ephemeral ports of Linux.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
# Graphs of several processes share few cores; idle threads that wait for each other cost the most.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# As the nodes do it, of whom tests kill some.
os.environ.update(without_shared_memory(os.environ))
