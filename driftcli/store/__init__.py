"""The HDF5 files that carry peaks and motion from verb to verb."""
