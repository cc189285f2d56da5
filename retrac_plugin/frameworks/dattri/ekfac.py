"""EK-FAC with dattri's estimates, its two faults fixed.

dattri multiplies by the matrix of eigenvectors where the transposed one belongs, and takes a bias
for the last column of a matrix whose rows it has shifted; both are in docs/guides/dattri.md. The
estimates of covariances and eigenvalues are dattri's; the product is written here from George et
al., "Fast Approximate Natural Gradient Descent in a Kronecker-factored Eigenbasis", NeurIPS 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from dattri.algorithm import IFAttributorEKFAC
from dattri.func.fisher import estimate_covariance, estimate_eigenvector, estimate_lambda
from torch import Tensor, nn
from torch.utils.data import DataLoader

from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.dattri.job import Job
from retrac_plugin.frameworks.dattri.linear_layers import linear_layers
from retrac_plugin.frameworks.side_loaders import Loader


class MendedEKFAC(IFAttributorEKFAC):  # type: ignore[misc]  # dattri is untyped
    """dattri's attributor with the right eigenbasis and the bias as a column."""

    def cache(self, full_train_dataloader: Loader, max_iter: int | None = None) -> None:
        """Estimate the factors' eigenvectors, in rows, and the eigenvalues, from single draws."""
        self._set_full_train_data(full_train_dataloader)
        with torch.enable_grad(), self._recorded():
            loss = partial(self.task.get_loss_func(), self.task.get_param()[0])
            options = (self.layer_cache, max_iter, self.device)
            covariances = estimate_covariance(loss, full_train_dataloader, *options)
            columns = estimate_eigenvector(covariances)
            self.cached_q = {name: (a.T, s.T) for name, (a, s) in columns.items()}
            self.cached_lambdas = estimate_lambda(
                loss, full_train_dataloader, self.cached_q, *options
            )

    def transform_test_rep(self, ckpt_idx: int, test_rep: Tensor) -> Tensor:
        """Return ``Q_s^T ((Q_s V Q_a^T) / (Lambda + damping)) Q_a`` of each layer's ``V``."""
        parts, start = [], 0
        for name, module in self.name_to_module.items():
            weight = test_rep[:, start : start + module.weight.numel()]
            start += module.weight.numel()
            matrix = weight.view(-1, *module.weight.shape)
            if module.bias is not None:
                bias = test_rep[:, start : start + module.bias.numel()]
                start += module.bias.numel()
                matrix = torch.cat([matrix, bias.unsqueeze(-1)], dim=-1)
            q_a, q_s = self.cached_q[name]
            damped = self.cached_lambdas[name] + self.damping
            solved = q_s.T @ ((q_s @ matrix @ q_a.T) / damped) @ q_a
            width = module.weight.shape[1]
            parts += [solved[..., :width].flatten(1), solved[..., width:].flatten(1)]
        return torch.cat(parts, dim=1)

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """Within, each layer's last input, ones appended for the bias, and output are kept."""

        def record(name: str, module: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> None:
            (entered,) = inputs
            if module.bias is not None:
                entered = torch.cat([entered, torch.ones_like(entered[..., :1])], dim=-1)
            output.retain_grad()
            self.layer_cache[name] = entered, output

        handles = [
            module.register_forward_hook(partial(record, name))
            for name, module in self.name_to_module.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def ekfac(job: Job, *, relative_damping: float) -> Tensor:
    """EK-FAC over the linear layers whose input is a vector for each sample, ``[train, query]``.

    The damping is ``relative_damping`` times the mean eigenvalue. Sequences, such as what
    attention layers take, dattri's estimate cannot read.
    """
    single = DataLoader(job.train.by_draw(), batch_size=job.core.setting.batch_size)
    names = _vector_layers(job, next(iter(single)))
    attributor = MendedEKFAC(job.task, module_name=names, device=job.device)
    attributor.cache(single)
    eigenvalues = torch.cat([part.flatten() for part in attributor.cached_lambdas.values()])
    attributor.damping = relative_damping * float(eigenvalues.mean())
    return attributor.attribute(  # type: ignore[no-any-return]
        train_dataloader=job.train.loader(), test_dataloader=job.queries.loader()
    )


def _vector_layers(job: Job, batch: list[Tensor]) -> list[str]:
    """Return the names of the linear layers that see one vector for each sample of the batch.

    Raises:
        InputError: If there is none.
    """
    network, found = job.task.get_model(), []

    def note(name: str, _: nn.Module, inputs: tuple[Tensor]) -> None:
        if inputs[0].shape[:-1] == batch[0].shape[:1]:
            found.append(name)

    linear = linear_layers(network)
    handles = [m.register_forward_pre_hook(partial(note, name)) for name, m in linear.items()]
    parameters, _ = job.task.get_param()
    job.task.get_loss_func()(parameters, [part.to(job.device) for part in batch])
    for handle in handles:
        handle.remove()
    if not found:
        raise InputError(
            f"EK-FAC sees linear layers whose input is a vector, and {type(network).__name__} has "
            f"none: {len(linear)} linear layers, none of them with such an input"
        )
    return list(dict.fromkeys(found))
