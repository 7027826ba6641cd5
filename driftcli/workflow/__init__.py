"""The verbs: one file each, from files to files. `stream` feeds them, `runlog` says what they did."""
