"""Sees steps, checkpoints and resumes of scripts that use accelerate: the only import of it.

A step counts when the script counts it: when gradients were synchronised, also if a loss scaler
then skipped the update, whose step size is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from accelerate import Accelerator
from accelerate.data_loader import DataLoaderDispatcher, DataLoaderShard, SkipDataLoader
from accelerate.optimizer import AcceleratedOptimizer
from torch import nn
from torch.optim import Optimizer

from retrac_plugin.errors import InputError
from retrac_plugin.recording.patching import wrapped
from retrac_plugin.recording.stepping import learning_rate, watching_optimizers

LOADERS: list[type] = [DataLoaderShard, DataLoaderDispatcher, SkipDataLoader]

Original = Callable[..., Any]
Prepared = Callable[[nn.Module], None]
"""Called with each model that the script has accelerate prepare for training."""


class Training(Protocol):
    """What is told of a training."""

    def about_to_step(self, optimizer: Optimizer) -> None:
        """An optimiser is about to step."""

    def stepped(self, step_size: float, optimizer: Optimizer) -> None:
        """An optimiser step was done, with this learning rate."""

    def saved(self, directory: str) -> None:
        """A checkpoint is about to be saved."""

    def resumed(self, directory: str) -> None:
        """A checkpoint is about to be loaded."""

    def belongs_in(self, directory: str) -> None:
        """The script names the folder of its run."""


class AccelerateWatch:
    """What is done around accelerate's own methods."""

    def __init__(self, training: Training, prepared: Prepared) -> None:
        self.training, self.prepared = training, prepared
        self.stepping = False

    def step(self, original: Original, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Around ``AcceleratedOptimizer.step``."""
        synchronised, rate = optimizer.gradient_state.sync_gradients, learning_rate(optimizer)
        if synchronised:  # a loss scaler may skip the optimiser's own step
            self.training.about_to_step(optimizer.optimizer)
        self.stepping = True
        try:
            original(optimizer, *args, **kwargs)
        finally:
            self.stepping = False
        if synchronised:
            skipped = optimizer.step_was_skipped
            self.training.stepped(0.0 if skipped else rate, optimizer.optimizer)

    def construct(self, original: Original, accelerator: Any, *args: Any, **kwargs: Any) -> None:
        """Around ``Accelerator.__init__``."""
        original(accelerator, *args, **kwargs)
        _check_supported(accelerator)
        if accelerator.project_dir is not None:
            self.training.belongs_in(str(accelerator.project_dir))

    def prepare(
        self, original: Original, accelerator: Any, model: Any, *args: Any, **kw: Any
    ) -> Any:
        """Around ``Accelerator.prepare_model``."""
        self.prepared(model)
        return original(accelerator, model, *args, **kw)

    def save(
        self, original: Original, accelerator: Any, output_dir: Any = None, *args: Any, **kw: Any
    ) -> Any:
        """Around ``Accelerator.save_state``."""
        self.training.saved(str(output_dir))
        return original(accelerator, output_dir, *args, **kw)

    def load(
        self, original: Original, accelerator: Any, input_dir: Any = None, *args: Any, **kw: Any
    ) -> Any:
        """Around ``Accelerator.load_state``."""
        self.training.resumed(str(input_dir))
        return original(accelerator, input_dir, *args, **kw)


@contextmanager
def watching_accelerate(training: Training, prepared: Prepared) -> Iterator[None]:
    """Watch a training until the end of the ``with`` block."""
    watch = AccelerateWatch(training, prepared)
    with ExitStack() as stack:
        stack.enter_context(
            watching_optimizers(training.about_to_step, training.stepped, lambda: watch.stepping)
        )
        stack.enter_context(wrapped(AcceleratedOptimizer, "step", watch.step))
        stack.enter_context(wrapped(Accelerator, "__init__", watch.construct))
        stack.enter_context(wrapped(Accelerator, "prepare_model", watch.prepare))
        stack.enter_context(wrapped(Accelerator, "save_state", watch.save))
        stack.enter_context(wrapped(Accelerator, "load_state", watch.load))
        yield


def _check_supported(accelerator: Any) -> None:
    """Refuse what steps in another way than by the optimiser.

    Raises:
        InputError: If DeepSpeed or Megatron trains.
    """
    if accelerator.distributed_type.value in ("DEEPSPEED", "MEGATRON_LM"):
        raise InputError(
            f"retrac record: {accelerator.distributed_type.value} steps out of sight. Expected one "
            "process, or several by MULTI_GPU or FSDP; in a loop of your own, use retrac.Recorder"
        )
