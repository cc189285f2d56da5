"""Scores with known answers, and the plain-loop twins of the metrics."""

import torch

from retrac_plugin.metrics import Evidence

QUERIES, TRAIN = 6, 40


def scores(seed=0):
    return torch.randn(QUERIES, TRAIN, generator=torch.Generator().manual_seed(seed))


def evidence(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return Evidence(
        train_labels=torch.randint(3, (TRAIN,), generator=generator),
        query_labels=torch.randint(3, (QUERIES,), generator=generator),
        train_is_minority=torch.arange(TRAIN) % 5 == 0,
        query_is_minority=torch.arange(QUERIES) == 2,
        gradient_norms=torch.rand(3, TRAIN, generator=generator) + 0.1,
        self_influence=torch.linspace(0, 1, TRAIN)[torch.randperm(TRAIN, generator=generator)],
        query_train_index=torch.randperm(TRAIN, generator=generator)[:QUERIES],
        subsets=torch.rand(12, TRAIN, generator=generator) < 0.5,
        subset_losses=torch.rand(2, 12, QUERIES, generator=generator),
        left_out=torch.randperm(TRAIN, generator=generator)[:9],
        left_out_losses=torch.rand(2, 9, QUERIES, generator=generator),
        untrained=torch.randn(QUERIES, TRAIN, generator=generator),
        continued=torch.randperm(TRAIN, generator=generator)[:8],
        continued_changes=torch.randn(8, QUERIES, generator=generator),
    )


def permuted(known, order):
    """The same evidence with the training set in another order."""
    return Evidence(
        train_labels=known.train_labels[order],
        query_labels=known.query_labels,
        train_is_minority=known.train_is_minority[order],
        query_is_minority=known.query_is_minority,
        gradient_norms=known.gradient_norms[:, order],
        self_influence=known.self_influence[order],
        query_train_index=order.argsort()[known.query_train_index],
        subsets=known.subsets[:, order],
        subset_losses=known.subset_losses,
        left_out=order.argsort()[known.left_out],
        left_out_losses=known.left_out_losses,
        untrained=known.untrained[:, order],
        continued=order.argsort()[known.continued],
        continued_changes=known.continued_changes,
    )


def top_lists(values, k):
    """The top k of each query as sets, for scores without ties."""
    return [set(sorted(range(len(row)), key=row.__getitem__)[-k:]) for row in values.tolist()]


def counts(values, k):
    """How many top lists each training sample is in."""
    lists = top_lists(values, k)
    return [sum(sample in top for top in lists) for sample in range(values.shape[1])]
