"""Refinement of localization maps by the image."""
