"""What the demo page answers to each thing that its reader does."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mmwsss.apis.demo import DemoSession, Findings, example_image, open_image
from mmwsss.apis.inferencer_inputs import InputImage, Pixels
from mmwsss.utils.errors import WSSSError

SHOWN_SIDE = 320
"""Of small images, about; the page would click amiss in what it enlarges itself."""
NO_IMAGE = 'Choose an image first: drop a file, or take one of the examples.'


@dataclass(frozen=True, eq=False)
class Answer:
    """What the page shows next.

    Args:
        status: One line for all readers, those of screen readers included.
        found: Of the image; None if nothing is known.
        error: Whether the line tells of something that is not possible.
        stays: Whether all else on the page stays as it is.
        picture: (H, W, 3) RGB, the image in the size that is clicked; None if it
            stays. Fields stay that a reader may be changing while the answer is made.
        ticks: Tags that become the ticked ones; None if they stay.
        place: Column and row that are entered; None if they stay.
    """

    status: str
    found: Findings | None = None
    error: bool = False
    stays: bool = False
    picture: Pixels | None = None
    ticks: tuple[str, ...] | None = None
    place: tuple[float | None, float | None] | None = None


class DemoEvents:
    """Answers of a session, each error as one line.

    Args:
        session: Of the network.
    """

    def __init__(self, session: DemoSession) -> None:
        self.session = session

    def choose_example(self, index: int, threshold: float) -> Answer:
        """Look at a generated image, whose first is number 0."""
        image, _ = example_image(index)
        return self._new(lambda: (image, ''), threshold)

    def forget(self) -> Answer:
        """Show nothing."""
        return Answer(NO_IMAGE)

    def choose_file(self, path: str, threshold: float) -> Answer:
        """Look at a file."""
        return self._new(lambda: open_image(path), threshold)

    def tick(
        self, found: Findings | None, tags: Sequence[str], threshold: float
    ) -> Answer:
        """Localize the classes that are ticked, in the place of those found."""
        return self._more(
            found, lambda old: self._look(old.image, threshold, tags=tags, old=old)
        )

    def find_tags(self, found: Findings | None, threshold: float) -> Answer:
        """Let the network find the tags, in the place of those ticked."""
        answer = self._more(
            found, lambda old: self._look(old.image, threshold, old=old)
        )
        return replace(answer, ticks=_ticks(answer))

    def move(self, found: Findings | None, threshold: float) -> Answer:
        """Make seeds and labels at another threshold."""
        return self._more(found, lambda old: self.session.at_threshold(old, threshold))

    def point(
        self, found: Findings | None, column: float | None, row: float | None
    ) -> Answer:
        """Show what attention joins to a point."""
        answer = self._more(
            found, lambda old: self.session.at_point(old, (column, row))
        )
        if answer.error:
            return answer
        place = f'column {column:g}, row {row:g}'
        return replace(answer, status=f'Affinity of {place}. {answer.status}')

    def click(self, found: Findings | None, column: float, row: float) -> Answer:
        """Show what attention joins to a pixel of the picture that is clicked."""
        if found is not None:
            factor = enlargement(found.prediction.image)
            column, row = column // factor, row // factor
        answer = self.point(found, column, row)
        return answer if answer.error else replace(answer, place=(column, row))

    def _new(
        self,
        opened: Callable[[], tuple[InputImage, str]],
        threshold: float,
    ) -> Answer:
        def act() -> Answer:
            image, done = opened()
            found = self._look(image, threshold)
            status = ' '.join(filter(None, [self.describe(found), done]))
            return Answer(
                status,
                found,
                picture=enlarged(found.prediction.image),
                ticks=() if self.session.missing_tags else found.prediction.tags,
                place=(None, None),
            )

        return _guarded(act, stays=False)

    def _look(
        self,
        image: InputImage,
        threshold: float,
        *,
        tags: Sequence[str] | None = None,
        old: Findings | None = None,
    ) -> Findings:
        found = self.session.look(image, tags=tags, threshold=threshold)
        if old is None or old.prediction.affinity is None:
            return found
        # what attention joins to a point does not depend on the tags
        prediction = replace(
            found.prediction,
            point=old.prediction.point,
            affinity=old.prediction.affinity,
        )
        return replace(found, prediction=prediction)

    def _more(
        self, found: Findings | None, change: Callable[[Findings], Findings]
    ) -> Answer:
        if found is None:
            return Answer(NO_IMAGE, error=True, stays=True)

        def act() -> Answer:
            new = change(found)
            return Answer(self.describe(new), new)

        return _guarded(act, stays=True)

    def describe(self, found: Findings) -> str:
        """Say in a sentence or two what was found."""
        old = found.prediction
        rows, columns = old.image.shape[:2]
        start = f'{old.name}, {columns} x {rows} pixels.'
        if self.session.missing_tags:
            return f'{start} The segmentor sees: {", ".join(old.tags) or "nothing"}.'
        named = ', '.join(f'{tag} {old.scores[tag]:.2f}' for tag in old.tags)
        if not named:
            least = self.session.model.tag_threshold
            return (
                f'{start} No class reaches a probability of {least:g}: tick a tag to '
                'see its map.'
            )
        how = 'Tags ticked' if old.tags_given else 'Tags found'
        return f'{start} {how}: {named}. Background threshold {found.threshold:.2f}.'


def _ticks(answer: Answer) -> tuple[str, ...] | None:
    return None if answer.found is None else answer.found.prediction.tags


def enlargement(pixels: Pixels) -> int:
    """Return how many times larger a small image is shown."""
    return max(1, SHOWN_SIDE // max(pixels.shape[:2]))


def enlarged(pixels: Pixels) -> Pixels:
    """Return an image with each pixel as a square of ``enlargement`` a side."""
    factor = enlargement(pixels)
    return pixels.repeat(factor, 0).repeat(factor, 1)


def _guarded(act: Callable[[], Answer], *, stays: bool) -> Answer:
    try:
        return act()
    except WSSSError as error:
        return Answer(str(error), error=True, stays=stays)
    # the page goes on whatever happens, and its server's console has the rest
    except Exception as error:
        traceback.print_exc()
        line = ' '.join(str(error).split())
        text = f'this did not work ({type(error).__name__}: {line}); try another image'
        return Answer(text, error=True, stays=stays)
