"""The commands that take a data set."""

VERBS = ("prepare", "check", "train", "evaluate", "report", "runs", "publish")
