# What PSA learns from: CAMs after a CRF, once with a strong background (alpha 4) and
# once with a weak one (16). Where they disagree the label is undecided.
refinement = dict(
    labels=dict(type='densecrf', preset='cam', alpha=4.0, background_alpha=16.0),
    jobs=2,
)
