"""The state of a training run on disk, from which a stopped run goes on; nothing is unpickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from safe_skills.data.files import replacing


class ResumeError(ValueError):
    """A training state that does not belong to this run, or is damaged."""


def write_state(
    path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], identity: str
) -> None:
    """Writes a state atomically.

    Args:
        path: the file.
        tensors: by name.
        metadata: the rest, as text.
        identity: what a run must share with this state to go on from it.
    """
    with replacing(path) as temporary:
        values = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(values, temporary, {**metadata, "identity": identity})


def read_state(
    path: Path | str, identity: str, read_identity: Callable[[str], str] = str
) -> tuple[dict[str, Tensor], dict[str, str]] | tuple[None, None]:
    """Reads a state's tensors and metadata; None and None where there is no file.

    Args:
        path: the file.
        identity: what it must have been written with.
        read_identity: makes of an identity that was written what it would be today.

    Raises:
        ResumeError: in one line, for a file that is damaged or of another identity.
    """
    path = Path(path)
    if not path.is_file():
        return None, None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ResumeError(f"{path} is damaged ({error}); remove it to start again") from None
    if read_identity(metadata.get("identity", "")) != identity:
        raise ResumeError(
            f"{path} was written with another seed, configuration or data set; "
            f"choose another folder or remove it to start again"
        )
    return tensors, metadata


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """An optimizer's moments and momenta, named `<parameter number>.<what>`."""
    return {
        f"{index}.{key}": value
        for index, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
        if value is not None
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Gives an optimizer the tensors of `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
