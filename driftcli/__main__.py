"""`python -m driftcli` is `driftcli`."""

from driftcli.cli.main import main

main()
