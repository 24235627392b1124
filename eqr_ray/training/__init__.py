"""Segmented online training (SOT) of equilibrium reasoners (torch); imports without Ray or Optuna."""
