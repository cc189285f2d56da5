"""The formulas of the two methods as plain text, and what their letters mean."""

TRACIN = "τ(q, i) = Σₖ ηₖ ⟨ gᵢ , 1/|T| Σₜ ḡₜ(q) ⟩"
"""Diffusion-TracIn."""

RETRAC = "R(q, i) = Σₖ ηₖ ⟨ gᵢ / ‖gᵢ‖ , 1/|T| Σₜ ḡₜ(q) / ‖ḡₜ(q)‖ ⟩"
"""Diffusion-ReTrac: every gradient at length one."""

SYMBOLS = (
    "q: the query; i: a training image; k: a checkpoint, with step size ηₖ; gᵢ: the gradient of "
    "the training image's loss, at its own timestep and noise; ḡₜ(q): the gradient of the query's "
    "loss at timestep t, averaged over noise; T: the query's timesteps."
)
"""The letters of both."""
