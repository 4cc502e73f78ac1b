"""What is remembered has an upper bound, and the oldest entry makes room."""

from __future__ import annotations

from tokenledger_semconv.bounded_cache import BoundedCache


def test_the_oldest_entry_makes_room() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    for number, key in enumerate("abc"):
        cache[key] = number
    assert cache == {"b": 1, "c": 2}


def test_an_entry_that_is_set_again_is_the_newest() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache["a"] = 1
    cache["b"] = 2
    cache["a"] = 3
    cache["c"] = 4
    assert cache == {"a": 3, "c": 4}
    assert cache.get("b") is None
