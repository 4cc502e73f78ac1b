"""The token vector: the usage of one call, in the units that providers bill.

`None` means that the provider did not report a count, `0` that it reported zero. Input includes
cache reads and writes, and output includes reasoning, regardless of the provider's convention. A
reader brings its numbers into this shape; everything after it relies on the invariants below.
"""

from typing import Final, NamedTuple

TEXT_COUNTS: Final = 6
"""The number of counts at the start of a vector that concern text; most calls have only these."""

MAX_COUNT: Final = 1_000_000_000
"""The largest plausible count of one call; a larger one is an error of its emitter, or false."""


class TokenVector(NamedTuple):
    """Counts of one model call.

    Units: tokens, except the `*_requests` counts of billed tool uses, `audio_seconds`,
    `input_characters` and `images`, which stand for calls not billed by tokens.

    Invariants, checked by `faults`: no count is negative; uncached + cache read + cache write =
    input; one-hour writes are part of cache writes; reasoning, audio and images are part of their
    side; cached audio and images are part of cache reads, and the rest of audio and images is part
    of uncached input.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    image_input_tokens: int | None = None
    image_output_tokens: int | None = None
    web_search_requests: int | None = None
    file_search_requests: int | None = None
    code_execution_requests: int | None = None
    audio_seconds: int | None = None
    input_characters: int | None = None
    images: int | None = None
    cached_audio_tokens: int | None = None
    cached_image_tokens: int | None = None

    @property
    def uncached_input_tokens(self) -> int:
        """Input tokens billed at the plain input rate; 0 if the input is unknown."""
        if self.input_tokens is None:
            return 0
        return self.input_tokens - (self.cached_tokens or 0) - (self.cache_write_tokens or 0)

    @property
    def cache_write_5m_tokens(self) -> int:
        """Cache writes of the shorter lifetime."""
        return (self.cache_write_tokens or 0) - (self.cache_write_1h_tokens or 0)

    @property
    def total_tokens(self) -> int | None:
        """Input plus output; `None` if neither was reported."""
        if self.input_tokens is None and self.output_tokens is None:
            return None
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    @property
    def is_measured(self) -> bool:
        """Whether anything that providers bill was counted: tokens, seconds, characters."""
        return self.total_tokens is not None or self.has_length

    @property
    def has_length(self) -> bool:
        """Whether the call was measured by its length or its images."""
        lengths = (self.audio_seconds, self.input_characters, self.images)
        return any(length is not None for length in lengths)

    @property
    def cached_media_tokens(self) -> int | None:
        """Cache reads that were audio or images; `None` if the cached split was not reported."""
        if self.cached_audio_tokens is None and self.cached_image_tokens is None:
            return None
        return (self.cached_audio_tokens or 0) + (self.cached_image_tokens or 0)

    @property
    def is_empty(self) -> bool:
        """Whether the provider reported nothing at all."""
        return self == _NOTHING

    def faults(self) -> tuple[str, ...]:
        """The invariants that this vector violates, as sentences; empty for a consistent vector."""
        return () if self._is_clearly_consistent else self._faults()

    @property
    def is_plausible(self) -> bool:
        """Whether a single call can have all these counts."""
        return max(filter(None, self), default=0) <= MAX_COUNT

    @property
    def _is_clearly_consistent(self) -> bool:
        """Sufficient for most calls, at a tenth of the cost of looking for every fault."""
        read, written, cached, writes, hour, reasoning = self[:TEXT_COUNTS]
        return (
            not any(self[TEXT_COUNTS:])
            and (read or 0) <= MAX_COUNT >= (written or 0)
            and (cached or 0) >= 0
            and 0 <= (hour or 0) <= (writes or 0)
            and (cached or 0) + (writes or 0) <= (read or 0)
            and 0 <= (reasoning or 0) <= (written or 0)
        )

    def _faults(self) -> tuple[str, ...]:
        faults = [
            f"{name} is negative" for name, count in self._asdict().items() if (count or 0) < 0
        ]
        faults += [
            f"{name} is more than {MAX_COUNT:,}, which no call uses"
            for name, count in self._asdict().items()
            if (count or 0) > MAX_COUNT
        ]
        within = (
            ("cache reads and writes", self._cached_total, "input", self.input_tokens),
            ("one-hour writes", self.cache_write_1h_tokens, "writes", self.cache_write_tokens),
            ("reasoning", self.reasoning_tokens, "output", self.output_tokens),
            ("audio input", self.audio_input_tokens, "input", self.input_tokens),
            ("audio output", self.audio_output_tokens, "output", self.output_tokens),
            ("image input", self.image_input_tokens, "input", self.input_tokens),
            ("image output", self.image_output_tokens, "output", self.output_tokens),
            ("cached audio", self.cached_audio_tokens, "audio input", self.audio_input_tokens),
            ("cached images", self.cached_image_tokens, "image input", self.image_input_tokens),
            ("cached audio and images", self.cached_media_tokens, "cache reads", self._reads),
            ("uncached audio and images", self._uncached_media, "uncached input", self._uncached),
        )
        faults += [
            f"{part_name} ({part}) exceed {whole_name} ({whole})"
            for part_name, part, whole_name, whole in within
            if part is not None and whole is not None and part > whole
        ]
        return tuple(faults)

    @property
    def _cached_total(self) -> int | None:
        if self.cached_tokens is None and self.cache_write_tokens is None:
            return None
        return (self.cached_tokens or 0) + (self.cache_write_tokens or 0)

    @property
    def _reads(self) -> int:
        return self.cached_tokens or 0

    @property
    def _uncached(self) -> int | None:
        return None if self.input_tokens is None else max(0, self.uncached_input_tokens)

    @property
    def _uncached_media(self) -> int | None:
        """Audio and image tokens known to be uncached; `None` if no split was reported."""
        splits = (
            (self.audio_input_tokens, self.cached_audio_tokens),
            (self.image_input_tokens, self.cached_image_tokens),
        )
        known = [
            whole - cached for whole, cached in splits if whole is not None and cached is not None
        ]
        return sum(known) if known else None


_NOTHING: Final = TokenVector()
