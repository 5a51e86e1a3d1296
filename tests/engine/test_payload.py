"""One object to a pickle and back: exceptions of every shape, callables, who is to blame."""

from __future__ import annotations

import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import cloudpickle
import numpy as np
import pytest

from pocketflex._engine import failures, payload
from pocketflex._engine.by_value import ship_by_value
from pocketflex.call import Call
from pocketflex.errors import PayloadError, RemoteError


class TwoArguments(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")
        self.a, self.b = a, b


class Formatting(Exception):
    """Its `args` are not what its `__init__` takes, though they fit: pickled plainly it says it twice."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class KeywordOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(code)
        self.code = code


class NoArguments(Exception):
    def __init__(self) -> None:
        super().__init__("always the same")


class OwnText(Exception):
    def __str__(self) -> str:
        return f"own text of {self.args[0]}"


class WrongReduce(Exception):
    def __reduce__(self) -> Any:
        return int, ("x",)


class RaisingReduce(Exception):
    def __reduce__(self) -> Any:
        raise SystemExit("not picklable")


class OtherType(Exception):
    def __reduce__(self) -> Any:
        return ValueError, ("changed its type",)


class RaisingRepr:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        raise ValueError("no repr")


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def there_and_back(error: BaseException) -> BaseException:
    return failures.load_error(failures.dump_error(raised(error)))


def local_class() -> BaseException:
    class Local(ValueError):
        pass

    return Local("from inside a function", 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ValueError("plain", 1),
        lambda: KeyError("key"),
        lambda: OSError(2, "No such file", "name.txt"),
        lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        lambda: StopIteration(5),
        lambda: SystemExit(3),
        lambda: KeyboardInterrupt(),
        lambda: GeneratorExit(),
        lambda: MemoryError(),
        lambda: TwoArguments(1, 2),
        lambda: Formatting(5),
        lambda: KeywordOnly(code=7),
        lambda: NoArguments(),
        lambda: OwnText("it"),
        lambda: WrongReduce("a", 1),
        lambda: RaisingReduce("a"),
        lambda: OtherType("a"),
        lambda: ExceptionGroup("several", [ValueError(1), TypeError(2)]),
        lambda: np.exceptions.AxisError(3, 2),
        local_class,
    ],
    ids=lambda make: type(make()).__name__,
)
def test_an_exception_arrives_as_itself(make: Callable[[], BaseException]) -> None:
    sent, arrived = make(), there_and_back(make())
    assert type(arrived).__qualname__ == type(sent).__qualname__
    assert str(arrived) == str(sent)
    assert repr(arrived.args) == repr(sent.args)
    assert {name: repr(value) for name, value in vars(arrived).items()} == {n: repr(v) for n, v in vars(sent).items()}


def test_a_class_that_both_sides_know_is_the_same_class() -> None:
    arrived = there_and_back(TwoArguments(1, 2))
    assert isinstance(arrived, TwoArguments)
    assert (arrived.a, arrived.b) == (1, 2)


def test_notes_and_attributes_travel() -> None:
    error = ValueError("x")
    error.extra = [1, 2]  # type: ignore[attr-defined]
    error.add_note("look here")
    arrived = there_and_back(error)
    assert arrived.extra == [1, 2]  # type: ignore[attr-defined]
    assert arrived.__notes__ == ["look here"]


def test_the_remote_traceback_is_the_cause_and_has_the_chain() -> None:
    try:
        try:
            raise LookupError("the first")
        except LookupError as first:
            raise ValueError("the second") from first
    except ValueError as error:
        arrived = failures.load_error(failures.dump_error(error))
    text = str(arrived.__cause__)
    assert 'raise LookupError("the first")' in text
    assert "the direct cause" in text
    assert "the second" in "".join(traceback.format_exception(arrived))


@pytest.mark.parametrize("value", [threading.Lock(), (n for n in ()), RaisingRepr()], ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("place", ["args", "attribute"])
def test_what_cannot_be_carried_is_replaced_with_its_name_arguments_and_traceback(place: str, value: Any) -> None:
    error = TwoArguments(1, 2)
    if place == "args":
        error.args = ("told", value)
    else:
        error.opened = value  # type: ignore[attr-defined]
    arrived = there_and_back(error)
    assert isinstance(arrived, RemoteError)
    assert "TwoArguments" in str(arrived)
    assert "raise error" in str(arrived)
    if not isinstance(value, RaisingRepr):
        assert ("told" if place == "args" else "1 and 2") in str(arrived)


# --- callables ---------------------------------------------------------------------------------


class Node:
    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)

    def work(self, item: Any) -> Any:
        return item


def test_the_guilty_attribute_of_a_callable_is_named() -> None:
    with pytest.raises(PayloadError, match=r"node Parse: .*attribute 'lock' \(lock\)") as caught:
        payload.dump_callable(Node(fine=1, lock=threading.Lock()).work, "node Parse")
    assert isinstance(caught.value.__cause__, TypeError)


LOCK = threading.Lock()


def test_the_guilty_variable_of_a_function_is_named() -> None:
    lock, fine = threading.Lock(), 1
    with pytest.raises(PayloadError, match=r"parallel_map\(f\): .*variable 'lock' \(lock\)"):
        payload.dump_callable(lambda _: (fine, lock), "parallel_map(f)")
    with pytest.raises(PayloadError, match=r"variable 'LOCK' \(lock\)"):
        payload.dump_callable(Call(lambda _: (fine, LOCK)), "parallel_map(f)")


def test_large_arrays_leave_the_pickle() -> None:
    array = np.arange(10_000.0)
    data, buffers = payload.dump_callable(Node(array=array).work, "x")
    assert len(data) < 4000
    assert [buffer.nbytes for buffer in buffers] == [array.nbytes]
    loaded = payload.load(data, buffers)
    assert np.array_equal(loaded.__self__.array, array)


def test_each_pickle_stands_alone() -> None:
    pickler = payload.ObjectPickler()
    shared = ["the same object"]
    first, second = pickler.dump(shared), pickler.dump(shared)
    assert first == second
    assert payload.load(second[0]) == shared


def test_a_pickler_goes_on_after_a_failure() -> None:
    pickler = payload.ObjectPickler()
    with pytest.raises(TypeError):
        pickler.dump([np.arange(9000), threading.Lock()])
    data, buffers = pickler.dump([1])
    assert (payload.load(data), buffers) == ([1], [])


def test_an_importable_function_travels_as_its_name() -> None:
    data, buffers = payload.dump_callable(Call(len), "f")
    assert payload.load(data) == Call(len)
    assert (len(data) < 80, buffers) == (True, [])


def test_a_function_that_its_module_does_not_have_travels_by_value() -> None:
    def increment(number: int, step: int = 1) -> int:
        return number + step

    first, _ = payload.dump_callable(Call(increment), "f")
    increment.__defaults__ = (2,)
    second, _ = payload.dump_callable(Call(increment), "f")
    assert [payload.load(data).function(0) for data in (first, second)] == [1, 2]


def test_a_function_of_a_package_registered_by_value_travels_so(monkeypatch: pytest.MonkeyPatch) -> None:
    package, module = ModuleType("packed"), ModuleType("packed.inner")
    exec("def double(number): return 2 * number", vars(module))
    monkeypatch.setitem(sys.modules, "packed", package)
    monkeypatch.setitem(sys.modules, "packed.inner", module)
    by_name, _ = payload.dump_callable(Call(module.double), "f")
    ship_by_value(package)
    try:
        by_value, _ = payload.dump_callable(Call(module.double), "f")
    finally:
        cloudpickle.unregister_pickle_by_value(package)
    assert payload.load(by_name).function is module.double
    assert payload.load(by_value).function is not module.double
    assert payload.load(by_value).function(3) == 6


def test_what_was_pickled_last_is_not_kept_until_a_collection() -> None:
    class Watched:
        pass

    pickler, value = payload.ObjectPickler(), Watched()
    gone = weakref.ref(value)
    pickler.dump([value])
    pickler.shared()
    del value
    assert gone() is None
