"""Tensors and plain values out of a file written by `torch.save`, without running what is pickled in it.

A file in torch's format is an uncompressed zip archive: a pickle that names storages, and one entry of raw bytes for
each storage. Invariants, asserted in tests/unit/model/test_torch_archive.py: tensors equal those that torch reads; only
storages that are asked for are read; a file that is cut off, compressed, no archive, or claims more numbers than it
holds is an InputError, and none of them needs more memory than the file.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eqr_ray.model.pickle_values import MAX_PICKLE_BYTES, Global, Made, read_values
from eqr_ray.types import InputError

_STORAGES = {
    "torch.FloatStorage": torch.float32, "torch.DoubleStorage": torch.float64, "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16, "torch.LongStorage": torch.int64, "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16, "torch.CharStorage": torch.int8, "torch.ByteStorage": torch.uint8, "torch.BoolStorage": torch.bool,
}  # fmt: skip
_TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
_PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
_ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A run of numbers in the archive."""

    entry: str
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class TensorRef:
    """Where a tensor lies in the archive; `TorchArchive.tensor` reads it."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class TorchArchive:
    """A file of `torch.save`: its plain values at once, its tensors on demand."""

    def __init__(self, path: str | Path) -> None:
        """Open the archive and read `values`, where tensors are what `tensor_named` knows; InputError when it is not
        one.
        """
        self.path = path
        try:
            with open(path, "rb") as stream:
                magic = stream.read(4)
            if magic != _ZIP_MAGIC:
                raise InputError(
                    f"{path} is not a checkpoint in torch's zip format (it starts with {magic!r}); "
                    "fetch it again, or load and save it with torch 1.6 or later"
                )
            self.zip = zipfile.ZipFile(path)
            entries = [name for name in self.zip.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
            if len(entries) != 1:
                raise InputError(
                    f"{path} holds {len(entries)} data.pkl entries, a torch checkpoint holds one; fetch it again"
                )
            self.root = entries[0].removesuffix("data.pkl")
            if f"{self.root}byteorder" in self.zip.namelist() and self._entry(f"{self.root}byteorder", 16) != b"little":
                raise InputError(
                    f"{path} was saved on a big-endian machine; load and save it with torch on a little-endian one"
                )
            pickled = self._entry(entries[0], MAX_PICKLE_BYTES)
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror or error}); name a published .pth file"
            ) from error
        except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
            raise InputError(f"{path} is a damaged zip archive ({error}); fetch it again") from error
        try:
            self.values = read_values(pickled, self._storage)
        except ValueError as error:
            raise InputError(f"{path}: data.pkl is not a readable checkpoint ({error}); fetch it again") from error

    def tensor(self, ref: TensorRef) -> Tensor:
        """Read a tensor; InputError when its storage is missing or shorter than the tensor says."""
        n = math.prod(ref.shape)
        last = ref.offset + sum((size - 1) * step for size, step in zip(ref.shape, ref.stride, strict=True)) if n else 0
        try:
            size = self.zip.getinfo(ref.storage.entry).file_size
            held = size // ref.storage.dtype.itemsize
            if min((ref.offset, *ref.stride, *ref.shape)) < 0 or n > held or last >= max(held, 1):
                raise InputError(
                    f"{self.path}: a tensor of shape {ref.shape} needs more than the {held} numbers of its storage; the file is damaged"
                )
            raw = bytearray(self._entry(ref.storage.entry, size))
        except (KeyError, zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError) as error:
            raise InputError(
                f"{self.path}: storage {ref.storage.entry} cannot be read ({error}); fetch it again"
            ) from error
        if n == 0:
            return torch.empty(ref.shape, dtype=ref.storage.dtype)
        flat = torch.frombuffer(raw, dtype=ref.storage.dtype, count=held)
        return flat.as_strided(ref.shape, ref.stride, ref.offset).clone()

    def _entry(self, name: str, most: int) -> bytes:
        info = self.zip.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise InputError(
                f"{self.path}: entry {name} is compressed, and torch stores entries as they are; fetch it again"
            )
        if info.file_size > most:
            raise InputError(f"{self.path}: entry {name} has {info.file_size} bytes, more than {most}; fetch it again")
        return self.zip.read(info)

    def _storage(self, reference: Any) -> Any:
        """Turn torch's persistent id ("storage", class, key, device, numbers) into a `StorageRef`."""
        match reference:
            case ("storage", Global(name=kind), str(key), *_) if kind in _STORAGES:
                return StorageRef(f"{self.root}data/{key}", _STORAGES[kind])
        return None


def tensor_named(value: Any) -> TensorRef | None:
    """Return which tensor a value of the archive stands for, None when it is something else."""
    if (
        isinstance(value, Made)
        and isinstance(value.callee, Global)
        and value.callee.name in _PARAMETERS
        and value.arguments
    ):
        value = value.arguments[0]
    match value:
        case Made(
            callee=Global(name=name), arguments=(StorageRef() as storage, int(offset), tuple(shape), tuple(stride), *_)
        ):
            whole = all(type(number) is int for number in (*shape, *stride))
            if name in _TENSORS and whole and len(shape) == len(stride):
                return TensorRef(storage, offset, shape, stride)
    return None
