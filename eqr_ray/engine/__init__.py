"""The torch engine: continuous batching of trajectories over fixed tiles."""
