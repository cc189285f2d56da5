"""The errors of this package: each says what, what was expected, what was got, and what to do."""


class RetracError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(RetracError, ValueError):
    """An argument, a dataset or an example is not what the method needs."""


class CheckpointError(RetracError):
    """A checkpoint cannot be read safely, or does not fit the network."""


class TraceError(RetracError):
    """A training trace does not fit the dataset or the checkpoints."""


class GradientError(RetracError):
    """A loss or a gradient cannot be used."""


class OutputError(RetracError, OSError):
    """What was made cannot be written: no such place, no right to, or the disk is full."""


class OutOfMemoryError(RetracError, MemoryError):
    """A job does not fit into the memory that there is."""


class PluginError(RetracError):
    """A plugin is unknown, clashes with another one, or answered nonsense."""


class MissingDependencyError(RetracError, ImportError):
    """An optional dependency is not installed."""


class UnnamedDataError(InputError):
    """The training set is not known: the run does not name it, or not a folder that is here."""
