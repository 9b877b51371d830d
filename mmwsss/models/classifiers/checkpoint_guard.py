"""Refusal of checkpoints that belong to another model."""

from torch import Tensor, nn

from mmwsss.utils.errors import CheckpointError


def refuse_other_shapes(model: nn.Module) -> None:
    """Make ``load_state_dict`` refuse tensors of another shape.

    mmengine loads without ``strict`` and only warns of such tensors, so that a model
    of another class count would be tested with random weights.
    """

    def guard(
        module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object
    ) -> None:
        own = module.state_dict()
        for name, tensor in own.items():
            loaded = state.get(prefix + name)
            if loaded is not None and loaded.shape != tensor.shape:
                raise CheckpointError(
                    f'checkpoint does not fit the model: {name} is '
                    f'{tuple(loaded.shape)} there and {tuple(tensor.shape)} here; '
                    'use the config it was trained with (num_classes, backbone)'
                )

    model.register_load_state_dict_pre_hook(guard)
