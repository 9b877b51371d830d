"""K-means against every partition of few rows, and scikit-learn's results."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from mmwsss.functional import clustering
from mmwsss.functional.clustering import INITS, kmeans

REFERENCE = Path(__file__).parents[1] / 'data/rca_ops.npz'


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def cluster(rows, valid=None, seed=0, **settings):
    if valid is None:
        valid = torch.ones(rows.shape[:2], dtype=torch.bool)
    return kmeans(rows, valid, generator=generator(seed), **settings)


def ordered(centres):
    """Rows in lexicographic order."""
    return sorted(centres.tolist())


def best_partition(rows, clusters, spherical=False):
    """Least inertia over every assignment of the rows, and its centres."""
    best, centres = float('inf'), None
    for labels in itertools.product(range(clusters), repeat=len(rows)):
        labels = np.array(labels)
        if len(set(labels)) < clusters:
            continue
        means = np.stack([rows[labels == c].mean(0) for c in range(clusters)])
        if spherical:
            means /= np.linalg.norm(means, axis=1, keepdims=True)
        inertia = ((rows - means[labels]) ** 2).sum()
        if inertia < best:
            best, centres = inertia, means
    return best, centres


def blobs(classes=3, size=12, clusters=4, channels=5):
    """Rows around centres far apart, shuffled, with slots that are not valid."""
    middles = 30 * random(classes, clusters, channels, seed=1)
    rows = middles.repeat(1, size // clusters, 1) + random(classes, size, channels)
    rows = torch.cat((rows, torch.full((classes, 3, channels), torch.nan)), 1)
    order = torch.randperm(size + 3, generator=generator(2))
    return rows[:, order], (~rows.isnan().any(2))[:, order]


@pytest.mark.parametrize('init', INITS)
def test_well_separated_rows_are_found_behind_slots_that_hold_nothing(init):
    rows, valid = blobs()
    got = cluster(rows, valid, num_clusters=4, init=init)
    assert got.ready.all()
    for own in range(3):
        taken = rows[own][valid[own]].numpy()
        means = np.array(ordered(got.centres[own]))
        distances = ((taken[:, None] - means) ** 2).sum(2)
        labels = distances.argmin(1)
        assert np.bincount(labels).tolist() == [3, 3, 3, 3]
        assert distances.min(1).max() < 40  # rows of one blob, 30 apart from others
        expected = [taken[labels == c].mean(0) for c in range(4)]
        np.testing.assert_allclose(means, expected, rtol=1e-9)
        assert got.inertia[own].item() == pytest.approx(distances.min(1).sum())


@pytest.mark.parametrize('spherical', [False, True])
def test_few_rows_equal_the_best_of_all_partitions(spherical):
    # without any structure, so that a start may fail: several find the optimum
    rows = random(3, 7, 2) + 5 * (not spherical)
    got = cluster(rows, num_clusters=3, spherical=spherical, restarts=30)
    for own in range(3):
        taken = rows[own].numpy()
        if spherical:
            taken = taken / np.linalg.norm(taken, axis=1, keepdims=True)
        inertia, centres = best_partition(taken, 3, spherical)
        assert got.inertia[own].item() == pytest.approx(inertia, rel=1e-9)
        np.testing.assert_allclose(ordered(got.centres[own]), ordered(centres))


def start(rows, clusters, init, valid=None, **settings):
    if valid is None:
        valid = torch.ones(rows.shape[:2], dtype=torch.bool)
    return clustering._start(rows, valid, clusters, generator(), init, **settings)


@pytest.mark.parametrize('init', INITS)
def test_starts_are_valid_rows(init):
    # as many centres as valid rows: each is taken once, the far invalid one never
    rows = torch.tensor([[0.0], [1e3], [1.0], [3.0]]).expand(50, 4, 1)
    valid = torch.tensor([True, False, True, True]).expand(50, 4)
    found = start(rows, 3, init, valid).squeeze(2).sort(1).values
    assert torch.equal(found, torch.tensor([0.0, 1.0, 3.0]).expand(50, 3))


def test_starts_are_drawn_by_squared_distance():
    # 6000 classes of the same rows: after 0, the row 3 nine times as often as 1
    rows = torch.tensor([[0.0], [1.0], [3.0]]).expand(6000, 3, 1)
    first, second = start(rows, 2, 'k-means++', candidates=1).squeeze(2).T
    for value, others, share in (
        (0, (1, 3), 0.9),
        (1, (0, 3), 0.8),
        (3, (0, 1), 4 / 13),
    ):
        after = second[first == value]
        assert len(after) == pytest.approx(2000, abs=150)
        assert set(after.tolist()) == {float(x) for x in others}
        assert (after == others[1]).double().mean().item() == pytest.approx(
            share, abs=0.04
        )


def test_of_two_drawn_rows_the_one_that_leaves_less_is_taken():
    # after 0 the rows 1, 3, 4 weigh 1, 9, 16 and would leave 13, 2, 2 of inertia
    values = (0.0, 1.0, 3.0, 4.0)
    weights, left = {1.0: 1, 3.0: 9, 4.0: 16}, {1.0: 13, 3.0: 2, 4.0: 2}
    expected = dict.fromkeys(weights, 0.0)
    for one, other in itertools.permutations(weights, 2):
        chance = weights[one] / 26 * weights[other] / (26 - weights[one])
        # of equal ones the row that was drawn first
        expected[min(one, other, key=left.get)] += chance
    rows = torch.tensor(values)[:, None].expand(8000, 4, 1)
    first, second = start(rows, 2, 'k-means++', candidates=2).squeeze(2).T
    after = second[first == 0]
    assert len(after) == pytest.approx(2000, abs=150)
    for value, share in expected.items():
        assert (after == value).double().mean().item() == pytest.approx(share, abs=0.04)
    assert not (after == 1).any()


@pytest.mark.parametrize('spread', [0.0, 0.2, 1.0])
def test_inertia_is_that_of_scikit_learn(spread):
    middles = spread * random(10, 10, 64, seed=1)
    rows = middles.repeat(1, 10, 1) + random(10, 100, 64)
    got = cluster(rows, num_clusters=10, restarts=4).inertia
    want = [KMeans(10, n_init=4, random_state=0).fit(r).inertia_ for r in rows.numpy()]
    assert got.sum().item() == pytest.approx(sum(want), rel=0.01)


def test_starts_are_the_farthest_rows_after_a_random_first():
    rows = random(5, 8, 3)
    found = start(rows, 4, 'farthest')
    firsts = set()
    for own in range(5):
        for chosen in range(1, 4):
            gaps = torch.cdist(rows[own], found[own, :chosen]).amin(1)
            assert torch.equal(found[own, chosen], rows[own, gaps.argmax()])
        firsts.add((rows[own] == found[own, 0]).all(1).nonzero().item())
    assert len(firsts) > 1


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_reference(dtype):
    with np.load(REFERENCE) as file:
        rows = torch.from_numpy(file['kmeans/data']).to(dtype)[None]
        want = {
            key: file[key]
            for key in (
                'official/kmeans/centres',
                'official/kmeans/inertia',
                'derived/kmeans/spherical_centres',
            )
        }
    plain = cluster(rows, num_clusters=3)
    np.testing.assert_allclose(
        ordered(plain.centres[0]), want['official/kmeans/centres'], rtol=0, atol=1e-5
    )
    inertia = want['official/kmeans/inertia']
    assert plain.inertia.item() == pytest.approx(float(inertia), rel=1e-5)
    spherical = cluster(rows, num_clusters=3, spherical=True)
    np.testing.assert_allclose(
        ordered(spherical.centres[0]),
        ordered(want['derived/kmeans/spherical_centres']),
        rtol=0,
        atol=1e-9 if dtype == torch.float64 else 1e-6,
    )


@pytest.mark.parametrize('init', INITS)
def test_same_generator_same_bits(init):
    rows = random(4, 30, 6).float()
    one, two, other = (
        cluster(rows, seed=seed, num_clusters=5, init=init, restarts=2)
        for seed in (0, 0, 1)
    )
    for got, want in zip(two, one):
        assert torch.equal(got, want)
    assert not torch.equal(other.centres, one.centres)


def test_a_class_does_not_depend_on_the_rows_of_others():
    rows = random(3, 20, 4)
    changed = rows.clone()
    changed[1] = random(20, 4, seed=5)
    one, other = (cluster(r, num_clusters=3) for r in (rows, changed))
    for own in (0, 2):
        torch.testing.assert_close(one.centres[own], other.centres[own])


def test_classes_with_too_few_valid_rows_are_not_ready():
    rows, valid = random(4, 6, 2), torch.zeros(4, 6, dtype=torch.bool)
    for own, count in enumerate((0, 2, 3, 6)):
        valid[own, 6 - count :] = True
    got = cluster(rows, valid, num_clusters=3)
    assert got.ready.tolist() == [False, False, True, True]
    assert not got.centres[:2].any()
    assert not got.inertia[:2].any()
    # as many rows as clusters: each is its own centre
    np.testing.assert_allclose(ordered(got.centres[2]), ordered(rows[2, 3:]))
    assert got.inertia[2].item() == pytest.approx(0, abs=1e-25)


def test_fewer_slots_than_clusters():
    got = cluster(random(2, 3, 4), num_clusters=5)
    assert got.centres.shape == (2, 5, 4)
    assert not got.ready.any()
    assert not got.centres.any()


@pytest.mark.parametrize('init', INITS)
@pytest.mark.parametrize('spherical', [False, True])
def test_fewer_distinct_rows_than_clusters(init, spherical):
    # five rows, two distinct: both are centres, and the others repeat one of them
    one, other = torch.tensor([3.0, 4.0]), torch.tensor([-5.0, 0.0])
    rows = torch.stack((one, one, other, one, other))[None]
    rows = torch.cat((rows, torch.zeros(1, 1, 2)), 1)
    valid = torch.tensor([[True] * 5 + [False]])
    got = cluster(rows, valid, num_clusters=4, init=init, spherical=spherical)
    lengths = (5.0, 5.0) if spherical else (1.0, 1.0)
    expected = {
        tuple((row / length).tolist()) for row, length in zip((one, other), lengths)
    }
    found = {tuple(np.round(row, 5)) for row in got.centres[0].tolist()}
    assert found == {tuple(np.round(row, 5)) for row in expected}
    assert got.ready.all()
    assert got.inertia.item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize(
    ('values', 'centres', 'inertia'),
    [
        ([0.0, 1.0, 20.0, 21.0], [0.5, 20.5], 1.0),
        # two clusters move at once, each to a row of its own
        ([0.0, 1.0, 20.0, 21.0, 50.0, 51.0], [10.5, 50.0, 51.0], 401.0),
    ],
)
def test_empty_clusters_move_to_the_farthest_rows(
    monkeypatch, values, centres, inertia
):
    # a start whose centres all lie on one row leaves the other clusters empty
    def on_one_row(points, valid, clusters, generator, init):
        return points[:, :1].expand(-1, clusters, -1)

    monkeypatch.setattr(clustering, '_start', on_one_row)
    rows = torch.tensor(values)[None, :, None]
    got = cluster(rows, num_clusters=len(centres), restarts=1)
    found = got.centres.flatten().sort().values.tolist()
    assert found == pytest.approx(centres, abs=1e-5)
    assert got.inertia.item() == pytest.approx(inertia, rel=1e-5)


def test_more_restarts_are_never_worse():
    rows = random(5, 40, 3)
    few = cluster(rows, num_clusters=6, restarts=1, init='farthest')
    many = cluster(rows, num_clusters=6, restarts=8, init='farthest')
    assert (many.inertia <= few.inertia).all()
    assert (many.inertia < few.inertia).any()


def test_one_cluster_is_the_mean():
    rows = random(2, 9, 3)
    got = cluster(rows, num_clusters=1)
    torch.testing.assert_close(got.centres[:, 0], rows.mean(1))
    spread = (rows - rows.mean(1, keepdim=True)).square().sum((1, 2))
    torch.testing.assert_close(got.inertia, spread)


def test_rows_far_from_the_origin_keep_their_digits():
    # squared lengths of 3e8 and distances of 1 do not fit into one float32
    rows, valid = blobs()
    rows = (rows / 30 + 8192).float()
    got = cluster(rows, valid, num_clusters=4)
    want = cluster(rows.double(), valid, num_clusters=4)
    torch.testing.assert_close(got.inertia.double(), want.inertia, rtol=1e-3, atol=0)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_clustered_in_float32(dtype):
    rows, valid = blobs()
    rows = (rows / 30).to(dtype)
    with torch.autocast('cpu', torch.bfloat16):
        got = cluster(rows, valid, num_clusters=4)
    want = cluster(rows.double(), valid, num_clusters=4)
    assert got.centres.dtype == torch.float32
    torch.testing.assert_close(got.centres.double(), want.centres, rtol=1e-5, atol=1e-6)


def test_spherical_ignores_lengths():
    rows = random(2, 15, 4)
    lengths = 0.1 + random(2, 15, 1, seed=3).abs()
    one, other = (
        cluster(r, num_clusters=3, spherical=True) for r in (rows, lengths * rows)
    )
    torch.testing.assert_close(one.centres, other.centres)
    torch.testing.assert_close(one.centres.norm(dim=2), torch.ones(2, 3).double())


def test_centres_carry_no_graph():
    got = cluster(random(1, 5, 2).requires_grad_(), num_clusters=2)
    assert not got.centres.requires_grad


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(rows=torch.zeros(4, 2)), r'rows: expected shape \(C, L, D\)'),
        (dict(valid=torch.ones(1, 3).bool()), r'valid: expected shape \(1, 4\)'),
        (dict(valid=torch.ones(1, 4)), 'valid: expected bool, got torch.float32'),
        (dict(init='random'), "init: expected one of .* got 'random'"),
        (dict(num_clusters=0), 'num_clusters: expected 1 or more, got 0'),
        (dict(iterations=0), 'iterations: expected 1 or more, got 0'),
        (dict(restarts=-1), 'restarts: expected 1 or more, got -1'),
    ],
)
def test_wrong_arguments(changes, message):
    arguments = dict(rows=torch.zeros(1, 4, 2), num_clusters=2)
    with pytest.raises(ValueError, match=message):
        cluster(**(arguments | changes))
