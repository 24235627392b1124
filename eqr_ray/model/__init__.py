"""The network f_θ, its specification and its checkpoints (torch)."""
