"""Show pages of the repository that lie outside of docs/, and mend links out of it.

Pages that lie outside (the change log, the contents of config folders) become pages of
the site under their own paths. A link to any other file of the repository cannot be
followed on the site: its text stays.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

DOCS = 'docs/'
OUTSIDE = ('CHANGELOG.md', 'CONTRIBUTING.md', 'configs/*/README.md')
CODE = r'(?P<code>^ *```.*?^ *```|`[^`\n]+`)'
LINK = r'(?P<image>!?)\[(?P<text>(?:[^][]|\[[^][]*\])*)\]\((?P<target>[^)\s]+)\)'
PARTS = re.compile(f'{LINK}|{CODE}', re.MULTILINE | re.DOTALL)
FOREIGN = re.compile(r'[a-z]+:|#|/')


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that lie outside."""
    root = Path(config.config_file_path).parent
    for pattern in OUTSIDE:
        for path in sorted(root.glob(pattern)):
            name = path.relative_to(root).as_posix()
            files.append(
                File(name, str(root), config.site_dir, config.use_directory_urls)
            )
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Mend the links of a page."""
    known = {file.src_uri for file in files}
    return site_links(markdown, page.file.src_uri, known)


def site_links(text: str, page: str, known: set[str]) -> str:
    """Return a page's Markdown with links that lead on the site, or none.

    Args:
        text: Markdown whose links are those of the repository.
        page: The page's place on the site.
        known: Places of all files of the site.
    """
    outside = any(PurePosixPath(page).match(pattern) for pattern in OUTSIDE)
    here = os.path.dirname(page if outside else DOCS + page)

    def mend(found: re.Match) -> str:
        if found['code'] or FOREIGN.match(found['target']):
            return found[0]
        target, mark, anchor = found['target'].partition('#')
        place = os.path.normpath(os.path.join(here, target))
        for name in (place.removeprefix(DOCS), f'{place}/README.md'):
            if name in known:
                way = os.path.relpath(name, os.path.dirname(page))
                return f'{found["image"]}[{found["text"]}]({way}{mark}{anchor})'
        return found['text']

    return PARTS.sub(mend, text)
