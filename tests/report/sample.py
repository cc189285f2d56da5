"""A small report with everything in it."""

import dataclasses

import torch

from retrac_plugin.attribution.scores import Scores
from retrac_plugin.report import Method, MetricRow, NormRecord, Report

QUERIES, TRAIN, K = 3, 20, 4


def scores(seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return Scores(torch.randn(QUERIES, TRAIN, generator=generator) * scale)


def report(**changes):
    generator = torch.Generator().manual_seed(0)
    whole = Report(
        title="A small report",
        lead="It says little.",
        train_images=torch.rand(TRAIN, 1, 8, 8, generator=generator) * 2 - 1,
        query_images=torch.rand(QUERIES, 1, 8, 8, generator=generator) * 2 - 1,
        methods=[
            Method("Diffusion-TracIn", scores(1, 2e-5), 12.5, "τ = <g, g>", "Norms kept."),
            Method("Diffusion-ReTrac", scores(2)),
        ],
        k=K,
        train_labels=["cat", "dog"] * (TRAIN // 2),
        query_labels=["cat", "dog", "cat"],
        train_is_minority=torch.arange(TRAIN) % 7 == 0,
        minority_name="photo patch",
        rows=[
            MetricRow("specificity@10", (0.25, 0.5), True, 0.9, "how different", "not how right"),
            MetricRow("hubness@10", (float("nan"), 2.0), False),
        ],
        norms=NormRecord(
            torch.arange(200).reshape(2, 100), torch.linspace(5, 0.01, 200).view(2, 100)
        ),
        symbols="q: the query",
        configuration={"seed": 0, "learning rate": 1e-3},
        command="retrac demo --seed 0",
        notes=["A note."],
        findings=["noise: drawn anew"],
    )
    return dataclasses.replace(whole, **changes)
