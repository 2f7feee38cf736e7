"""Python's garbage collector, which stops everything while it looks."""

import gc


def collect_seldom() -> None:
    """Let the garbage collector leave alone what lives as long as the process, and look at the rest seldom.

    A delivery makes hundreds of objects and no cycles: the usual thresholds cost a tenth of the rate. But
    what is looked at in one go stops everything: 20,000 new objects for 6 ms, or 20 where others take the
    processor meanwhile. What has lived for a while is looked at every two million.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(4_000, 500, 100)
