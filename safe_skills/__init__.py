"""Robot skills learned from camera images that stay safe, as ROS 2 nodes."""

import os
import sys
from pkgutil import extend_path

__version__ = "0.1.0"

# The messages (safe_skills.msg) may be installed apart from these modules: editable installs, or
# tests that run from a checkout.
__path__ = extend_path(__path__, __name__)


def _find_own_prefix() -> None:
    """Lists this environment in AMENT_PREFIX_PATH where no listed prefix holds this package.

    A ROS workspace lists itself when it is sourced; a Python environment has nothing to source.
    """
    marker = os.path.join("share", "ament_index", "resource_index", "packages", "safe_skills")
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    if any(os.path.exists(os.path.join(p, marker)) for p in prefixes):
        return
    if os.path.exists(os.path.join(sys.prefix, marker)):
        os.environ["AMENT_PREFIX_PATH"] = os.pathsep.join([*prefixes, sys.prefix])


_find_own_prefix()
