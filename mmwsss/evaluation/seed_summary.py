"""What a seed histogram says under each protocol."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmwsss.functional.seeds import (
    ClassRates,
    class_rates,
    mean_over_occurring,
    otsu_threshold,
    score_counts,
    threshold_curve,
)

PERCENT = 100.0


@dataclass(frozen=True)
class SeedSource:
    """Where the figures come from.

    Attributes:
        split: Name or file of the image list.
        extra_supervision: What was used besides image tags, e.g. saliency.
        num_images: Images counted.
        num_pixels: Pixels judged.
        num_ignored: Pixels left out by the ground truth.
    """

    split: str | None
    extra_supervision: str | None
    num_images: int
    num_pixels: int
    num_ignored: int


class SeedSummary:
    """The whole curve of a histogram, and the threshold that each protocol takes.

    ``best`` is an oracle, the highest mIoU over all classes (the papers' protocol);
    ``fixed`` was named beforehand; ``gt_free`` is Otsu's on the scores of all pixels,
    for which no mask is read.

    Args:
        histogram: (C, C + 1, T + 1) int64 of ``seed_histogram``.
        thresholds: T thresholds as named by the user.
        classes: C names, the background first.
        fixed_index: Place of the fixed threshold in ``thresholds``, if any.
    """

    def __init__(
        self,
        histogram: Tensor,
        *,
        thresholds: tuple[float, ...],
        classes: tuple[str, ...],
        fixed_index: int | None = None,
    ) -> None:
        self.thresholds = thresholds
        self.classes = classes
        self.curve = threshold_curve(histogram)
        self.rates = ClassRates(*(PERCENT * rate for rate in class_rates(self.curve)))
        grid = torch.tensor(thresholds, dtype=torch.float32)
        self.miou = self.rates.iou.mean(1)
        self.index = {'best': int(self.miou.argmax())}
        if fixed_index is not None:
            self.index['fixed'] = fixed_index
        self.index['gt_free'] = otsu_threshold(score_counts(histogram), grid)

    def curves(self) -> dict[str, Tensor]:
        """Return the means over classes at every threshold, (T,) in percent.

        ``mIoU`` is over all classes of the data set, the others over those that are
        predicted or labelled anywhere.
        """
        rates = {
            'mIoU_occurring': self.rates.iou,
            'mPrecision': self.rates.precision,
            'mRecall': self.rates.recall,
            'mFP': self.rates.fp_share,
            'mFN': self.rates.fn_share,
        }
        means = {
            name: mean_over_occurring(rate, self.curve) for name, rate in rates.items()
        }
        return {'mIoU': self.miou, **means}

    def scalars(self) -> dict[str, float]:
        """Return every curve's value under every protocol, and the thresholds."""
        scalars = {}
        curves = self.curves()
        for protocol, index in self.index.items():
            scalars[f'threshold_{protocol}'] = self.thresholds[index]
            for name, curve in curves.items():
                scalars[f'{name}_{protocol}'] = curve[index].item()
        return scalars

    def class_columns(self, protocol: str) -> dict[str, list[float]]:
        """Return each class's rates in percent at a protocol's threshold."""
        names = ('IoU', 'precision', 'recall', 'FP', 'FN')
        index = self.index[protocol]
        return {name: rate[index].tolist() for name, rate in zip(names, self.rates)}
