import signal
import threading

import pytest

from eqr_ray.runs.stopping import StopWish


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_nothing_else_happens(number):
    with StopWish() as stop:
        assert stop.name is None
        signal.raise_signal(number)
        assert stop.name == signal.Signals(number).name


def test_a_second_ctrl_c_interrupts_at_once():
    with StopWish() as stop:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop.name == "SIGTERM"


def test_the_handlers_from_before_are_back_afterwards():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopWish() as stop:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop.install()
        signal.raise_signal(signal.SIGTERM)
        assert stop.name == "SIGTERM"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_outside_the_main_thread_no_handler_is_set():
    before = signal.getsignal(signal.SIGINT)
    during: list[object] = []

    def work() -> None:
        with StopWish():
            during.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert during == [before]
