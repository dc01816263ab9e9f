"""What to do when memory runs out: the rungs below, and a sentence for each."""

from __future__ import annotations

from ..catalog import ProfileRow, smaller_profile

_CHUNKS = (8, 4, 2, 1)


class OomFallback:
    """The profile and decode chunk of one clip; they only ever get smaller. ``notes`` tell how."""

    def __init__(self, profile: ProfileRow, decode_chunk_size: int | None, num_frames: int) -> None:
        self.profile = profile
        self.chunk = min(decode_chunk_size or profile.decode_chunk_size, num_frames)
        self.notes: list[str] = []

    def down_from_loading(self) -> str | None:
        """The next profile. None at the foot of the ladder."""
        return self._smaller_profile("loading the model")

    def down_from_conditioning(self) -> str | None:
        """The next profile. None at the foot of the ladder."""
        return self._smaller_profile("reading the still")

    def down_from_denoising(self) -> str | None:
        """The next profile. None at the foot of the ladder."""
        return self._smaller_profile("denoising")

    def down_from_decoding(self) -> str | None:
        """Fewer frames at once, then the next profile. None at the foot of the ladder."""
        smaller = next((size for size in _CHUNKS if size < self.chunk), None)
        if smaller is None:
            return self._smaller_profile("decoding")
        self.chunk = smaller
        return self._note(f"Memory ran out while decoding: going on with {_frames(smaller)} at a time.")

    def _smaller_profile(self, doing: str) -> str | None:
        below = smaller_profile(self.profile.id)
        if below is None:
            return None
        self.profile = below
        self.chunk = min(self.chunk, below.decode_chunk_size)
        return self._note(f"Memory ran out while {doing}: going on with the memory profile {below.id}.")

    def _note(self, text: str) -> str:
        self.notes.append(text)
        return text


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"
