"""Optuna over policies and dynamics: the only room that knows it."""

import warnings

from optuna.exceptions import ExperimentalWarning

# Grouped sampling and metric names are what we use knowingly; a user of the command cannot act on it.
warnings.filterwarnings("ignore", category=ExperimentalWarning, module=r"optuna|eqr_ray")
