"""Checkpoints: a folder of model.safetensors, config.yaml, metrics.json. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from safe_skills.data.files import replacing, write_json, write_text

FORMAT = 1
MODEL, CONFIG, METRICS = "model.safetensors", "config.yaml", "metrics.json"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says what was expected and what was found."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        folder: where it was read from.
        config: everything needed to rebuild the model; `config["method"]`, `config["task"]`.
        metrics: what it scored, and on what.
        tensors: the weights by name.
        model_id: the task and the first digits of the weights' SHA-256.
    """

    folder: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    model_id: str
    digest: str = field(repr=False)


def save_checkpoint(
    folder: Path | str,
    *,
    config: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    metrics: Mapping[str, Any],
) -> None:
    """Writes a checkpoint folder; each file is complete or absent, the weights' digest binds them.

    Args:
        folder: created where missing.
        config: plain values (YAML), with keys `method` and `task`.
        tensors: weights by name.
        metrics: plain values (JSON).
    """
    folder = Path(folder)
    weights = save_tensors({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    digest = hashlib.sha256(weights).hexdigest()
    with replacing(folder / MODEL) as temporary:
        temporary.write_bytes(weights)
    write_json(folder / METRICS, dict(metrics))
    header = {"format": FORMAT, "sha256": digest}
    write_text(folder / CONFIG, yaml.safe_dump({**header, **config}, sort_keys=False))


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = str(error).splitlines()[0]
        raise CheckpointError(f"checkpoint {folder}: {CONFIG} is damaged: {line}") from None
    required = ("format", "sha256", "method", "task")
    if not isinstance(config, dict) or any(key not in config for key in required):
        raise CheckpointError(
            f"checkpoint {folder}: {CONFIG} must have the keys {', '.join(required)}; "
            f"is this a safe_skills checkpoint?"
        )
    if config["format"] != FORMAT:
        raise CheckpointError(
            f"checkpoint {folder}: expected format {FORMAT}, found {config['format']}; "
            f"train it again or use the release that wrote it"
        )
    return config


def load_checkpoint(
    folder: Path | str, *, method: str | None = None, task: str | None = None
) -> Checkpoint:
    """Reads a checkpoint and checks that it is whole and is for this method and task.

    Args:
        folder: the checkpoint's folder.
        method: expected method ("ls3", "safer"), any when None.
        task: expected task ("cable", ...), any when None.

    Raises:
        CheckpointError: in one line: missing, damaged, of another format, method or task.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(
            f"checkpoint {folder}: no such folder; expected {MODEL}, {CONFIG} and {METRICS} in it"
        )
    for name in (MODEL, CONFIG, METRICS):
        if not (folder / name).is_file():
            raise CheckpointError(f"checkpoint {folder}: {name} is missing")
    config = _read_config(folder)
    for key, expected in (("method", method), ("task", task)):
        if expected is not None and config[key] != expected:
            raise CheckpointError(
                f"checkpoint {folder}: expected {key} {expected!r}, found {config[key]!r}"
            )
    weights = (folder / MODEL).read_bytes()
    digest = hashlib.sha256(weights).hexdigest()
    if digest != config["sha256"]:
        raise CheckpointError(
            f"checkpoint {folder}: {MODEL} is damaged or foreign: expected SHA-256 "
            f"{config['sha256'][:12]}..., found {digest[:12]}..."
        )
    try:
        tensors = load_tensors(weights)
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        line = str(error).splitlines()[0]
        raise CheckpointError(f"checkpoint {folder}: damaged: {line}") from None
    model_id = f"{config['task']}-{digest[:12]}"
    return Checkpoint(folder, config, metrics, tensors, model_id, digest)


def load_weights(module: torch.nn.Module, checkpoint: Checkpoint) -> None:
    """Gives a module the checkpoint's weights, and freezes it.

    Raises:
        CheckpointError: in one line: a tensor is missing, of another shape, or not finite.
    """
    expected = module.state_dict()
    found = checkpoint.tensors
    for name, tensor in expected.items():
        if name not in found:
            raise CheckpointError(f"checkpoint {checkpoint.folder}: tensor {name} is missing")
        if found[name].shape != tensor.shape:
            raise CheckpointError(
                f"checkpoint {checkpoint.folder}: tensor {name}: expected shape "
                f"{tuple(tensor.shape)}, found {tuple(found[name].shape)}"
            )
        if not torch.isfinite(found[name]).all():
            raise CheckpointError(f"checkpoint {checkpoint.folder}: tensor {name} has NaN")
    module.load_state_dict({name: found[name] for name in expected})
    module.requires_grad_(False).eval()
