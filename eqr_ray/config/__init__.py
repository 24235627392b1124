"""The configuration of a run: one YAML, frozen pydantic models, every value checked before anything is touched."""

from eqr_ray.config.evaluate import EvaluateConfig, PolicyConfig, first_difference, load_config, policy_config
from eqr_ray.config.reading import Config, load_into, parse_yaml

__all__ = [
    "Config",
    "EvaluateConfig",
    "PolicyConfig",
    "first_difference",
    "load_config",
    "load_into",
    "parse_yaml",
    "policy_config",
]
