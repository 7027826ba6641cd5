"""driftcli takes probe drift out of extracellular recordings."""

__version__ = "0.1.0"
