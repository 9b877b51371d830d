# Affinity labels by thresholds alone, which need no compiled package.
refinement = dict(
    labels=dict(type='threshold', background_threshold=0.4, foreground_threshold=0.7)
)
