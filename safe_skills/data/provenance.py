"""Which version of the software made a file."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

import safe_skills


@cache
def revision() -> str:
    """Git commit of the checkout ("-dirty" with local changes), else the package's version."""
    root = Path(safe_skills.__file__).parent.parent
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
        try:
            told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
            return told.stdout.strip()
        except (OSError, subprocess.SubprocessError):
            pass
    try:
        return metadata.version("safe_skills")
    except metadata.PackageNotFoundError:
        return safe_skills.__version__
