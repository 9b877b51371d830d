"""Digests depend on what they should and on nothing else."""

import hashlib
import json

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict

from mmwsss.utils.digests import digest_file, digest_json, digest_tensors
from mmwsss.utils.errors import ArtefactError, ConfigError


def test_json_is_sha256_of_sorted_json():
    value = {'b': (1, 2.5), 'a': None}
    text = json.dumps({'a': None, 'b': [1, 2.5]}, sort_keys=True)
    assert digest_json(value) == hashlib.sha256(text.encode()).hexdigest()
    assert digest_json(value) != digest_json({'b': (1, 2.5), 'a': 0})


def test_json_takes_configs_and_classes():
    plain = dict(type=torch.nn.Linear, model=dict(depth=2))
    assert digest_json(ConfigDict(plain)) == digest_json(plain)
    assert digest_json(plain) != digest_json({**plain, 'type': torch.nn.ReLU})


def test_json_refuses_other_objects():
    with pytest.raises(ConfigError, match='is no plain value; use plain values'):
        digest_json({'x': object()})


def test_file(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / 'file').write_bytes(content)
    assert digest_file(tmp_path / 'file') == hashlib.sha256(content).hexdigest()
    with pytest.raises(ArtefactError, match='cannot read .*absent'):
        digest_file(tmp_path / 'absent')


def test_tensors_against_numpy():
    weights = {'b': torch.arange(6.0).reshape(2, 3), 'a': torch.tensor(3)}
    content = b'a torch.int64 ()\n' + np.int64(3).tobytes()
    content += b'b torch.float32 (2, 3)\n' + np.arange(6, dtype=np.float32).tobytes()
    assert digest_tensors(weights) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    'other',
    [
        {'w': torch.zeros(2, 3).index_fill(0, torch.tensor([1]), 1e-30)},
        {'w': torch.zeros(3, 2)},
        {'w': torch.zeros(2, 3).half()},
        {'v': torch.zeros(2, 3)},
    ],
)
def test_tensors_tell_apart(other):
    assert digest_tensors(other) != digest_tensors({'w': torch.zeros(2, 3)})


def test_tensors_of_any_layout_and_type():
    matrix = torch.arange(6.0).reshape(2, 3)
    assert digest_tensors({'w': matrix.T.contiguous()}) == digest_tensors(
        {'w': matrix.T}
    )
    digest_tensors({'h': matrix.bfloat16(), 'b': matrix > 1, 'e': torch.zeros(0)})
