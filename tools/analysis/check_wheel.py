"""Check the package as its users get it: build it, install it, use it elsewhere.

python tools/analysis/check_wheel.py --out work_dirs/wheel
Builds wheel and sdist of the working tree, makes a fresh virtual environment, installs
the wheel with its extra onedl and the tested versions, and, in an empty folder away
from the repository, asks for a config by its name, runs what the documentation marks
"run: wheel" as it is printed, uses a config as a base of its own, trains a classifier
on it and looks at images. Needs git, uv (setup_env.sh installs it), the network and
about 6 GB under --out.
"""

import json
import os
import runpy
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from rich.console import Console
from rich.table import Table
from run_docs import WHEEL, Block, pages_of, read_blocks

from mmwsss.utils.progress import track

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / 'requirements/constraints.txt'
EXTRA = 'onedl'
UV = [sys.executable, '-m', 'uv']

TRAIN = 'train own.py --work-dir run'
NAMED = 'test acr/hybrid_embedded run --work-dir named'
IMAGES = ' '.join(f'data/synthetic/JPEGImages/test_0000{n}.jpg' for n in range(4))
LOOK = f'infer own.py run {IMAGES} --out look --point 9 9'

OWN_CONFIG = """
_base_ = 'mmwsss::acr/hybrid_embedded.py'
train_cfg = dict(max_epochs=1)
"""
USES = """
from pathlib import Path

import mmengine.hub
from mmengine.config import Config

import mmwsss

assert mmwsss.get_config('acr/vit_hybrid_voc').model.type == 'ACRClassifier'
assert mmengine.hub.get_config('mmwsss::acr/vit_hybrid_voc.py').model.num_classes == 20
assert Config.fromfile('own.py').train_cfg.max_epochs == 1
assert (Path(mmwsss.__file__).parent / 'py.typed').is_file()
print(mmwsss.__file__)
"""


@dataclass(frozen=True)
class Step:
    """A command that must succeed.

    Args:
        name: What it shows.
        command: Program and arguments.
        folder: Where it runs.
    """

    name: str
    command: list[str]
    folder: Path


class StepError(RuntimeError):
    """A step failed; the text has the end of what it printed."""


def run_step(step: Step, log: Path) -> float:
    """Run a step; return its seconds.

    Raises:
        StepError: if it fails.
    """
    # what a checkout or an activated environment sets must not help
    unset = ('PYTHONPATH', 'VIRTUAL_ENV', 'PYTHONHOME')
    environment = {k: v for k, v in os.environ.items() if k not in unset}
    started = time.monotonic()
    with log.open('a') as file:
        file.write(f'$ {" ".join(step.command)}\n')
        file.flush()
        result = subprocess.run(
            step.command,
            cwd=step.folder,
            env=environment | {'MPLBACKEND': 'Agg'},
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if result.returncode:
        end = '\n'.join(log.read_text(errors='replace').splitlines()[-20:])
        raise StepError(
            f'{step.name}: exit code {result.returncode}\n{end}\nlog: {log}'
        )
    return time.monotonic() - started


def copy_source(out: Path) -> None:
    """Copy what a build reads, so that it leaves nothing in the working tree."""
    target = out / 'source'
    listed = subprocess.run(
        ['git', 'ls-files', '--cached', '--others', '--exclude-standard', '-z'],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split('\0')):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)


def install_steps(out: Path, venv: Path) -> list[Step]:
    """Return the steps from the sources to an environment that has the wheel."""
    build = ['build', '--quiet', '--out-dir', str(out / 'dist'), str(out / 'source')]
    make = ['venv', '--quiet', '--python', sys.executable, str(venv)]
    version = runpy.run_path(str(ROOT / 'mmwsss/version.py'))['__version__']
    wheel = out / f'dist/mmwsss-{version}-py3-none-any.whl'
    return [
        Step('sdist, and the wheel from it', [*UV, *build], out),
        Step('environment', [*UV, *make], out),
        install_step(
            'wheel with its stack', venv, f'mmwsss[{EXTRA}] @ {wheel.as_uri()}'
        ),
    ]


def install_step(name: str, venv: Path, *wanted: str) -> Step:
    """Return the step that installs what is wanted, in the tested versions."""
    install = ['pip', 'install', '--quiet', '--python', str(venv / 'bin/python')]
    return Step(name, [*UV, *install, '-c', str(CONSTRAINTS), *wanted], venv.parent)


def headless_steps(venv: Path) -> list[Step]:
    """Return the step that replaces OpenCV where its display libraries are absent."""
    python = str(venv / 'bin/python')
    if not subprocess.run([python, '-c', 'import cv2'], capture_output=True).returncode:
        return []
    lines = CONSTRAINTS.read_text('utf-8').splitlines()
    pin = next(line for line in lines if line.startswith('opencv-python=='))
    wanted = pin.replace('opencv-python', 'opencv-python-headless')
    return [install_step('OpenCV without display', venv, '--no-deps', wanted)]


def use_steps(venv: Path, folder: Path) -> list[Step]:
    """Return the steps of a user in a folder of their own."""
    python, entry = str(venv / 'bin/python'), str(venv / 'bin/mmwsss')
    return [
        Step('configs by name', [python, '-c', USES], folder),
        *(printed_step(block, venv, folder) for block in printed_blocks()),
        Step('training of an own config', [entry, *TRAIN.split()], folder),
        Step('test of a config by name', [entry, *NAMED.split()], folder),
        Step('inference', [entry, *LOOK.split()], folder),
    ]


def printed_blocks() -> list[Block]:
    """Return the blocks of the documentation that are for an installed wheel."""
    blocks = [block for page in pages_of([]) for block in read_blocks(page)]
    return [block for block in blocks if block.kind == WHEEL]


def printed_step(block: Block, venv: Path, folder: Path) -> Step:
    """Return the step of a block, run as it is printed in an activated environment."""
    text = f'. {quote(str(venv / "bin/activate"))}\n{block.text}'
    command = ['bash', '-eo', 'pipefail', '-c', text]
    return Step(f'{block.page}:{block.line}', command, folder)


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', default='work_dirs/wheel', help='new or empty folder')
    return parser.parse_args()


def main() -> None:
    """Build, install, use; print a table."""
    out = Path(parse_arguments().out).resolve()
    if out.exists() and any(out.iterdir()):
        sys.exit(f'{out} is not empty; choose another folder or empty it')
    folder, venv = out / 'elsewhere', out / 'venv'
    folder.mkdir(parents=True)
    (folder / 'own.py').write_text(OWN_CONFIG)
    log, seconds = out / 'log.txt', dict[str, float]()

    def run(steps: list[Step]) -> None:
        for step in track(steps, 'Steps'):
            seconds[step.name] = round(run_step(step, log), 1)

    try:
        copy_source(out)
        run(install_steps(out, venv))
        run(headless_steps(venv))
        run(use_steps(venv, folder))
    except StepError as error:
        sys.exit(str(error))
    (out / 'result.json').write_text(json.dumps(seconds, indent=1) + '\n')
    table = Table('step', 'seconds')
    for name, value in seconds.items():
        table.add_row(name, f'{value:.1f}')
    Console().print(table)
    sizes = ', '.join(
        f'{path.name} {path.stat().st_size / 1e6:.2f} MB'
        for path in sorted((out / 'dist').iterdir())
        if path.suffix in ('.whl', '.gz')
    )
    print(f'{sizes}; {len(list((folder / "look/vis").glob("*.png")))} images looked at')


if __name__ == '__main__':
    main()
