"""ACR's attention and a CNN's class maps in one classifier, on one stem."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from mmwsss.models.backbones import AttentionViT
from mmwsss.models.backbones.patch_affinity import PatchAffinity
from mmwsss.models.classifiers.acr import ACRClassifier
from mmwsss.models.classifiers.base import ChooseTags, Localization, WSSSClassifier
from mmwsss.models.classifiers.cam import CAMClassifier
from mmwsss.models.classifiers.inference_views import restore_view
from mmwsss.registry import MODELS
from mmwsss.structures import WSSSDataSample
from mmwsss.structures.observation import MemoryState, ViewAttention
from mmwsss.utils.errors import ConfigError


@MODELS.register_module()
class ComposedClassifier(WSSSClassifier):
    r"""A CNN's class maps, spread along the attention of a transformer (not a paper's).

    ``ACRClassifier`` and a ``CAMClassifier`` or ``RCAClassifier`` share a hybrid stem
    and train together, :math:`L = L_{ACR} + w L_{maps}`. ACR spreads the gradients of
    its class token along the patch affinity S (eq. 9); here the CNN's maps O are spread
    instead, :math:`\max(0, O)\,S^k`, views of the image added up.

    Args:
        num_classes: Foreground classes.
        acr: Config of the ``ACRClassifier``, its backbone with a ``stem``.
        maps: Config of the ``CAMClassifier`` or ``RCAClassifier``, without a backbone:
            it reads the stem's features.
        maps_weight: w.
        steps: k; 0 leaves the CNN's maps as they are.
        data_preprocessor: Config of the preprocessor.
        init_cfg: mmengine's initialization.
        **settings: Passed whole to ``WSSSClassifier``.

    Raises:
        ConfigError: if the transformer has no stem, ``steps`` is negative or a
            classifier is of another kind.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        acr: dict,
        maps: dict,
        maps_weight: float = 1.0,
        steps: int = 2,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            num_classes,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
            **settings,
        )
        if steps < 0:
            raise ConfigError(f'steps must be at least 0, got {steps}')
        sizes = dict(num_classes=num_classes)
        self.acr = _build(ACRClassifier, acr | sizes)
        vit = self.acr.backbone
        if vit.stem is None:
            raise ConfigError(
                'ComposedClassifier needs features for its maps: give '
                'model.acr.backbone a stem'
            )
        stem = dict(backbone=dict(type='StemFeatures', vit=vit))
        self.maps = _build(CAMClassifier, maps | stem | sizes)
        self.maps_weight, self.steps = maps_weight, steps
        self.joint_losses = tuple(map(_renamed, self.maps.joint_losses))

    def logits(self, inputs: Tensor) -> Tensor:
        """Return the CNN's class logits (B, C) of images (B, 3, H, W)."""
        return self.maps.logits(inputs)

    def loss(
        self, inputs: Tensor, data_samples: list[WSSSDataSample]
    ) -> dict[str, Tensor]:
        """Return ACR's losses, and the CNN's as ``loss_maps_*``."""
        losses = self.acr.loss(inputs, data_samples)
        for name, loss in self.maps.loss(inputs, data_samples).items():
            losses[_renamed(name)] = self.maps_weight * loss
        return losses

    def localize(self, inputs: Tensor, choose_tags: ChooseTags) -> Localization:
        """Spread each view's class maps along its own affinity, and add them up."""
        vit = self.acr.backbone
        return self.maps.localize_spread(
            inputs,
            choose_tags,
            spread=self._spread,
            grid=vit.grid(inputs),
            stride=vit.stride,
        )

    def _spread(self, maps: Tensor, images: Tensor) -> Tensor:
        """Spread maps (B, C, h, w) along the attention of all blocks."""
        if self.steps == 0:
            return maps
        vit = self.acr.backbone
        affinity = PatchAffinity.for_device(images.device)
        tokens = vit.embed(images)
        for block in vit.vit.blocks:
            tokens = affinity.run_block(block, tokens)
        spread = restore_view(maps, 'identity', vit.grid(images)).flatten(2)
        for _ in range(self.steps):
            spread = affinity.spread(spread)
        return spread.unflatten(-1, vit.grid(images))

    def update_memory(self) -> None:
        """Write staged regions, as RCA does; every process must call it."""
        self.maps.update_memory()

    def refresh_prototypes(self) -> None:
        """Cluster the bank, as RCA does; every process must call it."""
        self.maps.refresh_prototypes()

    def memory_state(self) -> MemoryState | None:
        """Return what RCA's memory holds; None of CAM."""
        return self.maps.memory_state()

    def attend_views(
        self, inputs: Tensor, data_samples: list[WSSSDataSample]
    ) -> ViewAttention | None:
        """Return the attention of an image (1, 3, H, W) and of its second view."""
        return self.acr.attend_views(inputs, data_samples)


@MODELS.register_module()
class StemFeatures(BaseModule):
    """The stem of a transformer as a backbone that somebody else owns.

    Args:
        vit: The transformer; its parameters are not this module's.
        init_cfg: mmengine's initialization; there is nothing to initialize.
    """

    def __init__(self, vit: AttentionViT, *, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self._owner = (vit,)  # a tuple: a module in it is not registered here

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return the last features (B, D, h, w) of images (B, 3, H, W)."""
        features = self._owner[0].vit.patch_embed.backbone(images)
        return (features[-1] if isinstance(features, (list, tuple)) else features,)


def _renamed(name: str) -> str:
    return f'loss_maps_{name.removeprefix("loss_")}'


def _build(kind: type, config: dict) -> Any:
    found = MODELS.get(str(config.get('type')))
    if found is None or not issubclass(found, kind):
        raise ConfigError(
            f'ComposedClassifier expected a {kind.__name__}, got '
            f'{config.get("type")}: set the type of model.acr and model.maps'
        )
    return MODELS.build(config)
