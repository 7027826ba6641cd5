"""Taking the motion out of the traces: each contact's trace is interpolated at its depth plus the displacement."""
