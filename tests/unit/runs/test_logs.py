from __future__ import annotations

import json
import logging
import threading

import pytest

from eqr_ray.runs import logs
from eqr_ray.types import InputError

LOG = logging.getLogger("eqr_ray.runs.some")


@pytest.fixture(autouse=True)
def _as_before() -> None:
    own = logging.getLogger("eqr_ray")
    before = (own.level, list(own.handlers))
    yield
    own.level, own.handlers = before


def test_a_json_log_is_one_object_a_line_with_the_run_s_id(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EQR_LOG", "json")
    monkeypatch.setenv("EQR_LOG_LEVEL", "info")
    logs.start()
    logs.start()
    with logs.of_run("ab12"):
        thread = threading.Thread(target=LOG.info, args=("two\nlines of %s", "a thread"))
        thread.start()
        thread.join()
        import sys

        logs.say("3/4 puzzles", {"done": 3}, sys.stderr)
    LOG.warning("after")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["run"], line["message"]) for line in lines] == [
        ("info", "ab12", "two\nlines of a thread"), ("info", "ab12", "3/4 puzzles"), ("warning", "", "after"),
    ]  # fmt: skip
    assert lines[1]["done"] == 3
    assert {"time", "logger"} <= lines[0].keys()


def test_text_is_for_people_and_says_little_by_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EQR_LOG", raising=False)
    monkeypatch.delenv("EQR_LOG_LEVEL", raising=False)
    logs.start()
    LOG.info("unseen")
    with logs.of_run("ab12"):
        LOG.warning("seen")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" warning run ab12: seen")


@pytest.mark.parametrize(("name", "value"), [("EQR_LOG", "xml"), ("EQR_LOG_LEVEL", "loud")])
def test_a_form_or_level_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"{name} must be"):
        logs.start()
