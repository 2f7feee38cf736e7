"""How `--help` looks: at most 80 columns, paragraphs filled, examples and tables left as they are."""

import argparse
import shutil
import textwrap

WIDTH = 80
_DESCRIPTION_COLUMN = 26


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs; one that has an indented line keeps all of its lines."""

    def __init__(self, prog: str) -> None:
        width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
        super().__init__(prog, max_help_position=_DESCRIPTION_COLUMN, width=width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(_filled(part, width, indent) for part in text.strip("\n").split("\n\n"))


def _filled(paragraph: str, width: int, indent: str) -> str:
    lines = paragraph.splitlines()
    if any(line.startswith(" ") for line in lines):
        return "\n".join(indent + line for line in lines)
    return textwrap.fill(" ".join(lines), width, initial_indent=indent, subsequent_indent=indent)
