"""Diffusion-TracIn and Diffusion-ReTrac as Captum's own kind of attributor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from captum.influence._utils.common import KMostInfluentialResults, _load_flexible_state_dict
from torch import Tensor, nn

from retrac_plugin.attribution.attributors import DiffusionAttributor, DiffusionTracIn
from retrac_plugin.attribution.embeddings import query_embeddings, train_embeddings
from retrac_plugin.attribution.streaming import blocks_of, running_top
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.data.examples import Examples
from retrac_plugin.draws import Draws
from retrac_plugin.frameworks.bars import Bars, bars_of_self_influence, one_bar
from retrac_plugin.frameworks.batches import as_examples, as_examples_like
from retrac_plugin.frameworks.captum import arguments
from retrac_plugin.frameworks.captum.rescaled import RescaledTracInCP
from retrac_plugin.frameworks.loading import Load, as_checkpoints
from retrac_plugin.gradients.engine import EngineFactory
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.model.losses import Loss
from retrac_plugin.model.weightings import TimestepWeight, Weighting


class DiffusionTracInCP(RescaledTracInCP):
    """Diffusion-TracIn (Xie et al., TMLR 2024) as a ``captum.influence.TracInCP``.

    Args:
        model: From ``retrac_plugin.wrap``, or a network with its ``scheduler``; others make this
            plain ``TracInCP``.
        train_dataset: A dataset, list, tensor or unshuffled ``DataLoader`` of examples, or a batch.
        checkpoints: ``retrac_plugin.Checkpoint`` objects, or whatever Captum takes; with a
            diffusion model lists keep their order.
        checkpoints_load_func: ``(network, checkpoint) -> learning rate``; not called for
            ``Checkpoint`` objects. With a diffusion model and no function of your own, files and
            folders are read as ``Checkpoint(path)``, of step size 1.
        layers: Names of the modules whose parameters are attributed; default: all trainable ones.
        loss_fn: As in ``TracInCP``, like ``test_loss_fn``; not with a diffusion model.
        batch_size: Samples per network pass, if ``train_dataset`` is no ``DataLoader``.
        test_loss_fn: See ``loss_fn``.
        sample_wise_grads_per_batch: As in ``TracInCP``; no change with a diffusion model.
        scheduler: The noise scheduler that ``model`` was trained with.
        loss: The loss that ``model`` was trained with.
        weight: Weight of the loss at each timestep, see ``retrac_plugin.wrap``.
        train_draws: See ``retrac_plugin.DiffusionTracIn``, as for those that follow.
        query_draws: Timesteps and noise of each query.
        device: Where to compute.
        engine: What computes gradients.

    Raises:
        InputError: If arguments contradict each other or the training set cannot be used.
    """

    core: ClassVar[type[DiffusionAttributor]] = DiffusionTracIn

    meets_itself: ClassVar[bool] = True
    """Whether ``self_influence`` takes a sample's train draw on both sides."""

    def __init__(  # noqa: PLR0913, PLR0917  # TracInCP's own arguments, and ours
        self,
        model: DiffusionModel | nn.Module,
        train_dataset: Examples,
        checkpoints: Any,
        checkpoints_load_func: Load = _load_flexible_state_dict,
        layers: list[str] | None = None,
        loss_fn: Any = None,
        batch_size: int | None = 1,
        test_loss_fn: Any = None,
        sample_wise_grads_per_batch: bool = False,
        *,
        scheduler: Any = None,
        loss: Loss = "mse",
        weight: TimestepWeight | Weighting | None = None,
        train_draws: Draws | None = None,
        query_draws: Draws | None = None,
        device: str | torch.device | None = None,
        engine: EngineFactory | None = None,
    ) -> None:
        ours = arguments.given(
            train_draws=train_draws, query_draws=query_draws, device=device, engine=engine
        )
        diffusion = arguments.diffusion_model(model, scheduler, loss, weight)
        if diffusion is None:
            arguments.check_plain(checkpoints, ours)
        else:
            arguments.check_no_loss_function(loss_fn=loss_fn, test_loss_fn=test_loss_fn)
            diffusion = arguments.attributing(diffusion, layers)
            model, layers = diffusion.network, None
            train_dataset = as_examples(train_dataset, "train")
            arguments.check_examples(train_dataset)
            checkpoints = arguments.in_given_order(checkpoints)
        super().__init__(
            model,
            train_dataset,
            arguments.as_captum_takes(checkpoints),
            checkpoints_load_func,
            layers,
            loss_fn,
            batch_size,
            test_loss_fn,
            sample_wise_grads_per_batch,
        )
        self.diffusion_model = diffusion
        if diffusion is not None:
            ours["batch_size"] = arguments.batch_size_of(self.train_dataloader)
            self._train = train_dataset
            self._core: Callable[..., DiffusionAttributor] = partial(self.core, diffusion, **ours)

    def influence(
        self,
        inputs: Examples,
        k: int | None = None,
        proponents: bool = True,
        show_progress: bool = False,
        aggregate: bool = False,
    ) -> Tensor | KMostInfluentialResults:
        """Return the influence of training samples on queries: all of it, or the ``k`` extremes.

        Args:
            inputs: The queries: a batch, a ``DataLoader``, a dataset, a list or a tensor. Where the
                training set is ``retrac_plugin.named(dataset, names)``, batches may be tuples in
                the order of those names.
            k: How many training samples per query, at most as many as there are; None for all.
            proponents: Whether the ``k`` highest are wanted, highest first, or the lowest.
            show_progress: Show a progress bar.
            aggregate: Return the influence on all queries together, one row.

        Returns:
            Scores ``[query, train]``; with ``k`` a ``KMostInfluentialResults(indices,
            influence_scores)``, ``[query, k]`` each; no more scores than that are held.

        Raises:
            MissingInputsError: If ``inputs`` is None.
            RetracError: If the data, a checkpoint or a gradient cannot be used.
        """
        arguments.check_influence(inputs, k)
        if self.diffusion_model is None:
            return super().influence(inputs, k, proponents, show_progress, aggregate)
        queries = as_examples_like(self._train, inputs)
        wanted = "proponents" if proponents else "opponents"
        text = f"perform computation for getting {wanted}. Processing training batches"
        if k is None:
            text = "compute influence for training batches"
        attributor = self._attributor(one_bar(self._text(text)) if show_progress else None)
        if k is None:
            scores = attributor.attribute(self._train, queries).values
            return scores.sum(0, keepdim=True) if aggregate else scores
        blocks = blocks_of(attributor, self._train, queries, aggregate)
        return KMostInfluentialResults(*running_top(blocks, k, proponents))

    def self_influence(
        self,
        inputs: Examples = None,
        show_progress: bool = False,
        outer_loop_by_checkpoints: bool = False,
        *,
        query_draws: Draws | None = None,
    ) -> Tensor:
        """Return the influence of samples on themselves, ``[sample]``.

        Args:
            inputs: The samples; the training set where None.
            show_progress: Show a progress bar.
            outer_loop_by_checkpoints: Changes nothing but the bars.
            query_draws: Timesteps and noise of a sample in its role as a query; with this object's
                own, the result is the diagonal of ``influence(train)``. Default: for TracIn those
                of its role as a training sample, so that its gradient meets itself; for ReTrac,
                where that would be one number for all, this object's own, a network pass each.

        Raises:
            RetracError: If the data, a checkpoint or a gradient cannot be used.
        """
        if self.diffusion_model is None:
            if query_draws is not None:
                raise arguments.needs_diffusion("query_draws")
            return super().self_influence(inputs, show_progress, outer_loop_by_checkpoints)
        nested = len(self.checkpoints) if outer_loop_by_checkpoints else None
        bars = bars_of_self_influence(self._text("compute"), nested)
        attributor = self._attributor(bars if show_progress else None)
        if query_draws is None and not self.meets_itself:
            query_draws = attributor.query_draws
        samples = self._train if inputs is None else as_examples_like(self._train, inputs)
        return attributor.self_influence(samples, query_draws)

    def compute_intermediate_quantities(
        self, inputs: Examples, aggregate: bool = False, *, test: bool = False
    ) -> Tensor:
        """Return vectors whose inner products are scores, ``[sample, parameters * checkpoints]``.

        ``f(queries, test=True) @ f(train).T == influence(queries)``. Both sides hold the *root* of
        the step size; ``TracInCP``'s own hold all of it, so their products are not its scores.

        Args:
            inputs: Queries, or training samples.
            aggregate: Return the sum of the vectors, as one row.
            test: Whether ``inputs`` are queries.

        Raises:
            RetracError: If a step size is negative, or the data or a gradient cannot be used.
        """
        if self.diffusion_model is None:
            return super().compute_intermediate_quantities(inputs, aggregate, test=test)
        embed = query_embeddings if test else train_embeddings
        return embed(self._attributor(None), as_examples_like(self._train, inputs), aggregate)

    def _attributor(self, bars: Bars | None) -> DiffusionAttributor:
        load = self.checkpoints_load_func
        files = (str, Path) if load is _load_flexible_state_dict else ()
        series = as_checkpoints(self.checkpoints, (Checkpoint, *files), self.model, load)
        return self._core(series, progress=bars or False)

    def _text(self, task: str) -> str:
        return f"Using {self.get_name()} to {task}"
