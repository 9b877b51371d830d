"""Scenes of the embedded data set: image, exact label map and tags from a key."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmwsss.datasets.synthetic.classes import (
    CLASSES,
    COMPANIONS,
    DISTRACTORS,
    ObjectClass,
    Part,
)
from mmwsss.datasets.synthetic.geometry import Array
from mmwsss.datasets.synthetic.textures import TEXTURES, smooth_noise
from mmwsss.utils.randomness import counted_seed

IGNORE = 255
SPLITS = ('train', 'val', 'test')

OBJECT_COUNTS = (0.40, 0.42, 0.18)  # probability of 1, 2, 3 objects
DISTRACTOR_COUNTS = (0.35, 0.40, 0.25)  # probability of 0, 1, 2 distractors
SHRINK = (1.0, 0.84, 0.72)  # scale of objects when there are 1, 2, 3
SCALE = (0.27, 0.36)  # unit of an object, in image sizes
DISTRACTOR_SCALE = (0.07, 0.14)
HOME_PROBABILITY = 0.6
COMPANION_PROBABILITY = 0.5
TOUCH_PROBABILITY = 0.5
TOUCH_GAP = 0.02  # two objects nearer than this touch, in image sizes
MOST_HIDDEN = 0.1  # of an object, by one placed later
TRIES = 25
CHECK_STEP = 4  # placement is checked on each fourth pixel
COLOUR_JITTER = 0.05
PIXEL_NOISE = 0.02
REACH = (-1.0, 1.1)  # of an object along its axis, in its units
RADIUS = 1.4  # of a disc round any object or distractor, in its units


@dataclass(frozen=True)
class Pose:
    """Where an object lies: centre and unit in pixels, direction in radians."""

    centre: tuple[float, float]
    scale: float
    angle: float

    def to_object(self, points: Array) -> Array:
        """Turn (..., 2) pixel coordinates (x, y) into coordinates of the object."""
        offset = points - np.asarray(self.centre)
        axis = np.array([np.cos(self.angle), np.sin(self.angle)])
        along, across = offset @ axis, offset @ np.array([-axis[1], axis[0]])
        return np.stack([along, across], axis=-1) / self.scale

    def window(self, size: int) -> tuple[slice, slice]:
        """Return the rows and columns of the image that the object can reach."""
        reach = RADIUS * self.scale + 1
        low = [max(0, int(at - reach)) for at in self.centre]
        high = [min(size, int(at + reach) + 1) for at in self.centre]
        return slice(low[1], high[1]), slice(low[0], high[0])

    def to_image(self, along: float) -> Array:
        """Return the pixel coordinates of the point (along, 0) of the object."""
        axis = np.array([np.cos(self.angle), np.sin(self.angle)])
        return np.asarray(self.centre) + along * self.scale * axis


@dataclass(frozen=True)
class Scene:
    """An image (H, W, 3) uint8, its labels (H, W) uint8 and tags (names, in order).

    Labels count the background as 0; 255 marks the pixels an outline passes through.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]
    tags: tuple[str, ...]


def draw_scene(seed: int, split: str, index: int, size: int) -> Scene:
    """Draw one image of the embedded data set.

    Args:
        seed: Seed of the data set, >= 0.
        split: One of ``SPLITS``.
        index: Index in the split; the main object is of class ``index`` modulo
            the number of classes, so that every run of images is balanced.
        size: Height and width in pixels.

    Returns:
        The scene; it depends on the arguments alone.

    Raises:
        ValueError: if the split is unknown.
    """
    if split not in SPLITS:
        raise ValueError(f'split: expected one of {SPLITS}, got {split!r}')
    key = counted_seed(seed, SPLITS.index(split), index)
    random = np.random.Generator(np.random.PCG64(key))
    members = choose_classes(CLASSES[index % len(CLASSES)], random)
    placed = place_objects(members, size, random)
    points = pixel_centres(size)
    canvas = draw_background(members[0], size, random)
    label = np.zeros((size, size), dtype=np.uint8)
    draw_distractors(canvas, points, random)
    for item, pose in placed:
        draw_object(canvas, item, pose, points, random)
        mark_label(label, item, CLASSES.index(item) + 1, pose, points)
    canvas *= 0.85 + 0.3 * smooth_noise(size, 2, random)[..., None]
    canvas += PIXEL_NOISE * random.standard_normal(canvas.shape)
    image = np.rint(255 * canvas.clip(0, 1)).astype(np.uint8)
    present = {item.name for item, _ in placed}
    tags = tuple(item.name for item in CLASSES if item.name in present)
    return Scene(image, label, tags)


def pixel_centres(size: int, step: int = 1) -> Array:
    """Return the (x, y) centres of each ``step``-th pixel, (n, n, 2)."""
    axis = np.arange(0, size, step) + 0.5
    return np.stack(np.meshgrid(axis, axis), axis=-1)


