"""The hooks. Imports nothing heavy, so that ``retrac --help`` stays fast."""

from importlib import import_module

from retrac_plugin import AttributorEntry, MetricEntry, WrappedModel, hookimpl


def lazily(name):
    return lambda: getattr(import_module("retrac_example.methods"), name)


@hookimpl
def retrac_register_attributors():
    yield AttributorEntry("edge-similarity", "cosine of edges", lazily("EdgeSimilarity"))


@hookimpl
def retrac_register_metrics():
    summary = "height of the best score over the mean, in standard deviations"
    yield MetricEntry("decisiveness", summary, lazily("decisiveness"))


@hookimpl
def retrac_wrap_model(network, scheduler):
    """Denoisers that want a noise level between 0 and 1 where others want a timestep."""
    if not getattr(network, "takes_noise_level", False):
        return None

    def predict(call, noisy, timesteps, conditions):
        return call(noisy, timesteps / scheduler.num_timesteps, **conditions)

    return WrappedModel(predict, scheduler)
