"""What reading a training run found out, and what that means for its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FOUND = "found"
"""Read off the run."""
NOT_RECORDED = "not recorded"
"""The run does not say; something was assumed instead."""
NOT_MODELLED = "not modelled"
"""Training did it, the loss of the attribution does not."""
CONTRADICTION = "contradiction"
"""Two records disagree, or one is known to be incomplete."""

UNUSABLE = "cannot be attributed"
"""Every command refuses the run as it is, and says what to do."""

KINDS = (FOUND, NOT_RECORDED, NOT_MODELLED, CONTRADICTION, UNUSABLE)


@dataclass(frozen=True)
class Finding:
    """One thing that is known, or is not known, of a run.

    Attributes:
        kind: One of ``KINDS``.
        subject: What it is about, such as ``"prediction type"``.
        text: What was found and, unless the kind is ``FOUND``, what it means for the result.
    """

    kind: str
    subject: str
    text: str

    def __str__(self) -> str:
        """Return the finding as a line."""
        return f"{self.kind}: {self.subject}: {self.text}"


def of_kind(findings: Sequence[Finding], *kinds: str) -> list[Finding]:
    """Return the findings of some kinds, in the order of ``KINDS``."""
    return [
        finding for kind in KINDS if kind in kinds for finding in findings if finding.kind == kind
    ]
