"""libsparknet_c.so by ctypes: its calls, its memory and its errors. Nothing here is for users."""

import ctypes
import json
import os
import pathlib
import sys

import numpy as np


class Error(RuntimeError):
    """What the library refuses, in its words: what is wrong, where, and what to do."""


class ShapeError(Error, ValueError):
    """Shapes, or a shape and an index, that do not go together."""


class DTypeError(Error, TypeError):
    """Another element type than the one asked for."""


class DataError(Error, ValueError):
    """A file, text or stream that is not what it should be."""


class NetError(Error, ValueError):
    """A net that makes no sense, or a call that does not fit it."""


class DeviceError(Error):
    """A device that cannot be had or that failed."""


_ERRORS = {1: Error, 2: ShapeError, 3: DTypeError, 4: DataError, 5: NetError, 6: DeviceError, 7: MemoryError}
_DTYPES = [np.dtype("<f4"), np.dtype("<f8"), np.dtype("u1"), np.dtype("<i4")]
_MAX_RANK = 32
_VERSION = 2


class Text(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t)]


class Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("dtype", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.c_int64 * _MAX_RANK),
    ]


RELEASE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
ALL_GATHER = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, Text, ctypes.POINTER(Text))

_handle = ctypes.c_void_p
_out = ctypes.POINTER(ctypes.c_void_p)
_size = ctypes.c_size_t
_int = ctypes.c_int32
_long_out = ctypes.POINTER(ctypes.c_int64)
_double_out = ctypes.POINTER(ctypes.c_double)
_tensor = ctypes.POINTER(Tensor)

_CALLS = {
    "net_param_parse": [Text, Text, _out],
    "net_param_create": [Text, _out],
    "net_param_add": [_handle, Text],
    "layer_types": [_out],
    "net_param_prototxt": [_handle, _out],
    "net_param_text": [_handle, _out],
    "net_param_equal": [_handle, _handle, ctypes.POINTER(_int)],
    "net_param_layers": [_handle, Text, _out],
    "solver_param_parse": [Text, Text, _out],
    "source_from_tensors": [ctypes.POINTER(Text), _tensor, _size, RELEASE, ctypes.c_void_p, _out],
    "source_from_arrow": [ctypes.c_void_p, Text, _out],
    "source_part": [_handle, _int, _int, _out],
    "source_size": [_handle, _long_out],
    "net_create": [_handle, Text, _out],
    "net_info": [_handle, _out],
    "net_set_data": [_handle, _handle, Text],
    "net_set_input": [_handle, Text, _tensor],
    "net_forward": [_handle, _double_out],
    "net_backward": [_handle],
    "net_blob": [_handle, Text, _tensor],
    "net_blob_diff": [_handle, Text, _tensor],
    "net_get_weights": [_handle, ctypes.c_void_p, _size],
    "net_set_weights": [_handle, ctypes.c_void_p, _size],
    "net_load": [_handle, Text, _out],
    "net_save": [_handle, Text],
    "solver_create": [_handle, _handle, Text, _out],
    "solver_net": [_handle, _out],
    "solver_set_data": [_handle, _handle, Text],
    "solver_set_test_data": [_handle, _handle, Text],
    "solver_step": [_handle, ctypes.c_int64, _double_out],
    "solver_test": [_handle, _out],
    "solver_iteration": [_handle, _long_out],
    "solver_snapshot": [_handle, Text],
    "solver_restore": [_handle, Text],
    "solver_round": [_handle, ctypes.c_void_p, _size, _int, _out],
    "contribution_encode": [_handle, Text, _out],
    "contribution_decode": [ctypes.c_void_p, _size, Text, _out],
    "contribution_merge": [_out, _size, _out],
    "contribution_info": [_handle, _out],
    "joiner_create": [_out],
    "joiner_add": [_handle, _handle],
    "joiner_take": [_handle, _out],
    "master_create": [_handle, _handle, Text, _out],
    "master_task": [_handle, _out],
    "master_apply": [_handle, _out, _size, _out],
    "master_info": [_handle, _out],
    "master_get_weights": [_handle, ctypes.c_void_p, _size],
    "master_snapshot": [_handle, Text],
    "master_restore": [_handle, Text],
    "communicator_create": [_int, _int, Text, ALL_GATHER, ctypes.c_void_p, _out],
    "communicator_broadcast": [_handle, _tensor, _int],
    "communicator_sum": [_handle, _tensor],
    "communicator_leave": [_handle],
    "averaging_create": [_handle, _handle, Text, _out],
    "averaging_round": [_handle, _out],
    "averaging_info": [_handle, _out],
    "averaging_get_weights": [_handle, ctypes.c_void_p, _size],
    "averaging_snapshot": [_handle, Text],
    "averaging_restore": [_handle, Text],
}
_KINDS = ["bytes", "net_param", "solver_param", "source", "net", "solver", "contribution", "joiner", "master"]
_KINDS += ["communicator", "averaging"]


