"""The version of hookd that is installed."""

from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    try:
        return version("hookd")
    except PackageNotFoundError:  # run from a source tree
        return "0"


VERSION = _installed()
