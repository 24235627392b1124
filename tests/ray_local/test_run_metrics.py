"""The metrics of a run, scraped from the exporter of a real Ray."""

from __future__ import annotations

import json
import random
import re
import time
import urllib.request

import pytest
import ray
from engines import Simulated

from eqr_ray.config import load_config
from eqr_ray.distributed.machines import Machines
from eqr_ray.distributed.metrics import COUNTERS, GAUGES, PER_REPLICA
from eqr_ray.runs.evaluate import run_evaluation
from eqr_ray.runs.recipe import Recipe

pytestmark = [pytest.mark.usefixtures("one_node")]
N_PUZZLES = 80
SAMPLE = re.compile(r"^(ray_eqr_\w+)\{([^}]*)\} (\S+)$", re.M)


def scrape(run: str) -> dict[str, dict[str, float]]:
    """Return metric -> labels as written -> value, of one run: other tests report to the same Ray."""
    found: dict[str, dict[str, float]] = {}
    for node in ray.nodes():
        if node["Alive"]:
            url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
            text = urllib.request.urlopen(url, timeout=30).read().decode()
            for name, labels, value in SAMPLE.findall(text):
                if f'run="{run}"' in labels:
                    found.setdefault(name, {})[labels] = float(value)
    return found


def runs() -> set[str]:
    """Return the runs of which Ray remembers a replica."""
    names = [actor.name.split("/") for actor in Machines(None, 1).actors()]
    return {name[1] for name in names if name[0] == "eqr"}


@pytest.fixture(scope="module")
def exported(one_node: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """What is exported once a run of two replicas has ended."""
    folder = tmp_path_factory.mktemp("metered")
    draw = random.Random(3)
    answer = "1234341221434321"
    rows = [f"a,{''.join(c if draw.random() < 0.5 else '.' for c in answer)},{answer},\n" for _ in range(N_PUZZLES)]
    (folder / "puzzles.csv").write_text("source,question,answer,rating\n" + "".join(rows))
    before = runs()
    given = {"puzzles": str(folder / "puzzles.csv"), "out": str(folder / "out"), "replicas": 2, "policy.depth": 32}
    run_evaluation(load_config(None, (), given), Recipe(lambda device, threads: Simulated(0.01)), quiet=True)
    (own,) = runs() - before
    assert own.startswith(json.loads((folder / "out" / "manifest.json").read_text())["run_id"] + "-"), (
        "as status names it"
    )
    ends = time.monotonic() + 90
    while True:
        found = scrape(own)
        # Ray's processes hand their numbers on every few seconds.
        if sum(found.get("ray_eqr_puzzles_total", {}).values()) >= N_PUZZLES or time.monotonic() > ends:
            return found
        time.sleep(1.0)


def total(exported: dict[str, dict[str, float]], name: str) -> float:
    return sum(exported[name].values())


def test_every_declared_metric_is_exported_under_the_name_that_the_dashboard_uses(exported):
    # Nothing was lost in this run, so counters of losses never spoke.
    silent = {"eqr_lost_slices", "eqr_copied_slices", "eqr_lost_replicas", "eqr_crashed_puzzles"}
    wanted = {f"ray_{name}_total" for name in COUNTERS.keys() - silent} | {
        f"ray_{name}" for name in (*GAUGES, *PER_REPLICA)
    }
    assert wanted <= exported.keys()


def test_the_numbers_are_those_of_the_run(exported):
    assert total(exported, "ray_eqr_puzzles_total") == N_PUZZLES
    assert total(exported, "ray_eqr_nfe_computed_total") >= total(exported, "ray_eqr_nfe_total") >= N_PUZZLES
    assert total(exported, "ray_eqr_puzzles_left") == 0
    assert 0 <= total(exported, "ray_eqr_exact_accuracy") <= 1


def test_what_has_ended_reads_zero_and_replicas_are_told_apart(exported):
    assert total(exported, "ray_eqr_replicas") == 0
    for name in PER_REPLICA:
        labels = list(exported[f"ray_{name}"])
        assert all('replica="replica-' in label and 'run="' in label for label in labels)
        assert set(exported[f"ray_{name}"].values()) == {0.0}
