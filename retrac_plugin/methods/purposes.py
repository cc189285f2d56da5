"""What each of our methods is good for, in a line for ``retrac list``. Imports no torch.

What is said of quality stands on the tables of the docs' results: 8x8 images, small networks.
"""

_PURPOSES = {
    "diffusion-tracin": "what training did, visit by visit; as published",
    "diffusion-retrac": "answers that differ from picture to picture; as published",
    "retrac-kernel": "predicting retraining: first of our tables, up to 20,000 training images",
    "retrac-ridge": "predicting retraining, for any number of training images",
    "retrac-paired": "ReTrac without a record of training",
    "activation-kernel": "a first answer: no backward pass",
    "unlearning": "a check of another kind: forward passes, one set for every query",
    "untrained-kernel": "a control: what a network sees before any training",
    "pixel-kernel": "a control: what pixel similarity alone predicts",
    "pixel-similarity": "a control: near copies",
    "feature-similarity": "a control: similarity in what varies most",
    "training-loss": "a control: images that the model fits badly, whatever the picture",
    "random": "a control: chance",
    "d-trak": "predicting retraining, as published; damping must be chosen",
    "d-trak-mean": "predicting retraining: first of the published methods in our tables",
    "trak": "predicting retraining, as published; damping must be chosen",
    "trak-layers": "comparing: TRAK with layers weighed by what tells images apart",
    "retrac-kernel-layers": "comparing: retrac-kernel with layers weighed likewise",
    "gradient-dot": "comparing: gradients as they are",
    "gradient-cosine": "comparing: gradients without their norms",
    "tracincp": "comparing: all checkpoints, timesteps shared",
    "gas": "comparing: all checkpoints, without norms",
    "retrac-per-draw": "comparing: another reading of ReTrac",
    "retrac-replay": "comparing: every visit instead of the last",
    "retrac-curvature": "comparing: what curvature adds to ReTrac",
    "relative-influence": "comparing: effects of samples that move the model little",
    "renormalised-influence": "comparing: TRAK without the training side's norms",
    "das": "comparing: the change of the prediction, without a sign",
    "journey-trak": "comparing: the picture's path through the sampler",
}


def purpose(name: str) -> str:
    """Return what a method is good for, or nothing where it is not one of ours."""
    if name.startswith("d-trak-"):
        return _PURPOSES.get(name, "comparing: D-TRAK with another output function")
    return _PURPOSES.get(name, "")
