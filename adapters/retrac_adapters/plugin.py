"""What the diffusers adapter answers to retrac-plugin's hooks; imports nothing heavy by itself."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from retrac_plugin.extras import requires
from retrac_plugin.hookspecs import (
    CommandEntry,
    RunRequest,
    TaskEntry,
    WrappedModel,
    hookimpl,
)

if TYPE_CHECKING:
    from retrac_plugin.runs.run import Run


@hookimpl
def retrac_wrap_model(network: Any, scheduler: Any) -> WrappedModel | None:
    """Denoisers and noise schedulers of diffusers."""
    if sys.modules.get("diffusers") is None:  # then neither of them can come from there
        return None
    from retrac_adapters.denoising.denoisers import predict_with
    from retrac_adapters.denoising.schedules import read_schedule

    schedule = read_schedule(scheduler)
    predict = predict_with(network)
    if schedule is None or predict is None:
        return None
    return WrappedModel(predict, schedule)


@hookimpl
def retrac_register_commands() -> Iterable[CommandEntry]:
    """The demo, which trains a model of diffusers."""
    yield CommandEntry(
        "demo",
        "Train a small model on photographs and see which of them made its pictures.",
        _load_demo,
    )


@hookimpl
def retrac_register_tasks() -> Iterable[TaskEntry]:
    """Tasks whose models are of diffusers."""
    yield TaskEntry(
        "digits",
        "512 of scikit-learn's digits and photo patches; the ground truth is shipped",
        _load_digits,
        needs=("diffusers", "sklearn"),
    )
    yield TaskEntry(
        "cifar2",
        "1,024 of D-TRAK's automobiles and horses at 8x8; bring the data with --data",
        lambda: _load_cifar2("CIFAR2"),
        needs=("diffusers", "sklearn"),
    )
    yield TaskEntry(
        "cifar2-16",
        "cifar2 at 16x16; --regenerate makes its ground truth, in hours",
        lambda: _load_cifar2("CIFAR2_16"),
        needs=("diffusers", "sklearn"),
    )
    yield TaskEntry(
        "faces-lora",
        "an adapter fine-tuned on 60 photos of 12 people; bring the data with --data",
        _load_faces_lora,
        needs=("diffusers", "peft", "sklearn"),
    )
    yield TaskEntry(
        "faces-injected",
        "the same people's photos with six digits and six photo patches among them",
        _load_faces_injected,
        needs=("diffusers", "peft", "sklearn"),
    )
    yield TaskEntry(
        "cifar-mnist",
        "the paper's 5,000 airplanes and 200 zeros at 16x16; bring the data with --data",
        lambda: _load_cifar_mnist("REDUCED"),
        needs=("diffusers",),
    )
    yield TaskEntry(
        "cifar-mnist-l1",
        "cifar-mnist trained with the absolute error, as the paper's model is",
        lambda: _load_cifar_mnist("REDUCED_L1"),
        needs=("diffusers",),
    )
    yield TaskEntry(
        "cifar-mnist-whole",
        "the paper's 5,000 airplanes and 200 zeros at 32x32, for a GPU",
        lambda: _load_cifar_mnist("WHOLE"),
        needs=("diffusers",),
    )


@hookimpl
def retrac_read_run(request: RunRequest) -> Run | None:
    """Training runs as the diffusers example scripts and ``save_pretrained`` leave them."""
    from retrac_adapters.scripts.foreign import check_foreign
    from retrac_adapters.scripts.layout import find_layout

    if request.model is None:
        check_foreign(request.directory)
    layout = find_layout(request.directory)
    if layout is None:
        return None
    with requires(f"reading the run {str(request.directory)!r}", "diffusers"):
        from retrac_adapters.runs.reading import read_run
    return read_run(request, layout)


def _load_digits() -> Any:
    with requires("the digits task", "demo"):
        from retrac_adapters.tasks.digits.task import DIGITS
    return DIGITS


def _load_cifar2(size: str) -> Any:
    with requires("the CIFAR-2 task", "demo"):
        from retrac_adapters.tasks.cifar2 import task
    return getattr(task, size)


def _load_faces_lora() -> Any:
    with requires("the fine-tuning task", "all"):
        from retrac_adapters.tasks.faces_lora.task import FACES_LORA
    return FACES_LORA


def _load_faces_injected() -> Any:
    with requires("the task of source injection", "all"):
        from retrac_adapters.tasks.faces_injected.task import FACES_INJECTED
    return FACES_INJECTED


def _load_cifar_mnist(size: str) -> Any:
    with requires("the CIFAR-MNIST task", "diffusers"):
        from retrac_adapters.tasks.cifar_mnist import task
    return getattr(task, size)


def _load_demo() -> Any:
    from retrac_adapters.demo.command import demo

    return demo
