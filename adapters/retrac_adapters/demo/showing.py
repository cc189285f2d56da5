"""What the demo shows: the table, the figure and the page."""

from __future__ import annotations

import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from retrac_adapters.demo.data import DIGIT_LABEL, DIGITS, PHOTOS, PIECES_EACH, SIDE, kind
from retrac_adapters.demo.outcome import Outcome
from retrac_plugin.cli.telling import tell
from retrac_plugin.metrics import Evidence
from retrac_plugin.plugins import metrics
from retrac_plugin.report import (
    Method,
    NormRecord,
    Report,
    measured,
    write_page,
)
from retrac_plugin.report.figures import proponent_grid, save
from retrac_plugin.report.formulas import RETRAC, SYMBOLS, TRACIN
from retrac_plugin.report.generality import generally_influential

METRICS = (
    "specificity@10",
    "generally-influential@10",
    "generally-influential-half@10",
    "class-agreement@10",
    "minority-share@10",
    "norm-bias",
    "norm-bias-size",
)
IN_THE_FIGURE = 4
"""Queries in the figure, those that are explained best; all are on the page."""

LOOKED_AT = 10
"""Places of a list that are counted in the page's head."""

ON_THE_PAGE = 24
"""Proponents and opponents of each query on the page."""

EXPLANATIONS = (
    (TRACIN, "How far a training step on the image moved the picture's loss."),
    (
        RETRAC,
        "The same with every gradient at length one, so that an image is not named for the "
        "timestep it happened to be trained at.",
    ),
)
"""Formula and summary of Diffusion-TracIn and Diffusion-ReTrac."""


def show(outcome: Outcome, out: Path, command: str, seed: int) -> Report:
    """Write ``proponents.png`` and ``index.html`` below ``out``."""
    report = _report(outcome, command, seed)
    best = explained_best(outcome)[:IN_THE_FIGURE]
    save(proponent_grid(report, best), out / "proponents.png")
    write_page(replace(report, k=ON_THE_PAGE), out / "index.html")
    return report


def print_table(report: Report) -> None:
    """Print the table of metrics."""
    names = [method.name for method in report.methods]
    tell(f"\n{'':32}" + "".join(f"{name:>18}" for name in names) + f"{'chance':>10}")
    for row in report.rows:
        values = "".join(f"{value:>18.3g}" for value in row.values)
        chance = "" if row.chance is None else f"{row.chance:>10.3g}"
        tell(f"{row.name:32}{values}{chance}")


def explained_best(outcome: Outcome) -> list[int]:
    """Return the queries, the clearest cases first.

    Those with the most of their own kind among their strongest proponents by Diffusion-ReTrac; of
    equals, those whose proponents lie further above all scores, in standard deviations.
    """
    values = outcome.scores[1].values
    apart = (values - values.mean(1, keepdim=True)) / values.std(1, keepdim=True)
    height = apart.topk(LOOKED_AT, dim=1).values.mean(1)
    own = _own_kind(outcome).sum(1)
    order: list[int] = sorted(range(len(own)), key=lambda q: (-own[q].item(), -height[q].item()))
    return order


def _own_kind(outcome: Outcome) -> Tensor:
    """Say which of each query's strongest proponents are of its own kind, ``[query, place]``."""
    top = outcome.scores[1].proponents(LOOKED_AT).indices
    return outcome.data.labels[top] == outcome.labels[:, None]


