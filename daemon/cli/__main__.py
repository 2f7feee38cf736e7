"""`python -m daemon.cli` is the command `hookd`."""

from daemon.cli.main import main

main()
