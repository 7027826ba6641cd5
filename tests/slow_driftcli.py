"""driftcli whose every block takes longer, so that a test can catch it at work: `slow_driftcli.py SECONDS VERB ...`."""

import sys
import time


def slow_down(seconds):
    """From now on in this process; a second call changes how long."""
    from driftcli.workflow.journal import Journal

    record = getattr(Journal.record, "fast", Journal.record)

    def record_slowly(*arguments):
        record(*arguments)
        time.sleep(seconds)

    record_slowly.fast = record
    Journal.record = record_slowly


if __name__ == "__main__":
    from driftcli.cli.main import main

    slow_down(float(sys.argv.pop(1)))
    main()
