# default_runtime.py with pictures of the training, in place of it: the same images
# behind each epoch. RCA and finished configs: docs/training_pictures.md.
_base_ = 'default_runtime.py'
vis_backends = [dict(type='AtomicLocalVisBackend')]
visualizer = dict(type='WSSSVisualizer', vis_backends=vis_backends)
default_hooks = dict(
    training_pictures=dict(type='TrainingPicturesHook', interval=1, images=4)
)
