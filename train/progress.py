"""What a training run reports, and where: to the caller, a CSV file, TensorBoard."""

import csv
import dataclasses
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmdf.extras import require

__all__ = ["EpochMetrics", "Progress", "TensorBoardLog", "write_metrics"]


@dataclass(frozen=True)
class EpochMetrics:
    """One row of metrics.csv. Losses are means per sample, accuracies shares in 0..1.

    The test figures are None (empty in the file) after an epoch that was not tested, see TrainingConfig.test_every.
    ``learning_rate`` is that of the middle of the epoch, ``seconds`` includes the test.

    With random BP the training figures are those of the drawn time-steps' logits; the test sums the logits over T.
    With Mixup the training accuracy counts the label with the larger share. Epoch 0, without training figures, is a
    converted network before its training.
    """

    epoch: int
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    learning_rate: float
    seconds: float


class Progress:
    """What a training run reports; override what you want to see. With several processes only the first one reports."""

    def batch(self, epoch: int, samples: int, total: int, loss: float, accuracy: float) -> None:
        """After each mini-batch: ``samples`` of ``total`` done; loss and accuracy since the epoch's start."""

    def epoch(self, metrics: EpochMetrics) -> None:
        """After each epoch, its checkpoint written."""

    def warning(self, text: str) -> None:
        """What a person should look at while the run goes on."""

    def note(self, text: str) -> None:
        """What a person may want to know."""


class TensorBoardLog(Progress):
    """Writes every epoch's figures to ``folder`` as TensorBoard events, and passes everything on to ``inner``."""

    def __init__(self, folder: Path, inner: Progress) -> None:
        self.writer: Any = require("torch.utils.tensorboard", "the TensorBoard log").SummaryWriter(str(folder))
        self.inner = inner

    def batch(self, epoch: int, samples: int, total: int, loss: float, accuracy: float) -> None:
        self.inner.batch(epoch, samples, total, loss, accuracy)

    def warning(self, text: str) -> None:
        self.inner.warning(text)

    def note(self, text: str) -> None:
        self.inner.note(text)

    def epoch(self, metrics: EpochMetrics) -> None:
        for name, value in dataclasses.asdict(metrics).items():
            if name != "epoch" and value is not None:
                self.writer.add_scalar(name, value, metrics.epoch)
        self.writer.flush()
        self.inner.epoch(metrics)


def write_metrics(path: Path, history: Sequence[EpochMetrics]) -> None:
    """One CSV row per epoch, written beside and then renamed."""
    text = io.StringIO()
    rows = csv.DictWriter(text, [field.name for field in dataclasses.fields(EpochMetrics)], lineterminator="\n")
    rows.writeheader()
    rows.writerows(dataclasses.asdict(metrics) for metrics in history)
    beside = path.with_name(f".{path.name}")
    try:
        beside.write_text(text.getvalue())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
