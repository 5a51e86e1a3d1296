"""What the package shows to the outside is there, sorted and documented."""

from __future__ import annotations

import inspect
from importlib.resources import files

import pytest

import pocketflex as pf

DOCUMENTED = [name for name in pf.__all__ if inspect.isclass(getattr(pf, name)) or callable(getattr(pf, name))]


def test_all_is_sorted_and_has_no_name_twice() -> None:
    assert pf.__all__ == sorted(set(pf.__all__))


@pytest.mark.parametrize("name", pf.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(pf, name).__name__ == name


def test_every_public_value_is_listed() -> None:
    own = {
        name
        for name, value in vars(pf).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and getattr(value, "__module__", "").startswith("pocketflex")
    }
    assert own <= set(pf.__all__)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_public_class_and_function_has_its_own_docstring(name: str) -> None:
    value = getattr(pf, name)
    inherited = [base.__doc__ for base in value.__mro__[1:]] if inspect.isclass(value) else []
    assert value.__doc__
    assert value.__doc__ not in inherited
    assert not value.__doc__.startswith(f"{name}(")  # what a dataclass writes for itself


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if inspect.isclass(getattr(pf, name))])
def test_every_public_method_has_a_docstring(name: str) -> None:
    methods = {
        method: value
        for method, value in vars(getattr(pf, name)).items()
        if not method.startswith("_") and (inspect.isfunction(value) or isinstance(value, property | classmethod))
    }
    assert [method for method, value in methods.items() if not inspect.getdoc(value)] == []


def test_dir_is_complete() -> None:
    assert set(pf.__all__) <= set(dir(pf))
    assert "__version__" in dir(pf)


def test_an_unknown_name_is_an_attribute_error_that_says_so() -> None:
    with pytest.raises(AttributeError, match=r"module 'pocketflex' has no attribute 'nothing'"):
        pf.nothing  # noqa: B018


def test_star_import_gives_exactly_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from pocketflex import *", names)
    assert set(names) - {"__builtins__"} == set(pf.__all__)


def test_the_type_marker_is_shipped() -> None:
    assert (files("pocketflex") / "py.typed").is_file()


def test_every_error_is_a_pocketflex_error_and_a_builtin_one() -> None:
    errors = [value for name in pf.__all__ if inspect.isclass(value := getattr(pf, name)) and name.endswith("Error")]
    assert pf.PocketflexError in errors
    for error in errors:
        assert issubclass(error, pf.PocketflexError)
        assert error is pf.PocketflexError or len(error.__bases__) == 2


def test_a_misspelt_name_is_told_as_python_tells_it() -> None:
    with pytest.raises(AttributeError) as caught:
        pf.run_paralel  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("run_paralel", pf)
