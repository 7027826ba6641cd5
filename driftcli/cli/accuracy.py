"""driftcli simulate"""


def command() -> None:
    """x"""
