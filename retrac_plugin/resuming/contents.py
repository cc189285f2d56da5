"""What decides scores, taken into a digest: examples, and checkpoints wherever they lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.resuming.code_files import code_of_module
from retrac_plugin.resuming.digesting import Digester, digest_of
from retrac_plugin.runs.run import Run

BLOCK = 256
"""Examples that are read at a time."""


def new_digester() -> Digester:
    """Return what takes checkpoints in by their content, and has taken in our own code."""
    digester = Digester({Checkpoint: _content_of})
    digester.add((code_of_module(__name__), torch.__version__))
    return digester


def digester_of_run(run: Run, data: Mapping[str, Examples]) -> Digester:
    """Return what has taken in all of a run, and of examples by role, that decides scores."""
    digester = new_digester()
    digester.add((run.model, list(run.checkpoints), run.train_draws))
    for role, examples in data.items():
        digester.add(digests_of(examples, role))
    return digester


def digests_of(examples: Examples, role: str) -> list[str]:
    """Return digests of examples, block by block."""
    blocks = ExampleSource(examples, role).blocks(BLOCK)
    return [digest_of(block._asdict()) for block in blocks]


def _content_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a checkpoint's fields, with what lies in files, or is made when needed, in place."""
    fields = {f.name: getattr(checkpoint, f.name) for f in dataclasses.fields(checkpoint)}
    del fields["read"]  # how, not what
    fields["parameters"] = digest_of(checkpoint.load())
    if checkpoint.query_parameters is not None:
        fields["query_parameters"] = digest_of(checkpoint.on_query_side().load())
    if checkpoint.preconditioner is not None:
        fields["preconditioner"] = digest_of(dict(checkpoint.preconditioner()))
    return fields
