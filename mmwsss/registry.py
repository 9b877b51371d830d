"""Child registries of mmengine's roots, scope ``mmwsss``.

``locations`` are imported when a registry is first searched, so a config needs
only ``default_scope = 'mmwsss'`` or ``custom_imports = dict(imports=['mmwsss'])``.
"""

from mmengine import registry as root

DATASETS = root.Registry(
    'dataset', scope='mmwsss', parent=root.DATASETS, locations=['mmwsss.datasets']
)
DATA_SAMPLERS = root.Registry(
    'data sampler',
    scope='mmwsss',
    parent=root.DATA_SAMPLERS,
    locations=['mmwsss.datasets.samplers'],
)
TRANSFORMS = root.Registry(
    'transform',
    scope='mmwsss',
    parent=root.TRANSFORMS,
    locations=['mmwsss.datasets.transforms'],
)
MODELS = root.Registry(
    'model', scope='mmwsss', parent=root.MODELS, locations=['mmwsss.models']
)
HOOKS = root.Registry(
    'hook', scope='mmwsss', parent=root.HOOKS, locations=['mmwsss.engine.hooks']
)
LOOPS = root.Registry(
    'loop', scope='mmwsss', parent=root.LOOPS, locations=['mmwsss.engine.loops']
)
OPTIM_WRAPPERS = root.Registry(
    'optimizer wrapper',
    scope='mmwsss',
    parent=root.OPTIM_WRAPPERS,
    locations=['mmwsss.engine.optim_wrappers'],
)
METRICS = root.Registry(
    'metric', scope='mmwsss', parent=root.METRICS, locations=['mmwsss.evaluation']
)

VIEWS = root.Registry('view', scope='mmwsss', locations=['mmwsss.models.views'])
"""Second views of an image with the way back for attention (ACR, section 3)."""

REFINERS = root.Registry('refiner', scope='mmwsss', locations=['mmwsss.refiners'])
"""Localization maps, image and tags to a pseudo label."""
