# The same chain without consistency, on the same budget.
_base_ = 'acr_embedded.py'
classifier = dict(
    options={'model.consistency.alpha': 0.0, 'model.consistency.beta': 0.0}
)
