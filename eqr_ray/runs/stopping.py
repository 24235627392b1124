"""Ctrl-C and SIGTERM as a wish to stop, not as an exception in the middle of something.

Invariants, asserted in tests/unit/runs/test_stopping.py: the first signal is noted and nothing else; a second Ctrl-C interrupts at
once; the handlers from before are back afterwards.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopWish:
    """A context in which SIGINT and SIGTERM set `name`; outside the main thread, where Python allows no handlers, it never does."""

    def __init__(self) -> None:
        self.name: str | None = None
        """Name of the first signal that came, None while there was none."""
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopWish:
        self.install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()

    def install(self) -> None:
        """Take the signals; once more after a library has set handlers of its own, as Ray does when it connects."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            handler = signal.signal(number, self._note)
            if handler != self._note:
                self._before.setdefault(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.name is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = self.name or signal.Signals(number).name
