"""How right, how certain, how dear: scoring of verdicts, the numbers of a run and its report."""
