"""The other attribution methods, to compare with; importing this imports no torch.

Methods on gradients take both sides at the same timesteps and share their features, see
``features``. What they need beyond the loss is a value: an output function, a treatment of norms.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from retrac_plugin.hookspecs import AttributorEntry
from retrac_plugin.methods.purposes import purpose

__all__ = ["ENTRIES"]

_DTRAK = "Zheng et al., ICLR 2024"


def _entry(name: str, summary: str, home: str, source: str) -> AttributorEntry:
    module, attribute = home.split(":")
    load = _lazily(module, attribute)
    return AttributorEntry(name, summary, load, source, good_for=purpose(name))


def _lazily(module: str, attribute: str) -> Callable[[], Any]:
    return lambda: getattr(import_module(f"{__name__}.{module}"), attribute)


def _d_trak(name: str, what: str, attribute: str) -> AttributorEntry:
    return _entry(name, f"TRAK of {what} instead of the loss", f"trak:{attribute}", _DTRAK)


ENTRIES: tuple[AttributorEntry, ...] = (
    _entry(
        "gradient-dot",
        "inner products of gradients, last checkpoint",
        "first_order:GradientDot",
        "Charpiat et al., NeurIPS 2019",
    ),
    _entry(
        "gradient-cosine",
        "cosines of gradients, last checkpoint",
        "first_order:GradientCosine",
        "Charpiat et al., NeurIPS 2019",
    ),
    _entry(
        "tracincp",
        "inner products of gradients at shared timesteps, all checkpoints",
        "first_order:TracInCP",
        "Pruthi et al., NeurIPS 2020",
    ),
    _entry(
        "gas",
        "cosines of gradients at shared timesteps, all checkpoints",
        "first_order:GAS",
        "Hammoudeh and Lowd, CCS 2022",
    ),
    _entry(
        "retrac-per-draw",
        "ReTrac with every timestep and noise draw normalised on its own, on both sides",
        "first_order:PerDrawReTrac",
        "MOTIVE, arXiv 2601.08828",
    ),
    _entry(
        "retrac-paired",
        "ReTrac comparing both sides at equal timesteps, one by one",
        "first_order:PairedReTrac",
        "DMin, arXiv 2412.08637; MOTIVE, arXiv 2601.08828",
    ),
    _entry(
        "retrac-replay",
        "ReTrac of every recorded visit since the last checkpoint, each normalised",
        "replay:ReplayedReTrac",
        "a reading of Xie et al., TMLR 2024",
    ),
    _entry(
        "trak",
        "gradients compared through the inverse of their curvature",
        "trak:TRAK",
        "Park et al., ICML 2023",
    ),
    _entry(
        "relative-influence",
        "TRAK over the size of the sample's own effect on the parameters",
        "trak:RelativeInfluence",
        "Barshan et al., AISTATS 2020",
    ),
    _entry(
        "renormalised-influence",
        "TRAK over the norm of the training sample's gradient",
        "trak:RenormalisedInfluence",
        "Hammoudeh and Lowd, CCS 2022",
    ),
    _entry(
        "trak-layers",
        "TRAK of each group of layers by itself, added up by learned weights",
        "trak:LayeredTRAK",
        "after Li et al., ICLR 2026, arXiv 2506.05647",
    ),
    _d_trak("d-trak", "the mean squared prediction", "DTRAK"),
    _d_trak("d-trak-mean", "the mean prediction", "DTRAKMean"),
    _d_trak("d-trak-l1", "the prediction's L1 norm", "DTRAKL1"),
    _d_trak("d-trak-l2", "the prediction's L2 norm", "DTRAKL2"),
    _d_trak("d-trak-linf", "the prediction's largest absolute value", "DTRAKLinf"),
    _d_trak("d-trak-weighted-mse", "the loss weighted as in the ELBO", "DTRAKWeightedMSE"),
    _entry(
        "das",
        "squared change of the prediction without an image, by one Newton step",
        "das:DAS",
        "Lin et al., ICLR 2025",
    ),
    _entry(
        "journey-trak",
        "TRAK along a query's path through the sampler",
        "journey:JourneyTRAK",
        "Georgiev et al., arXiv 2312.06205",
    ),
    _entry(
        "retrac-curvature",
        "ReTrac's normalised gradients through TRAK's curvature; our hybrid",
        "trak:CurvedReTrac",
        "this package",
    ),
    _entry(
        "retrac-kernel",
        "a kernel ridge per timestep on the directions of a random probe's gradients; ours",
        "timestep_kernels:RetracKernel",
        "this package",
    ),
    _entry(
        "retrac-ridge",
        "retrac-kernel in its linear form, for training sets of any size; ours",
        "timestep_kernels:RetracRidge",
        "this package",
    ),
    _entry(
        "retrac-kernel-layers",
        "retrac-kernel of each group of layers by itself, added up by learned weights; ours",
        "timestep_kernels:LayeredKernel",
        "this package, after arXiv 2506.05647",
    ),
    _entry(
        "activation-kernel",
        "retrac-kernel on activations of the up blocks, by forward passes alone; ours",
        "timestep_kernels:ActivationKernel",
        "this package",
    ),
    _entry(
        "untrained-kernel",
        "activation-kernel of the network before training: a control",
        "timestep_kernels:UntrainedKernel",
        "baseline",
    ),
    _entry(
        "unlearning",
        "how much the loss of a training image rises when the picture is unlearned",
        "unlearning:Unlearning",
        "a reading of Wang et al., NeurIPS 2024",
    ),
    _entry(
        "pixel-kernel",
        "kernel ridge on the images' pixels: a control",
        "baselines:PixelKernel",
        "baseline",
    ),
    _entry(
        "pixel-similarity",
        "cosine of the images' pixels",
        "baselines:PixelSimilarity",
        "baseline",
    ),
    _entry(
        "feature-similarity",
        "cosine of the images' whitened principal components",
        "baselines:FeatureSimilarity",
        "baseline",
    ),
    _entry(
        "training-loss",
        "the training images' own losses, for every query alike",
        "baselines:TrainingLoss",
        "baseline",
    ),
    _entry("random", "chance", "baselines:RandomScores", "baseline"),
)
"""What the core registers beside its own two methods."""
