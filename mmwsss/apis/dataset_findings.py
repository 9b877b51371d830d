"""What is wrong with a data set, and what that does to a training."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import NamedTuple

from mmwsss.datasets.inspection import ImageFacts

RARE = 10
"""Training images below which a class is called rare."""
TOGETHER, TOGETHER_LEAST = 0.9, 5
"""Share of a class's images that show another, and the images it takes to say so."""
SMALLEST_SIDE = 32
SIZE_STEPS = (128, 256, 512, 1024, 2048)
EXAMPLES = 5
SEVERITIES = ('error', 'warning', 'note')


class Kind(NamedTuple):
    """A kind of problem."""

    severity: str
    title: str
    effect: str
    """What it does to a training or its figures."""


KINDS = {
    'split': Kind('error', 'split cannot be read', 'no run starts with it'),
    'missing_image': Kind(
        'error', 'image missing', 'a run stops when it comes to the image'
    ),
    'corrupt_image': Kind(
        'error', 'image unreadable', 'a run stops when it comes to the image'
    ),
    'missing_mask': Kind('error', 'mask missing', 'an evaluation stops at the image'),
    'corrupt_mask': Kind('error', 'mask unreadable', 'an evaluation stops there'),
    'mask_size': Kind(
        'error', 'mask of another size than its image', 'an evaluation stops there'
    ),
    'mask_labels': Kind(
        'error',
        'mask value that is no class',
        'pixels are counted to no class or an evaluation stops',
    ),
    'model_classes': Kind(
        'error', "number of classes is not the model's", 'no run starts or ends well'
    ),
    'class_lists': Kind(
        'error',
        'splits have different class lists',
        'figures compare one class with another',
    ),
    'leak': Kind(
        'error',
        'picture of an evaluation split is in training under another name',
        'figures on that split are too high',
    ),
    'absent_class': Kind(
        'error',
        'class without a training image',
        'its maps are noise and pseudo labels without it are refused',
    ),
    'rare_class': Kind(
        'warning',
        f'class with fewer than {RARE} training images',
        'its maps follow what these few images share, background included',
    ),
    'constant_class': Kind(
        'warning',
        'class on every training image',
        'nothing tells it from the rest, so its maps cover anything',
    ),
    'inseparable': Kind(
        'warning',
        f'class that {TOGETHER:.0%} of another class appear with',
        'tags cannot tell the two apart, maps of one spread over the other',
    ),
    'tag_not_in_mask': Kind(
        'warning',
        'tag whose class has no pixel in the mask',
        'its map is taught by what is not there: false positives',
    ),
    'mask_not_in_tags': Kind(
        'warning',
        'class in the mask that is no tag',
        'teaches that the class is absent where it is: false negatives',
    ),
    'copies': Kind(
        'warning', 'picture several times in training', 'it weighs several times'
    ),
    'copies_disagree': Kind(
        'warning',
        'copies of a picture with different tags',
        'they teach opposite answers',
    ),
    'held_out': Kind(
        'warning',
        'image in training and in validation',
        'figures there are of images trained on, so they tell too much of good',
    ),
    'small_image': Kind(
        'warning',
        f'side shorter than {SMALLEST_SIDE} pixels',
        'a map has one or two cells there and locates nothing',
    ),
    'shared': Kind(
        'note',
        'image in training and in the test split',
        'figures there are of images trained on, as in the seed protocol',
    ),
}


class Finding(NamedTuple):
    """One kind of problem with all its cases."""

    kind: str
    where: str
    cases: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """Images that one or several loaders of a config read.

    Args:
        names: The loaders, such as ``train``.
        paths: Files of the images.
        classes: Foreground class names.
        tags: Foreground class indices by path; empty without tags.
        masks: Whether it reads masks.
    """

    names: tuple[str, ...]
    paths: tuple[str, ...]
    classes: tuple[str, ...]
    tags: Mapping[str, Sequence[int]] = field(default_factory=dict)
    masks: bool = False

    @property
    def name(self) -> str:
        """Name for reports."""
        return ', '.join(self.names)

    @property
    def trains(self) -> bool:
        """Whether a training reads it."""
        return 'train' in self.names

    @property
    def evaluates(self) -> bool:
        """Whether figures are measured on it."""
        return bool({'val', 'test'} & set(self.names))

    def counts(self) -> list[int]:
        """Return the number of images with each tag."""
        found = Counter(tag for tags in self.tags.values() for tag in tags)
        return [found[index] for index in range(len(self.classes))]


Facts = Mapping[str, ImageFacts]


def find_problems(
    splits: Sequence[Split], facts: Facts, *, model_classes: int | None = None
) -> list[Finding]:
    """Return all findings, errors first.

    Args:
        splits: Splits of one config.
        facts: Facts of each of their images, by path.
        model_classes: Foreground classes of the model, if known.
    """
    findings = [*_of_files(splits, facts), *_of_classes(splits, model_classes)]
    for split in splits:
        if split.trains:
            findings += [*_of_balance(split), *_of_copies(split, facts)]
            findings += _between(split, [s for s in splits if s.evaluates], facts)
    findings += contradictions(splits, facts)
    order = list(KINDS)
    return sorted(findings, key=lambda found: order.index(found.kind))


