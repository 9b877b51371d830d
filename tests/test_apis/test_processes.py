"""Two processes compute what one does with both batches."""

import subprocess
import sys
from pathlib import Path

import torch

WORKER = """
import sys
import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel
from mmengine.logging import MessageHub

import mmwsss.models
from mmwsss.registry import MODELS
from mmwsss.structures import WSSSDataSample

torch.set_num_threads(1)
rank, out = int(sys.argv[1]), sys.argv[2]
store = dist.FileStore(out + '/store', 2)
dist.init_process_group('gloo', store=store, rank=rank, world_size=2)
MessageHub.get_instance('run').update_info_dict(dict(seed=3, iter=5))


def make_model():
    torch.manual_seed(0)
    return MODELS.build(dict(
        type='ACRClassifier', num_classes=4,
        backbone=dict(
            type='AttentionViT', img_size=32,
            arch=dict(embed_dim=24, depth=2, num_heads=2, patch_size=8)),
        view=[
            dict(type='DihedralView', elements=('rot90', 'hflip', 'rot270')),
            dict(type='PatchHidingView', probability=0.3)],
        localization=dict(start_block=0)))


def losses_and_gradients(model, indices):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(8, 3, 32, 32, generator=generator)[indices]
    samples = [
        WSSSDataSample(metainfo=dict(sample_idx=i)).set_gt_label([i % 4, (i + 1) % 4])
        for i in indices]
    losses = model(images, samples, mode='loss')
    sum(losses.values()).backward()
    plain = getattr(model, 'module', model)
    gradients = {name: p.grad for name, p in plain.named_parameters()}
    return {name: loss.detach() for name, loss in losses.items()}, gradients


wrapped = MMDistributedDataParallel(
    make_model(), device_ids=None, broadcast_buffers=False)
joint = [5, 2, 7, 0, 3, 6, 1, 4]
losses, gradients = losses_and_gradients(wrapped, joint[rank::2])
for loss in losses.values():
    dist.all_reduce(loss)
    loss /= 2
if rank == 0:
    alone = losses_and_gradients(make_model(), joint)
    torch.save(dict(pair=(losses, gradients), alone=alone), out + '/found.pt')
dist.barrier()
dist.destroy_process_group()
"""


def test_losses_and_gradients_of_two_processes_equal_one(tmp_path):
    command = [sys.executable, '-c', WORKER]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path)],
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    found = torch.load(tmp_path / 'found.pt')
    for pair, alone in zip(found['pair'], found['alone']):
        assert pair.keys() == alone.keys()
        for name, expected in alone.items():
            # None here would be a parameter that no loss reaches.
            assert expected is not None and expected.abs().max() > 0, name
            torch.testing.assert_close(pair[name], expected, rtol=1e-5, atol=1e-6)
    losses = found['alone'][0]
    names = ['loss_activation', 'loss_affinity', 'loss_cls', 'loss_cls_view']
    assert sorted(losses) == names
