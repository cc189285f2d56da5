"""What each of our metrics does not say, for the reader who sees only the page."""

_CAUTIONS = {
    "specificity": "Answers that differ need not be right: random scores reach almost 1.",
    "generally-influential": "Similar queries rightly share influences, so 0 is no goal.",
    "generally-influential-half": "Random scores get 0: few is not the same as right.",
    "hubness": "Depends on how many images and queries there are: compare only within this table.",
    "class-agreement": "An image of another class can be a true influence: this is no accuracy.",
    "minority-share": "Not 0 but the chance level is what a method blind to the minority gets.",
    "minority-recall": "Where pixels find the minority as well, likeness explains it.",
    "minority-auprc": "Chance is the share of the minority: read it beside that.",
    "norm-bias": "0 is unbiased, neither sign is better; it does not say which images matter.",
    "norm-bias-size": "0 is unbiased; an image that truly matters may also have large gradients.",
    "tracing-hit": "A copy is the easiest influence to find; generated images have no such answer.",
    "lds": "The noise of retraining bounds it from above: read it beside the ceiling.",
    "lds-squared": "Lists the same images as lds: what it gains is due to the readout.",
    "lds-largest-5%": "Lists the same images as lds: what it gains is due to the readout.",
    "leave-one-out": "The effect of one image is easily smaller than the noise of training.",
    "leave-one-out-continued": "Of the last stretch of training: what was learnt before stays.",
    "model-randomisation": "Random and constant scores get 0 too: it can only find faults.",
    "outliers-auroc": "Finds a planted minority: an odd sample need not be an influential one.",
    "outliers-auprc": "Chance is the share that is planted, not a half: read it beside that.",
    "tracing-mrr": "A copy is the easiest influence to find; generated images have no such answer.",
}


def caution(name: str) -> str:
    """Return what a metric does not say, or nothing where it is not one of ours.

    Args:
        name: The registered name; what follows ``@`` does not matter.
    """
    return _CAUTIONS.get(name.partition("@")[0], "")
