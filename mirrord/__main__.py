"""``python -m mirrord``: the command line."""

from .cli.main import main

main()
