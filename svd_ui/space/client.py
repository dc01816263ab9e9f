"""A program that asks a served Space for a clip, with what its own environment has: gradio_client and PyAV.

    python client.py ADDRESS PICTURE FOLDER

Prints what came back as one line of JSON.
"""

import json
import sys
import time

import av
from gradio_client import Client, handle_file


def main(address: str, picture: str, folder: str) -> None:
    client = Client(address, download_files=folder, verbose=False)
    began = time.monotonic()
    made = client.predict(image=handle_file(picture), checkpoint="nano", seed=7, api_name="/generate")
    seconds = time.monotonic() - began
    if made["state"] != "finished":
        raise SystemExit(f"the clip {made['state']}: {made.get('error')}")
    again = client.predict(made["id"], api_name="/status")
    with av.open(made["video"]) as clip:
        stream = clip.streams.video[0]
        told = {"frames": sum(1 for _ in clip.decode(stream)), "width": stream.width, "height": stream.height}
    told |= {"seconds": seconds, "checkpoint": again["request"]["checkpoint"]}
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
