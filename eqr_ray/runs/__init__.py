"""Whole runs, composed of the rooms below: what a command, a Ray job or a script calls."""
