"""Settings of tests by generated examples: the same ones in every run."""

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get('MMWSSS_FUZZ_EXAMPLES', '60'))
"""A test; a night may take thousands."""


def fuzz(examples=EXAMPLES):
    """Decorate a test; its examples depend on nothing but the test."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.filter_too_much,
        ],
    )
