"""Hostile input, by the thousand, through every door of the app: what is answered, how soon, and at what memory.

    python -m benchmarks.fuzz                                        all of it, about half an hour
    python -m benchmarks.fuzz --requests 500 --pictures 100 --clips 30 --zips 20

A real page with a fake model in it is asked (``page``), once as strangers reach it and once on one's own machine: requests of
every route (``requests``), damaged pictures, clips and archives (``pictures``, ``clips``, ``archives``). What comes from a disk
goes through its door in a process of its own (``doors``). At the end a plain clip has to come out as ever.
"""
