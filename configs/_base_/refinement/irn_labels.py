# What IRN learns from: CAMs after a CRF that takes the best label alone, once with the
# background at 0.30 and once at 0.05. Where they disagree the label is undecided.
refinement = dict(
    labels=dict(
        type='densecrf',
        preset='irn',
        certainty=0.7,
        background_threshold=0.05,
        foreground_threshold=0.30,
    ),
    jobs=2,
)
