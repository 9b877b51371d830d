"""Seeds are measured image by image: nothing of an image stays, however many come."""

import gc
import weakref

import torch
from seed_samples import CLASSES, make_metric, make_sample


def live_elements():
    gc.collect()
    tensors = [o for o in gc.get_objects() if type(o) is torch.Tensor]
    return sum(tensor.numel() for tensor in tensors)


def test_no_tensor_of_an_image_stays():
    metric = make_metric(thresholds=[0.0, 0.3, 0.6])
    elements, samples = {}, []
    for index in range(24):
        sample = make_sample(index % 7)
        sample.update(sample_idx=index, img_path=f'{index}.jpg')
        samples.append(weakref.ref(sample['localization']['data']))
        metric.process({}, [sample])
        del sample
        if index in (3, 23):
            elements[index] = live_elements()
    assert not any(reference() is not None for reference in samples)
    assert elements[3] == elements[23]
    assert metric.results == []
    assert metric.evaluate(24)
    # what is kept: the sum, and the histogram that may be a sampler's padding
    assert len(CLASSES) * (len(CLASSES) + 1) * 4 * 2 < elements[23]
