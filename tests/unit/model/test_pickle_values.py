"""The pickle interpreter gives plain values back and turns everything else into names."""

from __future__ import annotations

import collections
import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqr_ray.model.pickle_values import Global, Made, read_values

KEYS = (
    st.text(max_size=4) | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none() | st.binary(max_size=4)
)
PLAIN = st.recursive(
    KEYS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4) | st.tuples(inner, inner, inner)
    ),
    max_leaves=20,
)


def nothing(reference: Any) -> Any:
    return None


class Foreign:
    """A class that the reader must not make an object of."""

    def __init__(self) -> None:
        self.inside = [1, 2]


class Hostile:
    """Runs a callable when it is unpickled in the usual way."""

    def __init__(self, callee: Any, *arguments: Any) -> None:
        self.callee, self.arguments = callee, arguments

    def __reduce__(self) -> Any:
        return self.callee, self.arguments


@given(PLAIN, st.integers(3, 5))
def test_plain_values_come_out_as_they_went_in(value: Any, protocol: int) -> None:
    assert read_values(pickle.dumps(value, protocol), nothing) == value


@pytest.mark.parametrize("protocol", range(3))
def test_old_protocols_are_read(protocol: int) -> None:
    value = {"a": [1, -2, 10**30, 1.5, True, False, None, "é\n"], 3: (1, (2,), (3, 4), (), (5, 6, 7, 8))}
    assert read_values(pickle.dumps(value, protocol), nothing) == value


def test_shared_values_stay_shared() -> None:
    inner = [1]
    value = read_values(pickle.dumps({"a": inner, "b": inner}), nothing)
    assert value["a"] is value["b"]


def test_ordered_dictionaries_are_dictionaries_and_sets_are_lists() -> None:
    ordered = collections.OrderedDict(a=1, b=2)
    assert read_values(pickle.dumps(ordered, 2), nothing) == {"a": 1, "b": 2}
    assert sorted(read_values(pickle.dumps({"s": {3, 1}}, 4), nothing)["s"]) == [1, 3]
    assert sorted(read_values(pickle.dumps(frozenset({3, 1}), 4), nothing)) == [1, 3]


@pytest.mark.parametrize("protocol", range(6))
def test_foreign_objects_and_random_states_are_names_and_their_neighbours_survive(protocol: int) -> None:
    value = {
        "first": 1,
        "carry": Foreign(),
        "numpy": np.random.RandomState(1).get_state(),
        "python": random.getstate(),
        "last": [2],
    }
    found = read_values(pickle.dumps(value, protocol), nothing)
    assert (found["first"], found["last"]) == (1, [2])
    assert isinstance(found["carry"], Made)
    assert isinstance(found["numpy"][1], Made)
    assert found["python"] == random.getstate() or protocol < 2


@pytest.mark.parametrize("protocol", range(6))
def test_hostile_pickle_does_nothing(protocol: int, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    payloads = [
        Hostile(os.system, f"touch {trace}"),
        Hostile(eval, f"open({str(trace)!r}, 'w')"),
        Hostile(exec, f"open({str(trace)!r}, 'w')"),
        Hostile(open, str(trace), "w"),
    ]
    data = pickle.dumps({"payload": payloads, "kept": 5}, protocol)
    found = read_values(data, nothing)
    assert found["kept"] == 5
    assert all(isinstance(item, Made) and isinstance(item.callee, Global) for item in found["payload"])
    assert not trace.exists()
    pickle.loads(data)
    assert trace.exists(), "the payload does nothing anywhere, so the test shows nothing"


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'touch trace'\ntR.",
        b"(S'touch trace'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch trace'\no.",
        b"\x80\x02cbuiltins\neval\nX\x03\x00\x00\x001+1\x85\x81.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x02cos\nsystem\n}X\x01\x00\x00\x00aK\x01sb.",
    ],
)
def test_every_way_to_make_an_object_gives_a_name(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(read_values(data, nothing), (Made, Global))
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"hello",
        b"\x80\x02}X\x05\x00\x00\x00ab",
        b"\x80\x02.",
        b"\x80\x02h\x07.",
        b"\x80\x02e.",
        b"\x80\x05\x97.",
        b"\x80\x02(K\x01K\x02K\x03d.",
        b"I" + b"9" * 5000 + b"\n.",
    ],
)
def test_damaged_pickle_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_values(data, nothing)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_value_error(data: bytes) -> None:
    try:
        read_values(b"\x80\x02" + data, nothing)
    except ValueError:
        return


def test_a_deeply_nested_key_is_not_hashed() -> None:
    nested = b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"K\x01s."
    assert read_values(nested, nothing) == {}


def test_a_huge_memo_number_takes_no_memory() -> None:
    assert read_values(b"\x80\x02K\x05r\xff\xff\xff\x7f.", nothing) == 5
