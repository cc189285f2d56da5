"""What a report shows: only tensors, strings and numbers, so that anyone can make one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from retrac_plugin.attribution.breakdown_files import Breakdown
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.errors import InputError


class Pictures(Protocol):
    """Pictures by position: a tensor ``[picture, channel, height, width]``, or a reader of files.

    Only those that are shown are asked for, so a reader need not hold them.
    """

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, index: int, /) -> Tensor | None:
        """Return one ``[channel, height, width]`` in [-1, 1], or None where it cannot be shown."""


@dataclass(frozen=True)
class Group:
    """Training images that belong together, such as outliers.

    Attributes:
        name: A heading.
        remark: What it means to be among them, in a sentence.
        members: Positions in the training set, each with what to write below it.
    """

    name: str
    remark: str
    members: Sequence[tuple[int, str]]


@dataclass(frozen=True, eq=False)
class Method:
    """A method and what it answered.

    Attributes:
        name: As readers know it, such as ``"Diffusion-ReTrac"``.
        scores: Its scores ``[query, train]``.
        seconds: What it cost, or None if it was not measured.
        formula: Its formula as plain text, such as ``formulas.RETRAC``.
        summary: One sentence about it.
        breakdown: How some of its scores split over checkpoints and timesteps, or None.
    """

    name: str
    scores: Scores
    seconds: float | None = None
    formula: str = ""
    summary: str = ""
    breakdown: Breakdown | None = None


@dataclass(frozen=True)
class MetricRow:
    """One line of the table of metrics.

    Attributes:
        name: Of the metric.
        values: One per method; NaN where it is undefined.
        higher_is_better: Its direction, or None where there is none.
        chance: What scores without information get, or None.
        meaning: What it says, in one plain sentence.
        caution: What it does not say.
    """

    name: str
    values: tuple[float, ...]
    higher_is_better: bool | None = None
    chance: float | None = None
    meaning: str = ""
    caution: str = ""


@dataclass(frozen=True, eq=False)
class NormRecord:
    """Gradient norms beside the timesteps at which they were taken.

    Attributes:
        timesteps: Of any shape, such as ``[checkpoint, train]``.
        norms: Of the same shape.
    """

    timesteps: Tensor
    norms: Tensor

    def __post_init__(self) -> None:
        if self.timesteps.shape != self.norms.shape or self.norms.numel() == 0:
            raise InputError(
                "expected timesteps and norms of one shape, at least one of each, got "
                f"{list(self.timesteps.shape)} and {list(self.norms.shape)}"
            )


@dataclass(frozen=True, eq=False)
class Report:
    """Everything that is shown.

    Attributes:
        title: Of the page.
        lead: One or two sentences that say what was found.
        train_images: Each in [-1, 1], with 1 or 3 channels.
        query_images: Likewise; sizes may differ.
        methods: With scores ``[query, train]``; at least one where there are no groups.
        opening: Position of the query that the page opens on.
        k: Number of proponents and of opponents per query and method.
        groups: Training images to look through, such as outliers.
        train_labels: Class name of each training image, or empty.
        query_labels: Class name of each query, or empty.
        train_names: File name of each training image, or empty.
        query_names: File name of each query, or empty.
        train_captions: What each training image is said to show, or empty.
        query_captions: What each query was generated from, or empty.
        train_is_minority: True for the training images of a planted minority, ``[train]``, or None.
        minority_name: What that minority is called.
        rows: The table of metrics.
        norms: Gradient norms by timestep, or None.
        symbols: What the letters of the formulas mean, such as ``formulas.SYMBOLS``.
        configuration: Seeds, steps, versions.
        command: How to make the same again.
        notes: Further remarks, a paragraph each.
        findings: What was recorded, what was drawn and what was not followed, a line each.

    Raises:
        InputError: On construction, if lengths, shapes or ``k`` do not fit.
    """

    title: str
    lead: str
    train_images: Pictures
    query_images: Pictures
    methods: Sequence[Method]
    opening: int = 0
    k: int = 6
    groups: Sequence[Group] = ()
    train_labels: Sequence[str] = ()
    query_labels: Sequence[str] = ()
    train_names: Sequence[str] = ()
    query_names: Sequence[str] = ()
    train_captions: Sequence[str] = ()
    query_captions: Sequence[str] = ()
    train_is_minority: Tensor | None = None
    minority_name: str = "planted minority"
    rows: Sequence[MetricRow] = ()
    norms: NormRecord | None = None
    symbols: str = ""
    configuration: Mapping[str, str | int | float] = field(default_factory=dict)
    command: str = ""
    notes: Sequence[str] = ()
    findings: Sequence[str] = ()

    def __post_init__(self) -> None:
        train, queries = len(self.train_images), len(self.query_images)
        _check_images("train_images", self.train_images)
        _check_images("query_images", self.query_images)
        if not self.methods and not self.groups:
            raise InputError("a report needs at least one method, or a group, got none")
        _check_methods(self.methods, self.rows, [queries, train])
        if not 1 <= self.k <= train:
            raise InputError(f"k must lie between 1 and the {train} training images, got {self.k}")
        if queries and not 0 <= self.opening < queries:
            raise InputError(
                f"opening must lie between 0 and {queries - 1}, a query, got {self.opening}"
            )
        for side, count in (("train", train), ("query", queries)):
            for what in ("labels", "names", "captions"):
                name = f"{side}_{what}"
                _check_length(name, len(getattr(self, name)), (0, count))
        if self.train_is_minority is not None:
            _check_length("train_is_minority", self.train_is_minority.numel(), (train,))


def _check_methods(
    methods: Sequence[Method], rows: Sequence[MetricRow], expected: list[int]
) -> None:
    for method in methods:
        got = list(method.scores.values.shape)
        if got != expected:
            raise InputError(f"{method.name}: expected scores of shape {expected}, got {got}")
        if method.breakdown is not None and not method.breakdown.is_of(method.scores.values):
            raise InputError(
                f"{method.name}: the breakdown is of other scores, its terms do not sum to these: "
                "break down what was attributed, with the same draws"
            )
    for row in rows:
        _check_length(f"values of {row.name}", len(row.values), (len(methods),))


def _check_images(name: str, images: Pictures) -> None:
    if not isinstance(images, Tensor):
        return  # read when they are shown
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.numel() == 0:
        raise InputError(
            f"{name}: expected [image, channel, height, width] with 1 or 3 channels, got shape "
            f"{list(images.shape)}"
        )
    if not torch.isfinite(images).all():
        raise InputError(f"{name}: expected finite values in [-1, 1], got NaN or infinity")


def _check_length(name: str, got: int, allowed: tuple[int, ...]) -> None:
    if got not in allowed:
        raise InputError(f"{name}: expected {' or '.join(map(str, allowed))} entries, got {got}")
