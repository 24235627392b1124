"""Plain values out of a pickle, by an interpreter that cannot run code.

The standard library's disassembler splits the stream into opcodes; the few opcodes that build containers, numbers and
text are carried out here, and every other class or function is a name. Nothing is imported, called or looked up.
Invariants, asserted in tests/unit/model/test_pickle_values.py: plain values come out as they went in; an object of any
class, and what it would do while it is made, comes out as an inert `Made` that remembers the name and the arguments; a
damaged stream is a ValueError.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_PICKLE_BYTES = 256 << 20
"""Longest pickle that is read: published checkpoints keep tensors outside of it and need less than 1 MiB."""


@dataclass(frozen=True, slots=True, eq=False)
class Global:
    """The name of a class or function that the pickle asks for; never looked up."""

    name: str
    """`module.qualified_name`"""


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What a call would have returned, had it been made."""

    callee: Any
    """A `Global`, or anything else that the pickle would have called."""
    arguments: tuple[Any, ...]


class _Mark:
    """Where the items of a container begin on the stack."""


_MARK = _Mark()
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": list}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_SIZED_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_LITERALS = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
    ]
)
_KEYS = (str, int, float, bytes, type(None))


def read_values(data: bytes, persistent: Callable[[Any], Any]) -> Any:
    """Return the value that a pickle describes.

    `persistent` turns a persistent id (where torch refers to a tensor's storage) into a value. Sets come out as lists,
    ordered dictionaries as dictionaries; items of a dictionary whose key is no text, number or None are dropped. Raises
    ValueError for a stream that is cut off, not a pickle, or too long.
    """
    if len(data) > MAX_PICKLE_BYTES:
        raise ValueError(f"the pickle has {len(data)} bytes, more than {MAX_PICKLE_BYTES}")
    machine = _Machine(persistent)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode.name, argument)
        return machine.stack.pop()
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError, UnicodeError) as error:
        raise ValueError(f"the pickle is damaged ({type(error).__name__}: {error})") from error


class _Machine:
    """The pickle stack machine with no way out of it."""

    def __init__(self, persistent: Callable[[Any], Any]) -> None:
        self.persistent = persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Carry out one opcode."""
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[int(argument)] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[int(argument)])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _SIZED_TUPLES:
            stack[-_SIZED_TUPLES[name] :] = [tuple(stack[-_SIZED_TUPLES[name] :])]
        elif name == "TUPLE":
            stack.append(tuple(self._items()))
        elif name in ("LIST", "FROZENSET"):
            stack.append(self._items())
        elif name == "DICT":
            items = self._items()
            stack.append({})
            self._set(items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            self._set([key, value])
        elif name == "SETITEMS":
            self._set(self._items())
        elif name == "APPEND":
            self._extend([stack.pop()])
        elif name in ("APPENDS", "ADDITEMS"):
            self._extend(self._items())
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            self._items()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name not in ("PROTO", "FRAME", "STOP"):
            self._foreign(name, argument)

    def _foreign(self, name: str, argument: Any) -> None:
        """Opcodes with which a pickle names, makes and fills objects: names and inert values instead."""
        stack = self.stack
        if name == "GLOBAL":
            stack.append(Global(".".join(argument.split(" ", 1))))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(Global(f"{module}.{attribute}"))
        elif name in ("EXT1", "EXT2", "EXT4"):
            stack.append(Global(f"extension {argument}"))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, callee = stack.pop(), stack.pop()
            stack.append(self._made(callee, arguments))
        elif name == "NEWOBJ_EX":
            _, arguments, callee = stack.pop(), stack.pop(), stack.pop()
            stack.append(self._made(callee, arguments))
        elif name == "INST":
            stack.append(Made(Global(".".join(argument.split(" ", 1))), tuple(self._items())))
        elif name == "OBJ":
            callee, *arguments = self._items()
            stack.append(Made(callee, tuple(arguments)))
        elif name == "BUILD":
            stack.pop()
        elif name == "PERSID":
            stack.append(self.persistent(argument))
        elif name == "BINPERSID":
            stack.append(self.persistent(stack.pop()))
        else:
            raise ValueError(f"the pickle uses the opcode {name}, which no saved checkpoint needs")

    def _made(self, callee: Any, arguments: Any) -> Any:
        arguments = tuple(arguments) if isinstance(arguments, (tuple, list)) else (arguments,)
        if isinstance(callee, Global) and callee.name == "collections.OrderedDict" and not arguments:
            return {}
        return Made(callee, arguments)

    def _items(self) -> list[Any]:
        """Take everything above the last mark off the stack, and the mark."""
        items: list[Any] = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            # A key of any other kind would be hashed item by item, however deep it is nested.
            target.update(
                (key, value) for key, value in zip(items[::2], items[1::2], strict=True) if isinstance(key, _KEYS)
            )

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)