def _grouped(where: str, pairs: Iterable[tuple[str, str]]) -> list[Finding]:
    """Gather (kind, case) pairs."""
    cases = defaultdict(list)
    for kind, case in pairs:
        cases[kind].append(case)
    return [Finding(kind, where, tuple(found)) for kind, found in cases.items()]


def _of_files(splits: Sequence[Split], facts: Facts) -> list[Finding]:
    findings = []
    for split in splits:
        of_mask = {'missing_mask', 'corrupt_mask', 'mask_size', 'mask_labels'}
        pairs = [
            (kind, text)
            for path in split.paths
            for kind, text in facts[path].problems
            if split.masks or kind not in of_mask
        ]
        sizes = [(path, facts[path].size) for path in split.paths]
        pairs += [
            ('small_image', f'{path} ({size[0]}x{size[1]})')
            for path, size in sizes
            if 0 < min(size) < SMALLEST_SIDE
        ]
        findings += _grouped(split.name, pairs)
    return findings


def _of_classes(splits: Sequence[Split], model_classes: int | None) -> list[Finding]:
    findings = []
    for split in splits:
        count = len(split.classes)
        if model_classes is not None and count != model_classes:
            text = f'the model has {model_classes}, {split.name} has {count}'
            findings.append(Finding('model_classes', split.name, (text,)))
        if split.classes != splits[0].classes:
            text = (
                f'{splits[0].name}: {splits[0].classes}; {split.name}: {split.classes}'
            )
            findings.append(Finding('class_lists', split.name, (text,)))
    return findings


def _of_balance(split: Split) -> list[Finding]:
    if not split.tags:
        return []
    counts, total = split.counts(), len(split.tags)
    pairs = []
    for name, count in zip(split.classes, counts):
        if count == 0:
            pairs.append(('absent_class', name))
        elif count < RARE:
            pairs.append(('rare_class', f'{name} ({count})'))
        if count == total > 1:
            pairs.append(('constant_class', name))
    together = cooccurrence(split)
    for a, b in permutations(range(len(counts)), 2):
        if counts[a] >= TOGETHER_LEAST and together[a][b] >= TOGETHER * counts[a]:
            case = f'{split.classes[b]} on {together[a][b]} of {counts[a]}'
            pairs.append(('inseparable', f'{case} images of {split.classes[a]}'))
    return _grouped(split.name, pairs)


def cooccurrence(split: Split) -> list[list[int]]:
    """Return how many images have both tags, (C, C); the diagonal counts a tag."""
    size = len(split.classes)
    table = [[0] * size for _ in range(size)]
    for tags in split.tags.values():
        for a in tags:
            for b in tags:
                table[a][b] += 1
    return table


def _of_copies(split: Split, facts: Facts) -> list[Finding]:
    pairs = []
    for paths in _by_picture(split.paths, facts).values():
        if len(paths) > 1:
            tags = {tuple(split.tags.get(path, ())) for path in paths}
            kind = 'copies' if len(tags) == 1 else 'copies_disagree'
            pairs.append((kind, ' = '.join(paths)))
    return _grouped(split.name, pairs)


def _between(train: Split, others: Sequence[Split], facts: Facts) -> list[Finding]:
    pictures, known = _by_picture(train.paths, facts), set(train.paths)
    findings = []
    for split in others:
        if split is train:
            continue
        pairs = []
        for path in split.paths:
            copies = pictures.get(facts[path].digest, ())
            if path in known:
                kind = 'held_out' if 'val' in split.names else 'shared'
                pairs.append((kind, path))
            elif copies:
                pairs.append(('leak', f'{path} = {copies[0]}'))
        findings += _grouped(f'{train.name} and {split.name}', pairs)
    return findings


def _by_picture(paths: Sequence[str], facts: Facts) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for path in dict.fromkeys(paths):
        if facts[path].digest:
            found[facts[path].digest].append(path)
    return dict(found)


def contradictions(splits: Sequence[Split], facts: Facts) -> list[Finding]:
    """Return where tags and masks disagree; a mask counts wherever it is read."""
    findings = []
    for split in splits:
        pairs = []
        for path, tags in split.tags.items():
            shown = facts[path].tags(len(split.classes))
            if shown is None:
                continue
            for kind, surplus in (
                ('tag_not_in_mask', set(tags) - set(shown)),
                ('mask_not_in_tags', set(shown) - set(tags)),
            ):
                names = ', '.join(split.classes[index] for index in sorted(surplus))
                pairs += [(kind, f'{path}: {names}')] * bool(surplus)
        findings += _grouped(split.name, pairs)
    return findings


def size_histogram(facts: Iterable[ImageFacts]) -> dict[str, int]:
    """Return how many readable images have their longer side in which range."""
    edges = (0, *SIZE_STEPS)
    names = [f'{low}-{high - 1}' for low, high in zip(edges, edges[1:])]
    names.append(f'{edges[-1]} and more')
    counts = dict.fromkeys(names, 0)
    for image in facts:
        if longer := max(image.size):
            counts[names[sum(longer >= edge for edge in SIZE_STEPS)]] += 1
    return counts
