"""Which of the detected peaks go on to the localization: one file per method."""