def choose_classes(
    first: ObjectClass, random: np.random.Generator
) -> list[ObjectClass]:
    """Choose the scene's objects: ``first`` and none, one or two others."""
    by_name = {item.name: item for item in CLASSES}
    members = [first]
    for _ in range(random.choice(len(OBJECT_COUNTS), p=OBJECT_COUNTS)):
        other = CLASSES[random.integers(len(CLASSES))]
        friend = COMPANIONS.get(first.name)
        if friend and random.random() < COMPANION_PROBABILITY:
            other = by_name[friend]
        members.append(other)
    return members


def place_objects(
    members: list[ObjectClass], size: int, random: np.random.Generator
) -> list[tuple[ObjectClass, Pose]]:
    """Give each object a pose; one that finds no room is left out."""
    points = pixel_centres(size, CHECK_STEP)
    shrink = SHRINK[len(members) - 1]
    placed: list[tuple[ObjectClass, Pose]] = []
    for item in members:
        touch = random.random() < TOUCH_PROBABILITY
        for _ in range(TRIES):
            scale = size * shrink * random.uniform(*SCALE)
            x, y = random.uniform(0.2 * size, 0.8 * size, 2)
            pose = Pose((x, y), scale, random.uniform(0, 2 * np.pi))
            if _inside(pose, size) and _fits(item, pose, placed, points, touch):
                placed.append((item, pose))
                break
    return placed


def _inside(pose: Pose, size: int) -> bool:
    ends = np.stack([pose.to_image(along) for along in REACH])
    return bool((ends >= 0).all() and (ends <= size).all())


def _fits(
    item: ObjectClass,
    pose: Pose,
    placed: list[tuple[ObjectClass, Pose]],
    points: Array,
    touch: bool,
) -> bool:
    """Check that earlier objects stay visible, and the gap that was asked for."""
    distance = item.outline(pose.to_object(points)) * pose.scale
    gap = TOUCH_GAP * len(points) * CHECK_STEP
    nearest = np.inf
    for other, its in placed:
        local = its.to_object(points)
        body = other.outline(local) <= 0
        marker = other.marker_outline(local) <= 0
        hidden = (distance <= 0) & body
        if (hidden & marker).any() or hidden.sum() > MOST_HIDDEN * body.sum():
            return False
        nearest = min(nearest, float(distance[body].min(initial=np.inf)))
    return not placed or (nearest <= gap) == touch


def draw_background(item: ObjectClass, size: int, random: np.random.Generator) -> Array:
    """Draw a texture, often the home of the main object, (size, size, 3) in [0, 1]."""
    name = sorted(TEXTURES)[random.integers(len(TEXTURES))]
    if item.home and random.random() < HOME_PROBABILITY:
        name = item.home
    tint = random.uniform(-COLOUR_JITTER, COLOUR_JITTER, 3)
    return TEXTURES[name](size, random) + tint


def draw_distractors(canvas: Array, points: Array, random: np.random.Generator) -> None:
    """Draw things of no class, in any colour, onto the canvas."""
    size = len(canvas)
    for _ in range(random.choice(len(DISTRACTOR_COUNTS), p=DISTRACTOR_COUNTS)):
        shape = DISTRACTORS[random.integers(len(DISTRACTORS))]
        x, y = random.uniform(0, size, 2)
        scale = size * random.uniform(*DISTRACTOR_SCALE)
        pose = Pose((x, y), scale, random.uniform(0, 2 * np.pi))
        red, green, blue = random.random(3)
        _blend(canvas, Part(shape, (red, green, blue)), pose, points, random)


def draw_object(
    canvas: Array,
    item: ObjectClass,
    pose: Pose,
    points: Array,
    random: np.random.Generator,
) -> None:
    """Draw an object, body first, onto the canvas."""
    for part in (item.body, *item.marker):
        _blend(canvas, part, pose, points, random)


def _blend(
    canvas: Array, part: Part, pose: Pose, points: Array, random: np.random.Generator
) -> None:
    window = pose.window(len(canvas))
    local = pose.to_object(points[window])
    colour = part.colour + random.uniform(-COLOUR_JITTER, COLOUR_JITTER, 3)
    shade = 1 + 0.15 * local[..., 1]
    if part.stripes:
        shade = shade + 0.16 * np.sign(np.sin(2 * np.pi * part.stripes * local[..., 0]))
    cover = np.clip(0.5 - part.distance(local) * pose.scale, 0, 1)[..., None]
    canvas[window] += cover * (colour * shade[..., None] - canvas[window])


def mark_label(
    label: NDArray[np.uint8], item: ObjectClass, value: int, pose: Pose, points: Array
) -> None:
    """Write an object's label, and 255 where its outline passes through a pixel."""
    window = pose.window(len(label))
    distance = item.outline(pose.to_object(points[window])) * pose.scale
    label[window][distance < 0.5] = IGNORE
    label[window][distance <= -0.5] = value
