"""`hookd config`: the configuration file that hookd comes with."""

import argparse

from daemon.cli.failure import OK
from daemon.cli.shipped import CONFIG, shipped


def run(args: argparse.Namespace) -> int:
    """Print the file; return the exit code."""
    print(shipped(CONFIG), end="")
    return OK
