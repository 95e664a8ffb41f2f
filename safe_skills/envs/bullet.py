"""PyBullet's functions, bound to a server of their own."""

from __future__ import annotations

from functools import partial
from typing import Any

import pybullet


class Client:
    """One headless PyBullet server; its attributes are PyBullet's functions bound to it."""

    def __init__(self) -> None:
        self._server = pybullet.connect(pybullet.DIRECT)

    def __getattr__(self, name: str) -> Any:
        function = partial(getattr(pybullet, name), physicsClientId=self._server)
        setattr(self, name, function)
        return function
