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
VISUALIZERS = root.Registry(
    'visualizer',
    scope='mmwsss',
    parent=root.VISUALIZERS,
    locations=['mmwsss.visualization.visualizer'],
)
VISBACKENDS = root.Registry(
    'vis_backend',
    scope='mmwsss',
    parent=root.VISBACKENDS,
    locations=['mmwsss.visualization.visualizer'],
)

# Nothing of ours lives in these; without them mmengine warns at every build that the
# scope is unknown there. Without a location it would look for a function of ours that
# registers all modules, as it does with packages that it knows by name.
HERE = ['mmwsss.registry']
RUNNERS = root.Registry('runner', scope='mmwsss', parent=root.RUNNERS, locations=HERE)
OPTIMIZERS = root.Registry(
    'optimizer', scope='mmwsss', parent=root.OPTIMIZERS, locations=HERE
)
OPTIM_WRAPPER_CONSTRUCTORS = root.Registry(
    'optimizer wrapper constructor',
    scope='mmwsss',
    parent=root.OPTIM_WRAPPER_CONSTRUCTORS,
    locations=HERE,
)
PARAM_SCHEDULERS = root.Registry(
    'parameter scheduler', scope='mmwsss', parent=root.PARAM_SCHEDULERS, locations=HERE
)
MODEL_WRAPPERS = root.Registry(
    'model wrapper', scope='mmwsss', parent=root.MODEL_WRAPPERS, locations=HERE
)
EVALUATOR = root.Registry(
    'evaluator', scope='mmwsss', parent=root.EVALUATOR, locations=HERE
)
LOG_PROCESSORS = root.Registry(
    'log processor', scope='mmwsss', parent=root.LOG_PROCESSORS, locations=HERE
)

VIEWS = root.Registry('view', scope='mmwsss', locations=['mmwsss.models.views'])
"""Second views of an image with the way back for attention (ACR, section 3)."""

ACCUMULATORS = root.Registry(
    'accumulator', scope='mmwsss', locations=['mmwsss.apis.accumulation']
)
"""Keepers of localization maps over the epochs of a training."""

REFINERS = root.Registry('refiner', scope='mmwsss', locations=['mmwsss.refiners'])
"""Localization maps, image and tags to a pseudo label."""
