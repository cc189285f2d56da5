"""A convolution trained so well that what is left of its gradient is smaller than its terms."""

import torch
from torch.nn import functional


def well_trained():
    """One convolution, its weight next to the best one for two pictures: all but 0 cancels."""
    torch.manual_seed(0)
    images = torch.randn(2, 1, 24, 24, dtype=torch.float64)
    targets = torch.randn(2, 1, 22, 22, dtype=torch.float64)
    patches = functional.unfold(images, 3).transpose(1, 2)
    importance = torch.tensor([1.0, 0.5], dtype=torch.float64).sqrt()[:, None, None]
    sides = ((patches * importance).flatten(0, 1), (targets.flatten(2).mT * importance))
    best = torch.linalg.lstsq(sides[0], sides[1].flatten(0, 1)).solution
    weight = best.T.view(1, 1, 3, 3) + 1e-3 * torch.randn(1, 1, 3, 3, dtype=torch.float64)
    batch = {"x": images.float(), "y": targets.float()}
    return {"weight": weight.float()}, batch


def losses(parameters, batch):
    error = functional.conv2d(batch["x"], parameters["weight"]) - batch["y"]
    return error.square().flatten(1).mean(1)
