"""From a command line to a running ``Runner``: what train.py and test.py share."""

from __future__ import annotations

import difflib
import os
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.dist import is_distributed

from mmwsss.utils.checkpoint import read_checkpoint
from mmwsss.utils.errors import CheckpointError, ConfigError, WSSSError

RUNNER_KEYS = frozenset(
    {'load_from', 'resume', 'work_dir', 'launcher', 'experiment_name', 'auto_scale_lr'}
    | {'model_wrapper_cfg', 'find_unused_parameters', 'randomness', 'compile'}
)
"""Keys a command line may add to a config that does not state them."""


def add_common_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that mmseg's tools have in common."""
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='where logs, checkpoints and tables go')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help="settings in place of the config's, as key=value, e.g. "
        'train_dataloader.batch_size=2',
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def read_config(args: Namespace) -> Config:
    """Read the config of a command line and make it fit the machine.

    Raises:
        ConfigError: if the file is absent, an option names no setting, or the work
            directory cannot be written.
    """
    if not Path(args.config).is_file():
        raise ConfigError(f'no config at {args.config}; see configs/')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    config = Config.fromfile(args.config)
    if args.cfg_options:
        check_options(config, args.cfg_options)
        config.merge_from_dict(args.cfg_options)
    config.launcher = args.launcher
    default = Path('work_dirs') / Path(args.config).stem
    config.work_dir = str(args.work_dir or config.get('work_dir') or default)
    check_writable(config.work_dir)
    if args.launcher != 'none' and not torch.cuda.is_available():
        use_gloo(config)
    return config


def check_options(config: Config, options: dict[str, object]) -> None:
    """Check that each option overrides a setting, or adds one to what has a type.

    mmengine takes any key; a mistyped one would change nothing and say nothing.
    (A new key beside a ``type`` goes to a constructor, which refuses unknown names.)

    Raises:
        ConfigError: if an option names no setting; the message offers close names.
    """
    for option in options:
        node: object = config._cfg_dict
        parts = option.split('.')
        for depth, part in enumerate(parts):
            if isinstance(node, (list, tuple)) and part.isdigit():
                node = node[int(part)] if int(part) < len(node) else None
                continue
            if not isinstance(node, dict):
                break
            if part not in node:
                _check_new_key(option, part, node, at_top=depth == 0)
                break
            node = node[part]


def _check_new_key(option: str, part: str, node: dict, *, at_top: bool) -> None:
    if part in RUNNER_KEYS if at_top else ('type' in node or not node):
        return
    close = difflib.get_close_matches(part, list(node), n=1)
    hint = f'; did you mean {close[0]!r}?' if close else ''
    raise ConfigError(
        f'--cfg-options {option}: the config has no {part!r} there{hint} '
        f'(it has {", ".join(sorted(map(str, node)))})'
    )


def check_writable(folder: str) -> None:
    """Make a folder and check that files can be written there.

    Raises:
        ConfigError: if not, with the reason.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f'work directory {folder} cannot be written ({error.strerror}); choose '
            'another with --work-dir'
        ) from error


def use_gloo(config: Config) -> None:
    """Make a distributed config run without CUDA.

    mmengine's own initialization sets a CUDA device, so the process group is made
    here; its wrapper must then be told of no devices.

    Raises:
        ConfigError: if the launcher is not ``pytorch``.
    """
    if config.launcher != 'pytorch':
        raise ConfigError(
            f'--launcher {config.launcher} needs CUDA; without it use tools/dist_*.sh '
            '(--launcher pytorch)'
        )
    if not is_distributed():
        torch.distributed.init_process_group('gloo')
    threads = torch.get_num_threads()
    local_world_size = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    torch.set_num_threads(max(1, threads // local_world_size))
    config.model_wrapper_cfg = ConfigDict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=config.get('find_unused_parameters', False),
    )


def use_bf16(config: Config) -> None:
    """Train under bfloat16 autocast: on CPU and on GPU.

    Raises:
        ConfigError: if the config uses an optimizer wrapper of another kind.
    """
    kind = config.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'Bf16OptimWrapper', 'mmwsss.Bf16OptimWrapper'):
        raise ConfigError(f'--amp replaces OptimWrapper; the config uses {kind}')
    config.optim_wrapper.type = 'mmwsss.Bf16OptimWrapper'


def check_fits(checkpoint: str, model: torch.nn.Module) -> None:
    """Check a checkpoint before the runner loads it.

    Raises:
        CheckpointError: if it cannot be read safely or shares no weight with the model.
    """
    state = read_checkpoint(checkpoint)
    state = state.get('state_dict', state)
    own = model.state_dict()
    if not own.keys() & {name.removeprefix('module.') for name in state}:
        raise CheckpointError(
            f'{checkpoint} has none of the weights of {type(model).__name__}; it '
            'belongs to another model'
        )


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool; errors that a user can mend become one line and exit code 1."""
    try:
        main()
    except WSSSError as error:
        _fail(type(error).__name__, error)
    except TypeError as error:
        if 'unexpected keyword argument' not in str(error):
            raise
        _fail('ConfigError', error)


def _fail(kind: str, error: Exception) -> None:
    # Errors of data loading workers arrive as a whole traceback; its last line counts.
    line = str(error).strip().split('\n')[-1]
    line = line.removeprefix('mmwsss.utils.errors.').removeprefix(f'{kind}: ')
    print(f'{kind}: {line}', file=sys.stderr)
    sys.exit(1)