def _load():
    name = "libsparknet_c.so"
    beside = pathlib.Path(__file__).parent / name
    path = os.environ.get("SPARKNET_C_LIBRARY") or (str(beside) if beside.exists() else name)
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise ImportError(
            f"{path} cannot be loaded: {error}. It is in the package once that is installed (pip install .); "
            "SPARKNET_C_LIBRARY names one that is elsewhere"
        ) from None
    version = library.sparknet_c_version()
    if version < _VERSION:
        raise ImportError(f"{path} has version {version} of the C ABI, and this package needs {_VERSION}")
    for call, arguments in _CALLS.items():
        function = getattr(library, "sparknet_" + call)
        function.argtypes, function.restype = arguments, ctypes.c_int
    for kind in _KINDS:
        function = getattr(library, f"sparknet_{kind}_free")
        function.argtypes, function.restype = [_handle], None
    library.sparknet_message.argtypes, library.sparknet_message.restype = [], Text
    library.sparknet_bytes_data.argtypes, library.sparknet_bytes_data.restype = [_handle], ctypes.c_void_p
    library.sparknet_bytes_size.argtypes, library.sparknet_bytes_size.restype = [_handle], _size
    return library


_library = _load()


def text(value):
    """A str as the library takes it."""
    if not isinstance(value, str):
        raise TypeError(f"text is wanted, not {value!r}")
    data = value.encode()
    return Text(data, len(data))


def options(**given):
    """Keyword arguments as options; what is None is left out."""
    return as_json({name: value for name, value in given.items() if value is not None})


def as_json(value):
    def plain(other):
        if isinstance(other, np.generic):
            return other.item()
        if isinstance(other, np.ndarray):
            return other.tolist()
        raise TypeError(f"{other!r} cannot be an option")

    return text(json.dumps(value, default=plain))


def call(name, *arguments):
    """Calls sparknet_NAME; what it refuses is raised."""
    try:
        status = getattr(_library, "sparknet_" + name)(*arguments)
    except ctypes.ArgumentError as error:
        raise TypeError(f"{name}: {error}") from None
    if status != 0:
        message = _library.sparknet_message()
        raise _ERRORS.get(status, Error)(ctypes.string_at(message.data, message.size).decode(errors="replace"))


class Handle:
    """Owns one of the library's things."""

    kind = ""

    def __init__(self, maker, *arguments):
        self._free = getattr(_library, f"sparknet_{self.kind}_free")
        self._as_parameter_ = None
        made = ctypes.c_void_p()
        call(maker, *arguments, ctypes.byref(made))
        self._as_parameter_ = made

    def __del__(self):
        self.close()

    def close(self):
        """Frees it now. What uses it goes on."""
        made = getattr(self, "_as_parameter_", None)
        if made is not None:
            self._as_parameter_ = None
            self._free(made)

    def __reduce__(self):
        raise TypeError(f"a {type(self).__name__} lives in its process and cannot be sent to another")


class Bytes(Handle):
    """Memory that the library made, without a copy: memoryview(b), len(b), bytes(b)."""

    kind = "bytes"

    def __len__(self):
        return _library.sparknet_bytes_size(self)

    def view(self):
        """A memoryview that keeps the memory alive."""
        size = len(self)
        if size == 0:
            return memoryview(b"")
        array = (ctypes.c_ubyte * size).from_address(_library.sparknet_bytes_data(self))
        array.owner = self
        return memoryview(array).cast("B").toreadonly()

    def __bytes__(self):
        return ctypes.string_at(_library.sparknet_bytes_data(self), len(self))

    if sys.version_info >= (3, 12):

        def __buffer__(self, flags):
            return self.view()


def made_text(maker, *arguments):
    return bytes(Bytes(maker, *arguments)).decode()


def made_json(maker, *arguments):
    return json.loads(made_text(maker, *arguments))


def array_of(value):
    """Anything that is an array (NumPy, DLPack, Arrow, lists) as a dense NumPy array of a type the library has."""
    if not isinstance(value, np.ndarray):
        if hasattr(value, "__dlpack__") and not hasattr(value, "__arrow_c_array__"):
            value = np.from_dlpack(value)
        else:
            value = np.asarray(value)
    if value.dtype not in _DTYPES:
        kind = value.dtype.kind
        if kind in "iub" and (value.size == 0 or (value.min() >= -(2**31) and value.max() < 2**31)):
            value = value.astype("<i4")
        elif kind == "f":
            value = value.astype("<f4" if value.dtype.itemsize < 4 else "<f8")
        else:
            raise DTypeError(f"an array of {value.dtype}; f32, f64, u8 and integers that fit an i32 are possible")
    return np.ascontiguousarray(value)


def tensor_of(array):
    """The library's view of a dense array, which the caller keeps alive."""
    if array.ndim > _MAX_RANK:
        raise ShapeError(f"an array of {array.ndim} dimensions; {_MAX_RANK} are the most")
    tensor = Tensor(array.ctypes.data, _DTYPES.index(array.dtype), array.ndim)
    tensor.shape[: array.ndim] = array.shape
    return tensor


def array_from(tensor):
    """A copy of a tensor of the library's."""
    shape = tuple(tensor.shape[: tensor.rank])
    array = np.empty(shape, _DTYPES[tensor.dtype])
    if array.size:
        ctypes.memmove(array.ctypes.data, tensor.data, array.nbytes)
    return array


def buffer_of(data):
    """The address, the size and a keeper of any bytes-like object, without a copy."""
    if isinstance(data, Bytes):
        return _library.sparknet_bytes_data(data), len(data), data
    array = np.frombuffer(data, np.uint8) if len(data) else np.empty(0, np.uint8)
    return array.ctypes.data, array.size, array


def capsule_pointer(capsule, name):
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get(capsule, name)
