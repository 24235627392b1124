"""Puzzles: rules, notation, files, exact solver, generator."""
