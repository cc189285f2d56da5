"""What a trace lets be replayed, and what stands for the rest."""

from __future__ import annotations

from collections.abc import Sequence

from retrac_plugin.draws.recorded import start_of
from retrac_plugin.runs.findings import FOUND, NOT_RECORDED, UNUSABLE, Finding
from retrac_plugin.trace.trace import Trace


def describe_trace(trace: Trace | None) -> list[Finding]:
    """Return what a trace, or its absence, means."""
    if trace is None:
        text = "drawn anew as training would, so scores depend on the draw"
        return [Finding(NOT_RECORDED, "timesteps and noise", f"{text}: record the next training")]
    visits = f"{len(trace.ids)} visits of {trace.num_samples} samples"
    missing = [*_new_noise(trace), *_other_samples(trace)]
    replayed = "timesteps replayed" if trace.noise_is_new else "timesteps and noise replayed"
    how = replayed if missing else "replayed exactly"
    return [Finding(FOUND, "trace", f"{visits}, {how}"), *missing]


def describe_coverage(trace: Trace | None, steps: Sequence[int]) -> list[Finding]:
    """Return what the recorded visits mean for each checkpoint's interval.

    Args:
        trace: What training recorded, or None.
        steps: Of the run's checkpoints, oldest first.
    """
    if trace is None:
        return []
    return [finding for step in steps for finding in _of_interval(trace, steps, step)]


def _of_interval(trace: Trace, steps: Sequence[int], step: int) -> list[Finding]:
    start, subject = start_of(steps, step), f"checkpoint of step {step}"
    remedy = f"Leave the checkpoint out: --leave-out {step}, or run.without({step}) in Python"
    if step > trace.num_steps:
        text = (
            f"is later than what was recorded ({trace.num_steps} steps), so it is of another run "
            f"or of a stretch that was done again after a resume. {remedy}"
        )
        return [Finding(UNUSABLE, subject, text)]
    latest = trace.latest(step)
    seen = int(((latest >= 0) & (trace.steps[latest] >= start)).sum())
    if not seen:
        text = f"no visit between steps {start} and {step} was recorded. {remedy}"
        return [Finding(UNUSABLE, subject, text)]
    if seen < trace.num_samples:
        text = (
            f"{trace.num_samples - seen} of {trace.num_samples} samples were not visited between "
            f"steps {start} and {step}: their influence there is 0"
        )
        return [Finding(NOT_RECORDED, subject, text)]
    return []


def _new_noise(trace: Trace) -> list[Finding]:
    if not trace.noise_is_new:
        return []
    text = "drawn anew: the timesteps alone were kept. `retrac record --keep noise` keeps it"
    return [Finding(NOT_RECORDED, "noise", text)]


def _other_samples(trace: Trace) -> list[Finding]:
    """Return whether the dataset's samples stand for others that training saw."""
    if trace.keeps_samples:
        return []
    if trace.samples_change:
        text = (
            "they differed from visit to visit, augmented or drawn by an autoencoder, and the "
            "dataset's stand for them. `retrac record --keep samples` keeps them"
        )
    elif trace.samples_rounded:
        text = (
            "they were trained in half precision, the same at every visit, and the dataset's, not "
            "rounded, stand for them. `retrac record --keep samples` keeps them"
        )
    elif trace.num_seen_once:
        text = (
            f"{trace.num_seen_once} of {trace.num_samples} were seen once, so whether they differ "
            "from visit to visit is not known; the dataset's are taken"
        )
    else:
        return []
    return [Finding(NOT_RECORDED, "samples", text)]
