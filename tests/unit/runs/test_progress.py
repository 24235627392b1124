import io
from dataclasses import replace

import pytest

from eqr_ray.runs.progress import LINE_EVERY_S, Progress, Standing, clock, line

HALFWAY = Standing(done=60, done_before=20, total=100, elapsed_s=20.0, accuracy=0.95, nfe=600, replicas=3)


def test_a_line_tells_rate_accuracy_iterations_replicas_and_time_left():
    assert line(HALFWAY) == (
        "60/100 puzzles (60.0 %), 2.0 puzzles/s, accuracy 95.0 %, NFE 10.0 a puzzle, 3 replicas, 20 s left"
    )


def test_nothing_that_is_not_known_is_shown_as_a_number():
    start = Standing(done=0, done_before=0, total=None, elapsed_s=3.0, accuracy=None, nfe=0, replicas=1)
    assert line(start) == "0 puzzles, 1 replica"
    assert line(replace(start, done=5, nfe=50, done_before=5)) == "5 puzzles, NFE 10.0 a puzzle, 1 replica"


def test_a_finished_run_has_no_time_left():
    assert "left" not in line(replace(HALFWAY, done=100))


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (200, "3:20"), (3723, "1:02:03")])
def test_durations_read_like_a_clock(seconds, text):
    assert clock(seconds) == text


def test_without_a_terminal_a_line_is_written_every_few_seconds_and_at_the_end():
    stream = io.StringIO()
    progress = Progress(100, 0, stream=stream)
    for second in range(1, 13):
        progress.show(replace(HALFWAY, elapsed_s=float(second)))
    progress.show(replace(HALFWAY, done=100, elapsed_s=12.5), last=True)
    progress.close()
    said = stream.getvalue().splitlines()
    assert len(said) == 12 // LINE_EVERY_S + 1
    assert said[-1].startswith("100/100 puzzles (100.0 %)")


def test_in_a_terminal_a_bar_shows_the_same_facts():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    progress = Progress(100, 20, stream=stream)
    progress.show(HALFWAY)
    progress.close()
    assert "60/100" in stream.getvalue()
    assert "accuracy 95.0 %, NFE 10.0 a puzzle, 3 replicas, 20 s left" in stream.getvalue()


def test_a_quiet_run_says_nothing():
    stream = io.StringIO()
    progress = Progress(100, 0, quiet=True, stream=stream)
    progress.show(HALFWAY, last=True)
    progress.close()
    assert stream.getvalue() == ""
