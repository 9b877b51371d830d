"""Recompute the arrays of a reference file from its inputs alone.

python tools/analysis/reference_run.py tests/data/seed_curve.npz --out OUT.npz
The beginning of the file's name says what it holds.
"""

import argparse
import importlib
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from mmwsss.apis.launch import print_error, run_tool
from mmwsss.utils.atomic import atomic_writer
from mmwsss.utils.errors import DataError, WSSSError

# beginning of the file name: module beside this file, with INPUT_PREFIXES and compute
MODULES = {
    'acr_': 'reference_acr',
    'rca_': 'reference_rca',
    'seed_': 'reference_seed_curve',
}


def module_for(path: Path) -> ModuleType:
    """Import the module that computes a file's arrays.

    Raises:
        DataError: if the file's name begins with none of the known prefixes.
    """
    for prefix, name in MODULES.items():
        if path.name.startswith(prefix):
            return importlib.import_module(name)
    raise DataError(
        f'{path}: name the file after what it holds, one of '
        + ', '.join(f'{prefix}*.npz' for prefix in MODULES)
    )


def read_inputs(path: Path, prefixes: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the arrays whose names begin with one of ``prefixes``, and no others.

    Raises:
        DataError: if the file is absent or no readable npz archive.
    """
    try:
        with open(path, 'rb') as handle, np.lib.npyio.NpzFile(handle) as file:
            names = [name for name in file.files if name.startswith(tuple(prefixes))]
            return {name: file[name] for name in names}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f'cannot read {path} as an npz archive: {error}') from error


def run(path: Path, out: Path) -> None:
    """Compute the arrays of ``path`` and write them to ``out`` under the same names.

    Raises:
        DataError: if the file is unknown, unreadable or lacks an input.
        ArtefactError: if ``out`` cannot be written.
    """
    module = module_for(path)
    inputs = read_inputs(path, module.INPUT_PREFIXES)
    try:
        arrays = module.compute(inputs)
    except KeyError as error:
        raise DataError(f'{path}: no array {error} to compute from') from error
    except ValueError as error:
        raise DataError(f'{path}: {error}') from error
    with atomic_writer(out) as file:
        np.savez(file, **arrays)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('input', type=Path, help='reference file, e.g. seed_curve.npz')
    parser.add_argument('--out', type=Path, required=True, help='npz file to write')
    options = parser.parse_args(arguments)
    try:
        run(options.input, options.out)
    except WSSSError as error:
        print_error(type(error).__name__, str(error))
        return 1
    return 0


if __name__ == '__main__':
    run_tool(lambda: sys.exit(main()))
