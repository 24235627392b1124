"""Engines on Ray: replica actors, the `ray.wait` loop that drives the coordinator with them, and the cluster they run on.

The only room below `runs` that imports Ray. It moves messages: what to compute is the coordinator's and the policy's decision.
"""
