"""What to do when memory runs out: the rungs below, and a note for each."""

from __future__ import annotations

from ..catalog import ProfileRow, smaller_profile
from ..notes import Note

_CHUNKS = (8, 4, 2, 1)
_DOING = {
    "loading": Note.of("loading_model"),
    "conditioning": Note.of("reading_still"),
    "denoising": Note.of("denoising"),
    "decoding": Note.of("decoding"),
}


class OomFallback:
    """The profile and decode chunk of one clip; they only ever get smaller. ``notes`` tell how."""

    def __init__(self, profile: ProfileRow, decode_chunk_size: int | None, num_frames: int) -> None:
        self.profile = profile
        self.chunk = min(decode_chunk_size or profile.decode_chunk_size, num_frames)
        self.notes: list[Note] = []

    def down(self, stage: str) -> Note | None:
        """Fewer frames at once where ``stage`` is decoding, else the next profile. None at the foot of the ladder."""
        fewer = next((size for size in _CHUNKS if size < self.chunk), None)
        if stage == "decoding" and fewer is not None:
            self.chunk = fewer
            return self.add(Note.of("smaller_decode_chunk", count=fewer))
        below = smaller_profile(self.profile.id)
        if below is None:
            return None
        self.profile = below
        self.chunk = min(self.chunk, below.decode_chunk_size)
        return self.add(Note.of("smaller_profile", doing=_DOING[stage], profile=below.id))

    def add(self, note: Note) -> Note:
        """``note``, kept."""
        self.notes.append(note)
        return note
