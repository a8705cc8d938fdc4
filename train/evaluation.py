"""Loss and accuracy on a test split."""

import torch
from torch import nn
from torch.nn import functional

from .data import Dataset, normalise
from .online import run
from .synapses import quantised_once

TEST_BATCH = 256


def evaluate(model: nn.Module, data: Dataset, time_steps: int, batch_size: int = TEST_BATCH) -> tuple[float, float]:
    """(mean cross-entropy of the logits averaged over T, accuracy of the logits summed over T), in eval mode."""
    loss, correct = sums_of_test(model, data, time_steps, batch_size, 0, 1)
    return loss / len(data), correct / len(data)


def sums_of_test(
    model: nn.Module, data: Dataset, time_steps: int, batch_size: int, rank: int, processes: int
) -> tuple[float, float]:
    """(summed cross-entropy, correct ones) of every ``processes``-th mini-batch, beginning with number ``rank``."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    loss = correct = 0.0
    with torch.no_grad(), quantised_once(model):
        for start in range(rank * batch_size, len(data), processes * batch_size):
            chosen = slice(start, start + batch_size)
            x = torch.from_numpy(normalise(data.inputs[chosen], data.preprocessing)).to(device)
            labels = torch.from_numpy(data.labels[chosen]).to(device)
            logits = run(model, x, time_steps).float().mean(0)
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            correct += int((logits.argmax(1) == labels).sum())
    model.train(was_training)
    return loss, correct
