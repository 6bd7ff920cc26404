"""Objects that the stubs cannot make: they have what a true class of the bindings has, and nothing else."""

from __future__ import annotations

from typing import Any


class Strict:
    """Stands in for an object of a bound class, where libraries that do nothing cannot make one.

    Members that the class lacks raise ``AttributeError``, as do properties that it does not let be set. Methods note
    their calls and give what they are told to.
    """

    def __init__(self, bound: Any, answers: dict[str, Any] | None = None) -> None:
        self.__dict__.update(bound=bound, answers=answers or {}, calls=[], values={})

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.bound, name)
        if isinstance(member, property):
            return self.values.get(name, self.answers.get(name))
        return lambda *args, **kwargs: self._call(name, *args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        member = getattr(self.bound, name)
        if not isinstance(member, property) or member.fset is None:
            raise AttributeError(f"{self.bound.__name__}.{name} cannot be set")
        self.values[name] = value

    def __iter__(self) -> Any:
        return iter(self.answers.get("__iter__", ()))

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((name, *args))
        answer = self.answers.get(name)
        return answer(*args, **kwargs) if callable(answer) else answer


class VirtualCalls:
    """Calls a bound object as C++ does, through its table of virtual functions.

    pybind11 keeps the address of the C++ object behind ``ob_refcnt`` and ``ob_type``. By the Itanium ABI and
    ``NvInferRuntimeBase.h`` an ``IVersionedInterface`` has ``getAPILanguage``, ``getInterfaceInfo`` and two entries for
    its destructor; what its interface adds follows in the order of the header.
    """

    FIRST = 4

    def __init__(self, instance: Any) -> None:
        import ctypes

        self._ctypes = ctypes
        self._address = ctypes.c_void_p.from_address(id(instance) + 16).value
        self._table = ctypes.c_void_p.from_address(self._address or 0).value or 0

    def call(self, slot: int, result: Any, *arguments: tuple[Any, Any]) -> Any:
        """Call the function of a slot; arguments are pairs of a ctypes type and a value."""
        ctypes = self._ctypes
        address = ctypes.c_void_p.from_address(self._table + slot * ctypes.sizeof(ctypes.c_void_p)).value
        prototype = ctypes.PYFUNCTYPE(result, ctypes.c_void_p, *(kind for kind, _ in arguments))
        return prototype(address or 0)(self._address, *(value for _, value in arguments))

    def interface(self) -> str:
        """Return the interface's own name, by which a wrong address or table would be seen."""
        ctypes = self._ctypes

        class InterfaceInfo(ctypes.Structure):
            _fields_ = (("kind", ctypes.c_char_p), ("major", ctypes.c_int32), ("minor", ctypes.c_int32))

        return str(self.call(1, InterfaceInfo).kind.decode())