def _report(outcome: Outcome, command: str, seed: int) -> Report:
    methods = [
        Method(scores.about["method"], scores, None, formula, summary, breakdown)
        for scores, breakdown, (formula, summary) in zip(
            outcome.scores, outcome.breakdowns, EXPLANATIONS, strict=True
        )
    ]
    general = generally_influential(methods)
    rows = measured([metrics()[name][0] for name in METRICS], methods, _evidence(outcome))
    opening = explained_best(outcome)[0]
    return Report(
        title="Which pieces of three photographs made these pictures?",
        lead=_lead(outcome, opening),
        train_images=outcome.data.images,
        query_images=outcome.pictures,
        methods=methods,
        opening=opening,
        groups=[] if general is None else [general],
        train_labels=outcome.data.kinds,
        query_labels=[kind(label) for label in outcome.labels.tolist()],
        train_names=outcome.data.names,
        train_is_minority=outcome.data.is_minority,
        minority_name="digit (the planted 4%)",
        rows=rows,
        norms=_norms(outcome),
        symbols=SYMBOLS,
        configuration=_configuration(outcome, seed),
        command=command,
        notes=_notes(outcome),
    )


def _evidence(outcome: Outcome) -> Evidence:
    return Evidence(
        train_labels=outcome.data.labels,
        query_labels=outcome.labels,
        train_is_minority=outcome.data.is_minority,
        query_is_minority=outcome.labels == DIGIT_LABEL,
        gradient_norms=outcome.scores[0].gradient_norms,
    )


def _lead(outcome: Outcome, opening: int) -> str:
    label, own = int(outcome.labels[opening]), _own_kind(outcome)
    is_digit = label == DIGIT_LABEL
    likeness, such = ("a digit", "digits") if is_digit else (f"the {kind(label)}", "pieces of it")
    chance = (outcome.data.labels == outcome.labels[:, None]).float().mean().item()
    return (
        f"A small diffusion model learnt from pieces of three photographs ({', '.join(PHOTOS)}) "
        f"and a few digits, and drew these {len(outcome.pictures)} pictures. The clearest is shown "
        f"first: it looks like {likeness}, and {int(own[opening].sum())} of its {LOOKED_AT} "
        f"strongest proponents by Diffusion-ReTrac are {such}; over all pictures the share is "
        f"{own.float().mean():.0%}, by chance {chance:.0%}."
    )


def _norms(outcome: Outcome) -> NormRecord | None:
    trace, norms = outcome.run.trace, outcome.scores[0].gradient_norms
    if trace is None or norms is None:
        return None
    everyone = range(trace.num_samples)
    steps = [checkpoint.step or 0 for checkpoint in outcome.run.checkpoints]
    visits = [trace.last_visits(everyone, step) for step in steps]
    return NormRecord(torch.stack([trace.timesteps[v] for v in visits]), norms)


def _configuration(outcome: Outcome, seed: int) -> dict[str, str | int | float]:
    network = outcome.run.model.network
    return {
        "training set": f"{PIECES_EACH} pieces each of three photographs, and {DIGITS} digits, "
        f"{SIDE}x{SIDE} pixels",
        "network": f"UNet2DModel, {sum(p.numel() for p in network.parameters()):,} parameters",
        "checkpoints": ", ".join(str(c.step) for c in outcome.run.checkpoints),
        "training timesteps and noise": "as recorded",
        "query timesteps": "10, evenly spaced, 4 noise draws each",
        "seed of the pictures": seed,
        **{f"seconds {what}": round(spent, 1) for what, spent in outcome.seconds.items()},
        "versions": ", ".join(
            f"{name} {version(name)}" for name in ("retrac-plugin", "torch", "diffusers")
        ),
        "Python": platform.python_version(),
    }


def _notes(outcome: Outcome) -> list[str]:
    return [
        "Pieces are cut at random places and named for where in the photograph they begin, left "
        "and top. Photographs: china.jpg by danielbuechele and flower.jpg by vultilion on Flickr, "
        "CC BY 2.0, with scikit-learn; Grace Hopper by the US Navy, with matplotlib.",
        "The model is unconditional: what a generated picture shows is the guess of a support "
        f"vector machine, right on {outcome.classifier_accuracy:.1%} of unseen real images, which "
        "must name a class even for a picture that shows nothing.",
        "Both methods share their gradients, so their time was measured together; nothing was "
        "tuned towards either.",
    ]
