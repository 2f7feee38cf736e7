"""Folded stacks: into parts of the daemon, into functions by what they cost, into a flame graph."""

from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape

Stack = tuple[tuple[str, ...], int]
"""Functions as "module:name", outermost first, and how often they were seen so."""

# What is first found from the innermost function outwards names the part: a socket's send below the exchange
# is the exchange's, a query below the claimer the claimer's.
PARTS = (
    ("daemon.egress.socket_stream", "sockets: send, receive, wait"),
    ("daemon.egress.response", "parse the answer"),
    ("daemon.egress.connection", "round trip: send and read until the end"),
    ("daemon.egress", "exchange: pool, guard, deadline"),
    ("daemon.signing", "sign"),
    ("daemon.delivery.claimer", "claimer"),
    ("daemon.delivery.senders", "senders"),
    ("daemon.delivery.request_template", "write the request"),
    ("daemon.delivery.recorder", "recorder"),
    ("daemon.delivery.sender", "sender: judge, result"),
    ("daemon.delivery", "delivery, the rest"),
    ("daemon.store", "store: queries and their rows"),
    ("daemon.metrics", "metrics"),
    ("api", "REST API"),
    ("quart_trio", "Quart"),
    ("quart", "Quart"),
    ("werkzeug", "Quart"),
    ("hypercorn", "Hypercorn"),
    ("h11", "h11"),
    ("asyncpg", "asyncpg"),
    ("trio_asyncio", "trio-asyncio"),
    ("asyncio", "asyncio"),
    ("trio", "Trio: scheduler and checkpoints"),
    ("logging", "logs"),
    ("daemon", "the rest of hookd"),
)
OTHER = "other libraries"
ROW, WIDTH, NARROWEST = 17, 1200, 1.0


def parse(text: str) -> list[Stack]:
    """Return the stacks of folded lines."""
    stacks = []
    for line in text.splitlines():
        names, _, count = line.rpartition(" ")
        stacks.append((tuple(names.split(";")), int(count)))
    return stacks


def part_of(names: tuple[str, ...]) -> str:
    """Return the part to which a stack belongs. Each stack belongs to one, so that parts add up to all."""
    for name in reversed(names):
        module = name.partition(":")[0]
        for prefix, part in PARTS:
            if module == prefix or module.startswith(prefix + "."):
                return part
    return OTHER


def parts(stacks: Iterable[Stack]) -> list[tuple[str, float]]:
    """Return each part's share of the time, the largest first."""
    return _shares((part_of(names), count) for names, count in stacks)


def inclusive(stacks: Iterable[Stack]) -> list[tuple[str, float]]:
    """Return for each function the share of the time in it and in what it called, the largest first."""
    counted = list(stacks)
    total = sum(count for _, count in counted) or 1
    sums: Counter[str] = Counter()
    for names, count in counted:
        for name in set(names):
            sums[name] += count
    return [(name, count / total) for name, count in sums.most_common()]


def exclusive(stacks: Iterable[Stack]) -> list[tuple[str, float]]:
    """Return for each function the share of the time in it alone, C code it called included."""
    return _shares((names[-1], count) for names, count in stacks)


def flame_graph(stacks: Iterable[Stack], title: str) -> str:
    """Return an SVG in which each function lies on its caller, as wide as the time it takes."""
    counted = sorted(stacks)
    total = sum(count for _, count in counted) or 1
    boxes = list(_boxes(counted, 0, 0, total))
    height = (max((depth for depth, *_ in boxes), default=0) + 3) * ROW
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        "<style>text { font: 11px monospace } .title { font-size: 13px }</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text class="title" x="8" y="{ROW - 4}">{escape(title)}</text>',
    ]
    for depth, name, start, count in boxes:
        width = count / total * WIDTH
        if width < NARROWEST:
            continue
        x, y = start / total * WIDTH, height - (depth + 1) * ROW
        # Its module decides a function's colour, so that what belongs together is seen together.
        hue = sum(name.partition(":")[0].split(".")[0].encode()) * 47 % 360
        room = int(width / 6.7)
        label = escape(name[:room]) if room > 3 else ""
        drawn.append(
            f'<g><title>{escape(name)}: {count / total:.1%}</title><rect x="{x:.1f}" y="{y}"'
            f' width="{max(0.5, width - 0.5):.1f}" height="{ROW - 1}" fill="hsl({hue},65%,78%)"/>'
            f'<text x="{x + 2:.1f}" y="{y + 12}">{label}</text></g>'
        )
    return "\n".join([*drawn, "</svg>\n"])


def _boxes(stacks: list[Stack], depth: int, start: int, total: int) -> Iterator[tuple[int, str, int, int]]:
    """Yield depth, name, first sample and samples of each box; `stacks` are sorted."""
    index = 0
    while index < len(stacks):
        names, count = stacks[index]
        if len(names) <= depth:
            start += count
            index += 1
            continue
        end = index
        while end < len(stacks) and len(stacks[end][0]) > depth and stacks[end][0][depth] == names[depth]:
            end += 1
        inside = stacks[index:end]
        width = sum(one for _, one in inside)
        yield depth, names[depth], start, width
        yield from _boxes(inside, depth + 1, start, total)
        start += width
        index = end


def _shares(pairs: Iterable[tuple[str, int]]) -> list[tuple[str, float]]:
    sums: Counter[str] = Counter()
    for name, count in pairs:
        sums[name] += count
    total = sum(sums.values()) or 1
    return [(name, count / total) for name, count in sums.most_common()]
