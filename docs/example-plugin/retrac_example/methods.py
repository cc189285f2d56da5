"""What the hooks bring: a baseline that looks at no model, and a metric."""

import torch

from retrac_plugin import Scores
from retrac_plugin.data.examples import ExampleSource


class EdgeSimilarity:
    """Cosine similarity of vertical edges: what a method that looks at the model should beat."""

    def __init__(self, model, checkpoints, *, batch_size=64, device=None, **unused):
        self.batch_size, self.device = batch_size, device

    def attribute(self, train, queries):
        of_queries = self._unit(ExampleSource(queries, "queries"))
        return Scores(of_queries @ self._unit(ExampleSource(train, "train")).T)

    def _unit(self, source):
        blocks = [block.samples.diff(dim=-1).flatten(1) for block in source.blocks(self.batch_size)]
        return torch.nn.functional.normalize(torch.cat(blocks).to(self.device), dim=1)


def decisiveness(values, evidence):
    return ((values.amax(1) - values.mean(1)) / values.std(1)).mean().item()
