"""From a command line to a running ``Runner``: what train.py and test.py share."""

from __future__ import annotations

import difflib
import os
import re
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import BrokenExecutor
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_distributed
from rich.console import Console
from rich.text import Text

from mmwsss.utils.atomic import DISK_ERRORS, write_error
from mmwsss.utils.checkpoint import read_checkpoint
from mmwsss.utils.config_files import OptionAction, check_values, read_config_file
from mmwsss.utils.errors import CheckpointError, ConfigError, WSSSError
from mmwsss.utils.packaged_files import find_config
from mmwsss.utils.progress import end_bars

RUNNER_KEYS = frozenset(
    {'load_from', 'resume', 'work_dir', 'launcher', 'experiment_name', 'auto_scale_lr'}
    | {'model_wrapper_cfg', 'find_unused_parameters', 'randomness', 'compile'}
    | {'refiner'}
)
"""Keys a command line may add to a config that does not state them."""

ARGUMENT_KEYS = frozenset(
    {'train_dataloader', 'val_dataloader', 'test_dataloader', 'seed_dataloader'}
    | {'randomness', 'train_cfg', 'val_cfg', 'test_cfg'}
)
"""Keys whose values are arguments of a function, which refuses unknown names."""

DEAD_WORKER = 'DataLoader worker (pid'
"""How torch's message begins that one of them was killed."""
WORKER_REMEDY = (
    'the system kills processes for want of memory; ask for fewer of them (num_workers '
    'of the dataloaders, --jobs) or smaller batches, then run again, finished files '
    'are kept'
)


def add_common_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that mmseg's tools have in common."""
    parser.add_argument('config', help='config file, or name of one of mmwsss')
    parser.add_argument('--work-dir', help='where logs, checkpoints and tables go')
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def add_inference_arguments(parser: ArgumentParser, *, background: str) -> None:
    """Add what tools that look at images ask of a ``WSSSInferencer``.

    Args:
        parser: The tool's.
        background: What the background threshold decides there.
    """
    parser.add_argument('config', help='config file, or name of one of mmwsss')
    parser.add_argument(
        'checkpoint', help="model's checkpoint, or its training's work directory"
    )
    parser.add_argument('--refiner', help="in place of the config's, e.g. threshold")
    parser.add_argument(
        '--score-threshold',
        type=float,
        help="probability of a recognized class, in place of the config's",
    )
    parser.add_argument(
        '--background-threshold',
        type=float,
        help=f"{background}, in place of the config's",
    )
    parser.add_argument('--device', help='cpu or cuda; else a GPU if there is one')


def add_cfg_options(
    parser: ArgumentParser, *, example: str = 'train_dataloader.batch_size=2'
) -> None:
    """Add ``--cfg-options``, by which a command line changes a config."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        default={},
        help=f"settings in place of the config's, as key=value, e.g. {example}",
    )


def read_config(args: Namespace) -> Config:
    """Read the config of a command line and make it fit the machine.

    Raises:
        ConfigError: if the file is absent, an option names no setting, or the work
            directory cannot be written.
    """
    config = config_with(args.config, args.cfg_options or {})
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    config.launcher = args.launcher
    default = Path('work_dirs') / Path(args.config).stem
    config.work_dir = str(args.work_dir or config.get('work_dir') or default)
    check_writable(config.work_dir)
    if args.launcher != 'none' and not torch.cuda.is_available():
        use_gloo(config)
    return config


def config_with(path: str | Path, options: dict[str, object]) -> Config:
    """Read a config and put options in place of its settings.

    Args:
        path: The file, or the name of a config of the package.
        options: Values by dotted key, as of ``--cfg-options``.

    Raises:
        ConfigError: if the file is absent or cannot be read, an option names no
            setting, or a value is one that no run could use.
    """
    config = read_config_file(find_config(path))
    check_options(config, options)
    config.merge_from_dict(options)
    check_values(config)
    return config


def check_options(config: Config, options: dict[str, object]) -> None:
    """Check that each option overrides a setting, or adds an argument to a call.

    mmengine takes any key; a mistyped one would change nothing and say nothing.
    (New keys in what has a ``type``, at any depth, go to a constructor, which refuses
    unknown names.)

    Raises:
        ConfigError: if an option names no setting; the message offers close names.
    """
    for option in options:
        node: object = config._cfg_dict
        known: Collection[str] = RUNNER_KEYS
        is_call = False
        for part in option.split('.'):
            if node is None or (isinstance(node, dict) and not node):
                break
            is_call = is_call or (isinstance(node, dict) and 'type' in node)
            children = _children(node)
            if part not in children:
                if isinstance(node, dict) and (is_call or part in known):
                    break
                raise _no_such_key(option, part, children)
            is_call = is_call or part in ARGUMENT_KEYS
            node, known = children[part], ()


def _children(node: object) -> dict[str, object]:
    if isinstance(node, (list, tuple)):
        return {str(index): child for index, child in enumerate(node)}
    return dict(node) if isinstance(node, dict) else {}


def _no_such_key(option: str, part: str, children: dict[str, object]) -> ConfigError:
    close = difflib.get_close_matches(part, list(children), n=1)
    hint = f'; did you mean {close[0]!r}?' if close else ''
    return ConfigError(
        f'--cfg-options {option}: the config has no {part!r} there{hint} '
        f'(it has {", ".join(sorted(map(str, children))) or "a plain value"})'
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


def check_fits(
    checkpoint: str, model: torch.nn.Module, *, whole: bool, resumes: bool = False
) -> dict[str, torch.Tensor]:
    """Check a checkpoint before the runner loads it.

    Args:
        checkpoint: File.
        model: The model that it is for.
        whole: Whether names and shapes of all weights must agree, as for testing and
            resuming; otherwise one shared name will do.
        resumes: Whether a training goes on from it. Otherwise a part's
            ``training_buffers`` may be absent, all of them, as a published
            checkpoint leaves them out.

    Returns:
        The checkpoint's weights under the model's names; the model's own buffers
        stand in for the absent ones.

    Raises:
        CheckpointError: if it cannot be read safely or belongs to another model.
    """
    content = read_checkpoint(checkpoint)
    if resumes:
        _check_resumable(checkpoint, content)
    state = content.get('state_dict', content)
    state = {str(k).removeprefix('module.'): v for k, v in state.items()}
    own = {name: _shape(weight) for name, weight in model.state_dict().items()}
    kind = type(model).__name__
    if not own.keys() & state.keys():
        raise CheckpointError(
            f'{checkpoint} has none of the weights of {kind}; it belongs to another '
            'model'
        )
    if not resumes:
        state = _absent_training_buffers(model, state) | state
    shapes = {name: _shape(value) for name, value in state.items()}
    names = sorted(own.keys() | shapes.keys())
    differing = [name for name in names if own.get(name) != shapes.get(name)]
    if whole and differing:
        first = differing[0]
        raise CheckpointError(
            f'{checkpoint} does not fit {kind}: {first} is '
            f'{shapes.get(first, "absent")} there and {own.get(first, "absent")} here '
            f'({len(differing)} weights differ); use the config it was trained with'
        )
    return state


def _check_resumable(checkpoint: str, content: Mapping[str, object]) -> None:
    if 'optimizer' not in content:
        raise CheckpointError(
            f'{checkpoint} has no state of the optimizer, as published checkpoints '
            'have none: resume from one that the training wrote'
        )
    meta, hub = content.get('meta'), content.get('message_hub')
    counts = [meta.get(n) for n in ('epoch', 'iter')] if isinstance(meta, dict) else []
    counted = bool(counts) and all(isinstance(count, int) for count in counts)
    if not counted or not isinstance(hub, dict):
        raise CheckpointError(
            f'{checkpoint} does not tell how far its training was (meta, message_hub): '
            'resume from one that the training wrote'
        )


def training_buffers(model: torch.nn.Module) -> dict[str, set[str]]:
    """Return the names of the buffers that only training needs, by their part.

    A part names them in its class attribute ``training_buffers``.
    """
    return {
        part: {f'{part}.{name}'.removeprefix('.') for name in module.training_buffers}
        for part, module in model.named_modules()
        if hasattr(module, 'training_buffers')
    }


def lasting_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors by name on which predictions rest."""
    passing = set().union(*training_buffers(model).values())
    return {n: value for n, value in model.state_dict().items() if n not in passing}


