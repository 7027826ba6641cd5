"""What the units of a recording look like on the probe, over its displacements, as far as its peaks tell."""
