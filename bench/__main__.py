"""Run one benchmark by name, or all.

python -m bench                    all, one after another
python -m bench held_xmin --wrote  one, with its own options (--help)
"""

import runpy
import sys

ALL = ("queue_drain", "held_xmin")


def main() -> int:
    """Run what the arguments name; return the exit status."""
    names = sys.argv[1:2] or ALL
    for name in names:
        if name not in ALL:
            print(f"bench: there is no {name!r}: choose one of {', '.join(ALL)}", file=sys.stderr)
            return 2
        sys.argv = [f"bench.{name}", *sys.argv[2:]]
        print(f"== {name}", flush=True)
        runpy.run_module(f"bench.{name}", run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
