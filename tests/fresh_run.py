"""Trains ACR and RCA and makes seeds and labels, for a process of its own.

python tests/fresh_run.py FOLDER VOC_ROOT
"""

import hashlib
import json
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from pseudo_label_run import files_of, one_thread, write_config
from recorded_run import run, state_of
from tiny_rca import CLOCKS, write_rca_config
from tiny_run import without_slow_logging

from mmwsss.apis.pseudo_labels import choose_refiner, generate_labels
from mmwsss.apis.seeds import generate_seeds, load_tagged_images
from mmwsss.utils.digests import digest_tensors

EPOCHS = 2
HOOKS = [
    *CLOCKS,
    dict(type='EMAHook', momentum=0.1),
    dict(type='MapAccumulationHook', gate=0.0),
]
DIGESTS = 'digests.json'


def make_all(folder, root, name):
    """Return digests of all that comes of a method, by what it is."""
    make = write_rca_config(folder, root)
    config = make(name, hooks=HOOKS)
    if name == 'acr':
        config = Config.fromfile(write_config(folder, root))
        config.work_dir = str(folder / name)
    config.train_cfg.max_epochs = EPOCHS
    runner, seen = run(config)
    tensors, schedules = state_of(runner)
    found = dict(
        tensors=digest_tensors(tensors),
        seen=digest_of(seen),
        schedules=digest_of(schedules),
    )
    places = {part: folder / name / part for part in ('accumulated', 'seeds', 'labels')}
    images = load_tagged_images(config)
    checkpoint = f'{config.work_dir}/epoch_{EPOCHS}.pth'
    seeds = generate_seeds(config, checkpoint, images, places['seeds'])
    refiner = choose_refiner(config, name='pamr')
    generate_labels(seeds, images, refiner, places['labels'])
    for part, place in places.items():
        for file, content in files_of(place).items():
            found[f'{part}/{file}'] = hashlib.sha256(content).hexdigest()
    return found


def digest_of(value):
    return hashlib.sha256(repr(value).encode()).hexdigest()


def make_both(folder, root):
    """Return the digests of both methods."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch, one_thread(patch):
        without_slow_logging(patch)
        return {name: make_all(folder, root, name) for name in ('acr', 'rca')}


if __name__ == '__main__':
    place, data = map(Path, sys.argv[1:])
    digests = make_both(place, data)
    (place / DIGESTS).write_text(json.dumps(digests))
