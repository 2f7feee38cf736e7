"""List the benchmarks, or run some.

python -m bench                      list them
python -m bench drain --runs 3       one, with its own options (--help)
python -m bench drain drain_tls      several, with their defaults
python -m bench all                  all, one after another
"""

import ast
import subprocess
import sys
from pathlib import Path

from bench.figures import table
from bench.processes import ROOT

ALL = (
    "drain",
    "drain_payloads",
    "drain_tls",
    "profile",
    "publish",
    "single",
    "latency",
    "hanging",
    "neighbours",
    "burst",
    "fan_out",
    "receivers",
    "memory",
    "idle",
    "queue_drain",
    "queue_sizes",
    "plans",
    "statements",
    "held_xmin",
)
AFTERWARDS = ("chart", "summary")
"""What `all` runs at the end."""


def main(arguments: list[str]) -> int:
    """Run what the arguments name; return the exit status, the first that is not 0."""
    if not arguments:
        print(table(["benchmark", ""], [[name, title(name)] for name in (*ALL, *AFTERWARDS)]))
        print("\npython -m bench NAME [--help] runs one, python -m bench all (make bench) all")
        return 0
    named = [word for word in arguments if not word.startswith("-")]
    if arguments == ["all"]:
        chosen: list[list[str]] = [[name] for name in (*ALL, *AFTERWARDS)]
    elif len(named) == len(arguments):
        chosen = [[name] for name in arguments]
    else:
        chosen = [arguments]
    for name, *_ in chosen:
        if name not in (*ALL, *AFTERWARDS):
            print(f"bench: there is no {name!r}: `python -m bench` lists those there are", file=sys.stderr)
            return 2
    status = 0
    for name, *options in chosen:
        print(f"== {name}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"bench.{name}", *options], cwd=ROOT, check=False)
        status = status or done.returncode
    return status


def title(name: str) -> str:
    """Return the first line of a benchmark's description."""
    source = (Path(__file__).parent / f"{name}.py").read_text()
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
