"""The command line: one file a verb. Parses, calls the workflow and shows; knows no numerics."""
