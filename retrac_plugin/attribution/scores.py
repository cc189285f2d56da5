"""Scores: the influence of every training sample on every query."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open
from torch import Tensor

from retrac_plugin.attribution.tensor_files import write
from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import reading
from retrac_plugin.extras import requires

FORMAT = 1

_OPTIONAL = ("gradient_norms", "standard_errors", "rank_errors", "train_positions")
_NAMES = ("train_names", "query_names", "prompts", "train_prompts")


class Top(NamedTuple):
    """The extreme training samples of each query."""

    indices: Tensor
    """``[query, k]``, int64: positions in the training set."""
    values: Tensor
    """``[query, k]``: their scores."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Influence ``[query, train]``.

    Positive: a training step on the sample lowers the query's loss (a proponent); negative: it
    raises it (an opponent).

    Attributes:
        values: ``[query, train]``.
        gradient_norms: Norm of each training sample's gradient, ``[checkpoint, train]``, or None.
        about: How the scores were made; written along. ``repeats``, where there is one, says how
            often what was not recorded was drawn.
        standard_errors: Of each score over those draws, ``[query, train]``, or None; see
            ``repeats``.
        rank_errors: Of each sample's rank among a query's scores, likewise.
        train_names: What each training sample is called, such as its file, or none.
        query_names: Likewise of each query.
        prompts: What each query was generated from, or none.
        train_prompts: What each training sample was told in words, or none.
        train_positions: Where each column's sample lies in the training set ``[column]``, int64,
            where only those have a column that are on some query's list; None: all have. ``about``
            then says ``training_images``, how many there are.
    """

    values: Tensor
    gradient_norms: Tensor | None = None
    about: dict[str, Any] = field(default_factory=dict)
    standard_errors: Tensor | None = None
    rank_errors: Tensor | None = None
    train_names: tuple[str, ...] = ()
    query_names: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    train_prompts: tuple[str, ...] = ()
    train_positions: Tensor | None = None

    @property
    def num_train(self) -> int:
        """How many training samples were scored."""
        return int(self.about.get("training_images", self.values.shape[1]))

    def proponents(self, k: int) -> Top:
        """Return, per query, the ``k`` training samples with the highest scores, highest first.

        Raises:
            InputError: If ``k`` is not between 1 and the number of training samples.
        """
        return self._top(k, largest=True)

    def opponents(self, k: int) -> Top:
        """Return, per query, the ``k`` training samples with the lowest scores, lowest first.

        Raises:
            InputError: If ``k`` is not between 1 and the number of training samples.
        """
        return self._top(k, largest=False)

    def ranks(self) -> Tensor:
        """Return each sample's rank among a query's scores ``[query, train]``, 1 the highest."""
        return self.values.argsort(dim=1, descending=True, stable=True).argsort(dim=1) + 1

    def to_frame(self, k: int) -> Any:
        """Return the ends of each query's list as a pandas ``DataFrame``, a line a sample.

        Its columns are the fields of ``TopRecord``; ``.to_parquet(path)`` writes it for others.

        Args:
            k: How many at either end.

        Raises:
            InputError: If ``k`` is not between 1 and the number of training samples.
            MissingDependencyError: If pandas is not installed.
        """
        from retrac_plugin.attribution.top_records import TopRecord, top_records

        with requires("Scores.to_frame", "tables"):
            import pandas
        columns = [column.name for column in fields(TopRecord)]
        return pandas.DataFrame([asdict(each) for each in top_records(self, k)], columns=columns)

    def save(self, path: str | Path) -> None:
        """Write the scores as one safetensors file, whole or not at all.

        Raises:
            OutputError: If it cannot be written.
        """
        held = {"values": self.values, **{name: getattr(self, name) for name in _OPTIONAL}}
        tensors = {name: t for name, t in held.items() if t is not None}
        named = {name: getattr(self, name) for name in _NAMES if getattr(self, name)}
        metadata = {"retrac": json.dumps({"format": FORMAT, "about": self.about, **named})}
        write(Path(path), tensors, metadata)

    @classmethod
    def load(cls, path: str | Path) -> Scores:
        """Read scores that ``save`` wrote.

        Raises:
            InputError: If the file cannot be read, is damaged, or was written by another version.
        """
        path = Path(path)
        with reading(path, InputError, "scores from"):
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get("retrac", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a dict
            if header.get("format") != FORMAT or "values" not in tensors:
                raise InputError(
                    f"{str(path)!r} holds no scores of format {FORMAT} (got {header.get('format')})"
                )
            parts: dict[str, Any] = {name: tensors.get(name) for name in _OPTIONAL}
            parts |= {name: _texts(header.get(name, [])) for name in _NAMES}
            scores = cls(tensors["values"], about=dict(header["about"]), **parts)
            _check_shapes(scores)
        return scores

    def _top(self, k: int, largest: bool) -> Top:
        num_train = self.values.shape[1]
        if not 1 <= k <= num_train:
            raise InputError(f"k must lie between 1 and the {num_train} training samples, got {k}")
        values, indices = self.values.topk(k, dim=1, largest=largest)
        return Top(indices, values)


def _texts(listed: Any) -> tuple[str, ...]:
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise ValueError("its names are no list of texts")
    return tuple(listed)


def _check_shapes(scores: Scores) -> None:
    """Refuse a file whose parts do not fit each other.

    Raises:
        ValueError: If they do not.
    """
    values, norms = scores.values, scores.gradient_norms
    if values.dim() != 2 or not values.is_floating_point():
        raise ValueError(f"expected values [query, train], got {values.dtype} {list(values.shape)}")
    errors = [e for e in (scores.standard_errors, scores.rank_errors) if e is not None]
    fitting = all(error.shape == values.shape for error in errors)
    fitting &= norms is None or norms.dim() == 2
    places = scores.train_positions
    fitting &= places is None or places.shape == values.shape[1:]
    counts: Mapping[str, int] = {
        "train_names": values.shape[1],
        "query_names": values.shape[0],
        "prompts": values.shape[0],
        "train_prompts": values.shape[1],
    }
    fitting &= all(len(getattr(scores, name)) in (0, count) for name, count in counts.items())
    if not fitting:
        raise ValueError(f"its norms, errors or names do not fit values {list(values.shape)}")
