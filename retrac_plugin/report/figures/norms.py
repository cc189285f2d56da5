"""Norms of gradients: by timestep, and what influence owes to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.metrics.correlation import spearman_rows
from retrac_plugin.report.contents import NormRecord
from retrac_plugin.report.figures.style import (
    COLOURS,
    INK,
    colour,
    label,
    new_figure,
    plain_log_ticks,
)
from retrac_plugin.report.norm_plot import medians

HEIGHT = 2.5


def norm_by_timestep(*records: NormRecord, titles: tuple[str, ...] = ()) -> Any:
    """Return the figure of gradient norms against the timesteps at which they were taken.

    Norms are on a logarithmic axis; those that are not positive and finite are left out. The line
    goes through the median of each twentieth of the schedule that holds five of them or more.

    Args:
        records: A panel each, such as all training images at their last visits.
        titles: Of the panels, or none.

    Raises:
        InputError: If there is no record, or titles do not fit.
        MissingDependencyError: If matplotlib is not installed.
    """
    if not records or len(titles) not in (0, len(records)):
        raise InputError(
            f"expected at least one record, and no titles or one each, got {len(records)} records "
            f"and {len(titles)} titles"
        )
    figure, panels = new_figure(HEIGHT, len(records))
    for number, (axes, record) in enumerate(zip(panels, records, strict=True)):
        timesteps, norms = _drawable(record)
        axes.semilogy(timesteps, norms, ".", color=COLOURS["diffusion-tracin"], **CLOUD)
        middles = medians(timesteps, norms.log10(), max(timesteps.max().item(), 1))
        axes.plot([t for t, _ in middles], [10**level for _, level in middles], color=INK)
        plain_log_ticks(axes.yaxis)
        label(axes, x="timestep", title=titles[number] if titles else "")
    panels[0].set_ylabel("norm of the gradient", fontsize=panels[0].xaxis.label.get_size())
    return figure


def influence_against_norm(scores: Mapping[str, Tensor], norms: Tensor) -> Any:
    """Return the figure of the size of influence against the norm of the training gradient.

    A method that follows norms shows a rising cloud; the title has the rank correlation.

    Args:
        scores: By the name of a method, ``[query, train]``: a panel each. A training sample's size
            is the mean of its absolute scores over the queries.
        norms: ``[checkpoint, train]`` or ``[train]``; a sample's is the mean over checkpoints.

    Raises:
        InputError: If there are no scores, or they are of other training samples than the norms.
        MissingDependencyError: If matplotlib is not installed.
    """
    wide = norms.detach().cpu().double().reshape(-1, norms.shape[-1]).mean(0)
    if not scores or any(values.shape[-1] != len(wide) for values in scores.values()):
        found = {name: list(values.shape) for name, values in scores.items()}
        raise InputError(f"expected scores of the {len(wide)} samples with norms, got {found}")
    figure, panels = new_figure(HEIGHT, len(scores))
    for axes, (name, values) in zip(panels, scores.items(), strict=True):
        sizes = values.detach().cpu().double().abs().mean(0)
        correlation = spearman_rows(wide[None], sizes[None]).item()
        axes.loglog(wide, sizes, ".", color=colour(name), **CLOUD)
        plain_log_ticks(axes.xaxis, axes.yaxis)
        title = f"{name}: rank correlation {correlation:.2f}"
        label(axes, x="norm of the training gradient", title=title)
    panels[0].set_ylabel("mean |influence|", fontsize=panels[0].xaxis.label.get_size())
    return figure


CLOUD: Mapping[str, Any] = {"markersize": 3, "alpha": 0.5, "rasterized": True}
"""How many points are drawn."""


def _drawable(record: NormRecord) -> tuple[Tensor, Tensor]:
    timesteps = record.timesteps.detach().flatten().double().cpu()
    norms = record.norms.detach().flatten().double().cpu()
    drawable = (norms > 0) & norms.isfinite()
    if not drawable.any():
        raise InputError("expected norms that are positive and finite, got none")
    return timesteps[drawable], norms[drawable]
