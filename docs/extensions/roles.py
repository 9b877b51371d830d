"""Bring docstrings to Markdown: Sphinx's roles, equations, literals and examples."""

from __future__ import annotations

import re
from typing import Any

import griffe

DISPLAY = re.compile(
    r'^(?P<indent> *)\.\. math::[ ]*(?P<first>.*)\n'
    r'(?P<rest>(?:(?:(?P=indent) +.*)?\n)*?)(?=(?P=indent)?\S|\Z)',
    re.MULTILINE,
)
INLINE = re.compile(r':math:`([^`]*)`', re.DOTALL)
ROLE = re.compile(r':(?:class|func|meth|mod|attr|data|obj):`[~.]?([^`]*)`')
EXAMPLE = re.compile(r'^( *)Example:$', re.MULTILINE)
LITERAL = re.compile(r'``(.+?)``', re.DOTALL)


def to_markdown(text: str) -> str:
    """Return a docstring in which equations are between LaTeX's own marks.

    An example becomes a section that is shown as code.
    """
    text = DISPLAY.sub(_display, text)
    text = INLINE.sub(lambda found: rf'\({_one_line(found[1])}\)', text)
    text = ROLE.sub(r'`\1`', text)
    text = EXAMPLE.sub(r'\1Examples:', text)
    return LITERAL.sub(r'`\1`', text)


def _display(found: re.Match) -> str:
    equation = _one_line(f'{found["first"]} {found["rest"]}')
    return f'{found["indent"]}\\[{equation}\\]\n\n'


def _one_line(text: str) -> str:
    return ' '.join(text.split())


class MarkdownDocstrings(griffe.Extension):
    """Change docstrings as they are read, and show each definition once."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Change the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)

    def on_module(self, *, mod: Any, **_: Any) -> None:
        """Take off what a package only passes on: it is shown where it is defined."""
        if mod.is_init_module:
            for name in [n for n, member in mod.members.items() if member.is_alias]:
                mod.del_member(name)
