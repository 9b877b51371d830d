"""Models; importing the package registers all of them."""

from mmwsss.models import backbones, classifiers, losses, views

__all__ = ['backbones', 'classifiers', 'losses', 'views']
