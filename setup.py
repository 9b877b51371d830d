"""Metadata of the package; requirements/ holds the requirements of each extra."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
EXTRAS = ('onedl', 'openmmlab', 'crf', 'coco', 'demo', 'dev', 'docs')
# mmwsss/.mim holds links to these; a built package gets the files
CONFIGS_AND_TOOLS = [
    '.mim/model-index.yml',
    '.mim/configs/**/*.py',
    '.mim/configs/**/*.yml',
    '.mim/tools/**/*.py',
    '.mim/tools/launch_common.sh',
    '.mim/tools/dist_*.sh',
    '.mim/tools/slurm_*.sh',
]


def requirements(name: str) -> list[str]:
    """Return the requirement lines of ``requirements/<name>.txt``."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text('utf-8').splitlines()
    return [line for line in map(str.strip, lines) if line and line[0] != '#']


setup(
    name='mmwsss',
    # run as a file: importing the package would need the stack it asks for
    version=runpy.run_path(str(ROOT / 'mmwsss' / 'version.py'))['__version__'],
    description='Weakly-supervised semantic segmentation for MMSegmentation',
    long_description=(ROOT / 'README.md').read_text('utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Typing :: Typed',
    ],
    python_requires='>=3.10,<3.13',
    packages=find_packages(include=['mmwsss', 'mmwsss.*']),
    package_data={'mmwsss': ['py.typed', *CONFIGS_AND_TOOLS]},
    entry_points={'console_scripts': ['mmwsss = mmwsss.apis.command_line:main']},
    # both OpenMMLab distributions install the same import names, so that neither
    # may be required: a user chooses one by its extra
    install_requires=requirements('runtime'),
    extras_require={name: requirements(name) for name in EXTRAS},
)
