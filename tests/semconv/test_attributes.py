"""The contract explains every name, and every dimension travels under one of them."""

from __future__ import annotations

import ast
import inspect
import itertools
from typing import TYPE_CHECKING

import pytest

from tokenledger_semconv import attributes, emitters
from tokenledger_semconv.dimensions import ATTRIBUTION_KEYS, DIMENSIONS

if TYPE_CHECKING:
    from types import ModuleType


def names_of(module: ModuleType) -> dict[str, str]:
    return {
        name: value
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }


NAMES = names_of(attributes)


@pytest.mark.parametrize("module", [attributes, emitters], ids=["ours", "other emitters'"])
def test_every_name_is_followed_by_its_meaning(module: ModuleType) -> None:
    body = ast.parse(inspect.getsource(module)).body
    explained = {
        first.target.id
        for first, second in itertools.pairwise(body)
        if isinstance(first, ast.AnnAssign)
        and isinstance(first.target, ast.Name)
        and isinstance(second, ast.Expr)
        and isinstance(second.value, ast.Constant)
    }
    assert explained == set(names_of(module))


def test_no_two_names_mean_one_attribute() -> None:
    both = [*NAMES.values(), *names_of(emitters).values()]
    assert len(set(both)) == len(both)


def test_every_dimension_travels_under_a_known_attribute() -> None:
    carried = {dimension.attribute for dimension in DIMENSIONS if dimension.attribute}
    assert carried <= set(NAMES.values())
    assert set(ATTRIBUTION_KEYS.values()) <= carried
