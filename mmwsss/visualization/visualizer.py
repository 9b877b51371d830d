"""mmengine's visualizer with the pictures of this field, and files that are whole."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from mmengine.dist import master_only
from mmengine.visualization import LocalVisBackend, Visualizer
from PIL import Image

from mmwsss.registry import VISBACKENDS, VISUALIZERS
from mmwsss.structures.observation import MemoryState, Observation
from mmwsss.utils.atomic import atomic_write_bytes
from mmwsss.utils.errors import ConfigError, DependencyError
from mmwsss.visualization.examples import Painter
from mmwsss.visualization.overlays import MAX_VALUE, Pixels
from mmwsss.visualization.predictions import figure_pixels
from mmwsss.visualization.training_figures import (
    affinity_figure,
    attention_figure,
    consistency_scalars,
    heat_map_figure,
    memory_figure,
    memory_scalars,
)

NEEDED = {
    'TensorboardVisBackend': ('torch.utils.tensorboard', 'tensorboard'),
    'WandbVisBackend': ('wandb', 'wandb'),
}
"""Backends of mmengine: the module that they import, the package that has it."""
SPARE_COLOURS = 'turbo'
"""Of classes of a data set without a palette."""


@VISUALIZERS.register_module()
class WSSSVisualizer(Visualizer):
    """Draws what ``TrainingPicturesHook`` is shown, and hands it to all backends.

    Args:
        name: By which mmengine finds it again.
        image: As of mmengine's.
        vis_backends: Configs of backends: ``AtomicLocalVisBackend``, mmengine's
            ``LocalVisBackend``, ``TensorboardVisBackend``, ``WandbVisBackend``.
        save_dir: Folder in which backends make their own; the Runner names it.

    Raises:
        DependencyError: if a backend's package is not installed.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        *,
        image: np.ndarray | None = None,
        vis_backends: Sequence[dict] | dict | None = None,
        save_dir: str | None = None,
    ) -> None:
        configs = [vis_backends] if isinstance(vis_backends, dict) else vis_backends
        for config in configs or ():
            if isinstance(config, dict):
                _check_installed(str(config['type']).rpartition('.')[2])
        super().__init__(name, image, vis_backends, save_dir)

    def painter(self) -> Painter:
        """Return who draws in the data set's class names and colours.

        Raises:
            ConfigError: if no data set was made known.
        """
        meta = self.dataset_meta or {}
        classes = meta.get('classes')
        if not classes:
            raise ConfigError(
                'WSSSVisualizer: the data set names no classes; give its METAINFO '
                "'classes', the background first"
            )
        return Painter(classes, meta.get('palette') or _palette(len(classes)))

    @master_only
    def add_observations(
        self,
        seen: Sequence[Observation],
        memory: MemoryState | None = None,
        *,
        step: int,
        epoch: int,
    ) -> None:
        """Draw what a classifier shows, as far as it has it.

        Pictures are ``heat_maps``, ``attention_views``, ``patch_affinity`` and
        ``memory_bank``; scalars are in ``views/`` and ``memory/``.

        Args:
            seen: One an image.
            memory: Of a classifier that has a memory bank.
            step: Iterations that were trained.
            epoch: Epochs likewise.
        """
        title = f'epoch {epoch}, iteration {step}'
        figures = {'heat_maps': heat_map_figure(self.painter(), seen, title=title)}
        if any(one.views is not None for one in seen):
            figures['attention_views'] = attention_figure(seen, title=title)
            figures['patch_affinity'] = affinity_figure(seen, title=title)
        scalars = consistency_scalars(seen)
        if memory is not None:
            figures['memory_bank'] = memory_figure(self.painter(), memory, title=title)
            scalars |= memory_scalars(memory)
        for name, figure in figures.items():
            self.add_image(name, figure_pixels(figure), step)
        if scalars:
            self.add_scalars(scalars, step)


@VISBACKENDS.register_module()
class AtomicLocalVisBackend(LocalVisBackend):
    """mmengine's ``LocalVisBackend`` whose pictures are whole or not there.

    mmengine's own passes over a picture that it cannot write, without a word.
    """

    def add_image(self, name: str, image: Pixels, step: int = 0) -> None:
        """Write a picture (H, W, 3) RGB as ``<name>_<step>.png``.

        Raises:
            ArtefactError: if it cannot be written.
        """
        folder = Path(self.experiment._img_save_dir)
        content = io.BytesIO()
        Image.fromarray(image).save(content, 'PNG')
        atomic_write_bytes(folder / f'{name}_{step}.png', content.getvalue())


def _check_installed(backend: str) -> None:
    module, package = NEEDED.get(backend, ('', ''))
    try:
        if module:
            import_module(module)
    except ImportError as error:
        raise DependencyError(
            f'{backend} needs {package}, which cannot be imported ({error}); run: pip '
            f'install {package}, or take it off visualizer.vis_backends'
        ) from error


def _palette(count: int) -> list[list[int]]:
    """Return a colour for each class, the background black."""
    shades = colormaps[SPARE_COLOURS](np.linspace(0, 1, max(1, count - 1)))
    found = np.rint(shades[:, :3] * MAX_VALUE).astype(int).tolist()
    return [[0, 0, 0], *found[: count - 1]]
