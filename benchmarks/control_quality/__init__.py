"""Control methods on photographs that the embedded checkpoint has never seen: does what moves go where it was told to?

    python -m benchmarks.control_quality [--photos 10] [--seeds 3] [--only camera,lock] [--json FILE] [--sheets FOLDER]

Every figure is a median over photographs and seeds, its worst case and a clip made without the method (or the naive way)
beside it. Motion is measured in the pixels of finished clips by ``benchmarks.nano_quality``'s tracker; lengths are pixels at 512
wide, "a frame" a seventh of a second. Camera paths take turns: each photograph sees all of them, over its seeds.
"""
