"""Examples as shell lines: $HOOKD is the server's address, $TOKEN a token."""

import json
from urllib.parse import urlencode

from api.reference.operation import JSON_TYPE, Example, Operation

_INDENT = " \\\n  "
_NARROW = 56  # characters of JSON that go on one line


def shell_line(operation: Operation, example: Example) -> str:
    """Return the `curl` command that sends the example."""
    path = operation.path
    for parameter in operation.parameters:
        path = path.replace(f"{{{parameter.name}}}", str(parameter.example))
    if example.query:
        path += "?" + urlencode(example.query)
    method = "" if operation.method == "GET" else f"-X {operation.method} "
    parts = [f'curl {method}"$HOOKD{path}"']
    if operation.roles is not None:
        parts.append('-H "Authorization: Bearer $TOKEN"')
    parts += [f"-H {_quoted(f'{name}: {value}')}" for name, value in example.headers.items()]
    if example.body is not None:
        parts.append(f"-H {_quoted(f'Content-Type: {example.media_type}')}")
        if example.media_type == JSON_TYPE:
            parts.append(f"-d {_quoted(pretty(example.body))}")
        else:
            parts.append(f"--data-binary {_quoted(str(example.body))}")
    return _INDENT.join(parts)


def pretty(value: object) -> str:
    """Return a JSON value as people like to read it: what is short stays on one line."""
    return _pretty(value, "")


def _pretty(value: object, indent: str) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value:
        return text
    if len(indent) + len(text) <= _NARROW and (indent or len(value) == 1):
        return text
    inner = indent + "  "
    if isinstance(value, list):
        opening, closing = "[", "]"
        items = [_pretty(item, inner) for item in value]
    else:
        opening, closing = "{", "}"
        items = [f"{json.dumps(name)}: {_pretty(item, inner)}" for name, item in value.items()]
    lines = ",\n".join(inner + item for item in items)
    return f"{opening}\n{lines}\n{indent}{closing}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
