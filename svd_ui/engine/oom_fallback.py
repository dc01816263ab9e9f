"""What to do when memory runs out: the rungs below, and a note for each."""

from __future__ import annotations

from ..catalog import ProfileRow, smaller_profile
from ..notes import Note

_CHUNKS = (8, 4, 2, 1)


class OomFallback:
    """The profile and decode chunk of one clip; they only ever get smaller. ``notes`` tell how."""

    def __init__(self, profile: ProfileRow, decode_chunk_size: int | None, num_frames: int) -> None:
        self.profile = profile
        self.chunk = min(decode_chunk_size or profile.decode_chunk_size, num_frames)
        self.notes: list[Note] = []

    def down_from_loading(self) -> Note | None:
        """The next profile. None at the foot of the ladder."""
        return self._smaller_profile(Note.of("loading_model"))

    def down_from_conditioning(self) -> Note | None:
        """The next profile. None at the foot of the ladder."""
        return self._smaller_profile(Note.of("reading_still"))

    def down_from_denoising(self) -> Note | None:
        """The next profile. None at the foot of the ladder."""
        return self._smaller_profile(Note.of("denoising"))

    def down_from_decoding(self) -> Note | None:
        """Fewer frames at once, then the next profile. None at the foot of the ladder."""
        smaller = next((size for size in _CHUNKS if size < self.chunk), None)
        if smaller is None:
            return self._smaller_profile(Note.of("decoding"))
        self.chunk = smaller
        return self.add(Note.of("smaller_decode_chunk", count=smaller))

    def _smaller_profile(self, doing: Note) -> Note | None:
        below = smaller_profile(self.profile.id)
        if below is None:
            return None
        self.profile = below
        self.chunk = min(self.chunk, below.decode_chunk_size)
        return self.add(Note.of("smaller_profile", doing=doing, profile=below.id))

    def add(self, note: Note) -> Note:
        """``note``, kept."""
        self.notes.append(note)
        return note