def _absent_training_buffers(
    model: torch.nn.Module, state: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    own = model.state_dict()
    parts = training_buffers(model).values()
    absent = [names for names in parts if not names & state.keys()]
    return {name: own[name] for name in sorted(set().union(*absent))}


def _shape(weight: object) -> tuple[int, ...]:
    return tuple(getattr(weight, 'shape', ()))


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool; errors that a user can mend become one line and exit code 1."""
    try:
        _run(main)
    except WSSSError as error:
        _fail(type(error).__name__, str(error))
    except (TypeError, KeyError, OSError, EOFError, RuntimeError) as error:
        found = _in_words(_told_later(error))
        if found is None:
            raise
        _fail(*found)
    # left to the interpreter's end, the group's threads now and then abort it
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _run(main: Callable[[], None]) -> None:
    try:
        main()
    finally:
        end_bars()


def _told_later(error: Exception) -> Exception:
    """Return what torch says of a killed worker, which may follow a lost connection."""
    if isinstance(error, (ConnectionError, EOFError)):
        try:
            time.sleep(1)
        except RuntimeError as later:
            return later
    return error


def _in_words(error: Exception) -> tuple[str, str] | None:
    """Return kind and message of what others raise where a user can help, or None."""
    text = str(error)
    if isinstance(error, TypeError) and 'unexpected keyword argument' in text:
        return 'ConfigError', text
    # mmengine's registries say so of a mistyped type
    if isinstance(error, KeyError) and 'is not in the' in text:
        return 'ConfigError', str(error.args[0])
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return 'ArtefactError', str(write_error(error.filename or 'a file', error))
    if isinstance(error, PermissionError):
        return 'PermissionError', (
            f'{error.filename}: {error.strerror}; make it readable, and its folder '
            'writable'
        )
    # a worker killed while it hands a batch over resets the connection
    if isinstance(error, ConnectionResetError):
        return 'ProcessError', f'a worker has ended ({text}): {WORKER_REMEDY}'
    if isinstance(error, BrokenExecutor) or DEAD_WORKER in text:
        reason = text.strip().rstrip('.')
        return 'ProcessError', f'{reason}: {WORKER_REMEDY}'
    return None


def _fail(kind: str, message: str) -> None:
    # Errors of data loading workers arrive as a whole traceback, their own text last.
    if 'Original Traceback' in message:
        message = re.split(r'^[\w.]+: ', message, flags=re.MULTILINE)[-1]
    print_error(kind, message)
    sys.exit(1)


def print_error(kind: str, message: str) -> None:
    """Print an error as one line, its kind in red where a terminal has colours.

    ``NO_COLOR``, ``FORCE_COLOR`` and ``TERM=dumb`` are heeded.
    """
    console = Console(stderr=True, highlight=False, emoji=False)
    line = Text.assemble((f'{kind}:', 'red'), f' {" ".join(message.split())}')
    console.print(line, soft_wrap=True)
