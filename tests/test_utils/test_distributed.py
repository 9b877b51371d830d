import pytest
import torch
from joined_processes import run_joined
from torch.nn.parallel import DistributedDataParallel

from mmwsss.utils.distributed import gather_rows, global_positions

COUNTS = [(3, 2), (0, 2), (2, 0), (0, 0), (1, 1)]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool]


def rows_of(rank, counts, dtype=torch.float64):
    generator = torch.Generator().manual_seed(rank)
    return torch.randn((counts[rank], 4), generator=generator).to(dtype)


def shared_loss(rows, gathered, num_rows):
    """Each row's log-sum-exp over all rows: of this process alone, yet of all rows."""
    return (rows @ torch.cat(gathered).T).logsumexp(1).sum() / num_rows


def gradient_of(model, counts, rank, world_size):
    gathered_inputs = rows_of(rank, counts)
    features = model(gathered_inputs)
    gathered = gather_rows(features, differentiable=True)
    # a process's mean over its rows, weighted so that processes average to the whole
    loss = world_size * shared_loss(features, gathered, sum(counts))
    (loss + 0 * torch.cat(gathered).sum()).backward()
    return getattr(model, 'module', model).weight.grad


def linear():
    torch.manual_seed(3)
    return torch.nn.Linear(4, 4, bias=False).double()


def plain_rows_gradient(rank):
    """Only the first process's rows lead to parameters."""
    weight = torch.ones(2, 3, requires_grad=True)
    own = weight * 2 if rank == 0 else torch.full((1, 3), 5.0)
    first, second = gather_rows(own, differentiable=True)
    ((rank + 1) * first.sum() + second.sum()).backward()
    return weight.grad


def without_gradient(rank):
    rows = torch.ones(rank + 1, 3, requires_grad=True)
    with torch.no_grad():
        off = gather_rows(rows, differentiable=True)
    return [part.requires_grad for part in off + gather_rows(rows)]


def work(rank):
    values = [
        gather_rows(rows_of(rank, counts, dtype))
        for counts in COUNTS
        for dtype in DTYPES
    ]
    gradients = [
        gradient_of(DistributedDataParallel(linear()), counts, rank, 2)
        for counts in COUNTS
        if sum(counts)
    ]
    return dict(
        values=values,
        gradients=gradients,
        positions=global_positions(3),
        plain=plain_rows_gradient(rank),
        requires_grad=without_gradient(rank),
    )


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    return run_joined(work, tmp_path_factory.mktemp('pair'))


def test_rows_arrive_everywhere_in_order_of_rank(found):
    expected = [
        [rows_of(rank, counts, dtype) for rank in (0, 1)]
        for counts in COUNTS
        for dtype in DTYPES
    ]
    for result in found:
        for shares, wanted in zip(result['values'], expected, strict=True):
            assert [s.dtype for s in shares] == [w.dtype for w in wanted]
            assert [s.shape for s in shares] == [w.shape for w in wanted]
            assert all(map(torch.equal, shares, wanted))


def test_gradients_averaged_by_ddp_equal_one_process(found):
    counts = [pair for pair in COUNTS if sum(pair)]
    for index, pair in enumerate(counts):
        model = linear()
        features = model(torch.cat([rows_of(rank, pair) for rank in (0, 1)]))
        shared_loss(features, [features], sum(pair)).backward()
        assert model.weight.grad.abs().max() > 0.01
        for result in found:
            torch.testing.assert_close(
                result['gradients'][index], model.weight.grad, rtol=1e-12, atol=1e-13
            )


def test_processes_whose_rows_need_no_gradient_take_part(found):
    # 2 from the product, 1 + 2 from what both processes make of the rows
    assert torch.equal(found[0]['plain'], torch.full((2, 3), 6.0))
    assert found[1]['plain'] is None


def test_gradients_flow_on_request_alone(found):
    assert [result['requires_grad'] for result in found] == [[False] * 4] * 2


def test_positions_are_dealt_in_turn(found):
    assert found[0]['positions'].tolist() == [0, 2, 4]
    assert found[1]['positions'].tolist() == [1, 3, 5]


@pytest.mark.parametrize('differentiable', [False, True])
def test_one_process_keeps_its_rows(differentiable):
    rows = torch.ones(2, 3, requires_grad=True)
    gathered = gather_rows(rows, differentiable=differentiable)
    assert len(gathered) == 1 and gathered[0] is rows
    assert global_positions(3).tolist() == [0, 1, 2]
