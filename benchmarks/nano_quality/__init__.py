"""Quality of the embedded checkpoint on ten photographs it has never seen.

    python -m benchmarks.nano_quality [--json FILE] [--sheet sheet.jpg] [--checkpoint assets/nano] [--limit 3] [--seeds 6]
    python -m benchmarks.nano_quality --sheets FOLDER

Clips are made the way the app makes them: native size, the checkpoint's own frames and steps, fixed seeds. Motion is
measured in their pixels: points followed by Lucas-Kanade, a similarity fitted to them for the camera. So the same
table fits every generation of the checkpoint. Lengths are pixels at 512 wide; "a frame" is a seventh of a second,
whatever rate the clip is written at. Look at the sheets as well: rows are photographs, columns the still and
four moments at motion 255; ``--sheets`` shows where 24 seeds end.
"""
