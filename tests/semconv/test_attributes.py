"""The contract explains every name, and every dimension travels under one of them."""

from __future__ import annotations

import ast
import inspect
import itertools

from tokenledger_semconv import attributes
from tokenledger_semconv.dimensions import ATTRIBUTION_KEYS, DIMENSIONS

NAMES = {
    name: value
    for name, value in vars(attributes).items()
    if name.isupper() and isinstance(value, str)
}


def test_every_name_is_followed_by_its_meaning() -> None:
    body = ast.parse(inspect.getsource(attributes)).body
    explained = {
        first.target.id
        for first, second in itertools.pairwise(body)
        if isinstance(first, ast.AnnAssign)
        and isinstance(first.target, ast.Name)
        and isinstance(second, ast.Expr)
        and isinstance(second.value, ast.Constant)
    }
    assert explained == set(NAMES)


def test_no_two_names_mean_one_attribute() -> None:
    assert len(set(NAMES.values())) == len(NAMES)


def test_every_dimension_travels_under_a_known_attribute() -> None:
    carried = {dimension.attribute for dimension in DIMENSIONS if dimension.attribute}
    assert carried <= set(NAMES.values())
    assert set(ATTRIBUTION_KEYS.values()) <= carried
