"""The page on a sub-path of a web server: real nginx, real nano, a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from PIL import Image
from playwright import sync_api

from svd_ui.catalog import NANO
from svd_ui.jobs.compose import compose
from svd_ui.settings import REPOSITORY, Settings
from svd_ui.web import serve
from svd_ui.web.visitor import COOKIE
from tests.fakes import FakeEngine
from tests.web.conftest import Served, some_port
from tests.web.nginx import documented, in_front, nginx
from tests.web.visit import MARKS, Visit, expect

PICTURE = REPOSITORY / "assets" / "examples" / "mountains.jpg"
SHORT = {"num_frames": 4, "num_inference_steps": 2}
pytestmark = [
    pytest.mark.skipif(nginx() is None, reason="no nginx here"),
    pytest.mark.skipif(not (NANO / "model_index.json").is_file(), reason="assets/nano is not in this checkout"),
]
WAYS = {
    "documented": documented(),
    "as short as can be": "location /svd/ { proxy_pass http://127.0.0.1:7860/; client_max_body_size 9m; }",
    "with the path left on": documented().replace("127.0.0.1:7860/;", "127.0.0.1:7860;").replace("/svd/ {", "/svd {"),
}


@pytest.fixture(scope="module")
def served(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page over the real worker, told that it is shown under /svd: where its own files are, too."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"), port=some_port(), checkpoint="nano", root_path="/svd", max_upload_mb=9
    )
    with compose(settings) as jobs:
        demo, url = serve(jobs, settings)
        yield Served(url, jobs, FakeEngine(), settings)
        demo.close(verbose=False)


@pytest.fixture(scope="module")
def behind(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The address that people open, by the way in which nginx was set up."""
    with ExitStack() as servers:

        @cache
        def behind(way: str) -> str:
            location = WAYS[way].replace("127.0.0.1:7860", served.url.removeprefix("http://").rstrip("/"))
            url = servers.enter_context(in_front(tmp_path_factory.mktemp("nginx"), some_port(), location))
            return f"{url}/svd/"

        yield behind


@pytest.mark.parametrize("way", WAYS)
def test_what_a_program_asks_for_is_there(behind: Callable[[str], str], way: str) -> None:
    outside = behind(way)
    with httpx.Client(base_url=outside, follow_redirects=False) as session:
        bare = session.get(outside.rstrip("/"))
        assert bare.status_code in {301, 308}
        assert bare.headers["location"].endswith("/svd/")
        page = session.get("")
        assert page.status_code == 200
        assert f"{COOKIE}=" in page.headers["set-cookie"]
        assert "Path=/svd/" in page.headers["set-cookie"]
        assert "set-cookie" not in session.get("").headers
        for path in ("theme.css", "favicon.ico", "openapi.json", "gradio_api/info", "svd/example/mountains.jpg"):
            assert session.get(path).status_code == 200, path
        assert session.get("svd/still/" + "0" * 64).status_code == 404
        root = session.get("config").json()["root"]
        assert root.endswith("/svd")
        assert way == "as short as can be" or root == outside.rstrip("/")


@pytest.mark.parametrize("way", ["documented", "with the path left on"])
def test_a_picture_becomes_a_clip_through_the_api(behind: Callable[[str], str], way: str, tmp_path: Path) -> None:
    """One that is larger than what nginx accepts unless it is told to."""
    outside, picture = behind(way), tmp_path / "noise.png"
    Image.effect_noise((1200, 1100), 90).save(picture)
    assert picture.stat().st_size > 1_200_000
    client = Client(outside, verbose=False)
    job = client.predict(image=handle_file(str(picture)), seed=3, **SHORT, api_name="/generate")
    assert job["state"] == "finished"
    assert Path(job["video"]).stat().st_size > 1000
    assert job["id"] in [row["id"] for row in client.predict(token=job["token"], api_name="/history")]
    part = httpx.get(f"{outside}svd/job/{job['id']}/video", headers={"Range": "bytes=0-9"})
    assert part.status_code == 206
    assert httpx.get(f"{outside}svd/job/{job['id']}/poster").headers["content-type"] == "image/jpeg"


class TestPage:
    """Through a browser."""

    pytestmark = MARKS

    def test_a_visitor_makes_a_clip_and_finds_it_again(
        self, browser: sync_api.Browser, served: Served, behind: Callable[[str], str]
    ) -> None:
        outside = Served(behind("documented"), served.jobs, served.engine, served.settings)
        with Visit(browser, outside) as visit:
            visit.choose(PICTURE)
            visit.dial("num_frames").fill("4")
            visit.dial("num_inference_steps").fill("2")
            visit.animate()
            visit.finished()
            visit.page.wait_for_function("document.querySelector('video.clip').videoWidth > 0")
            (cookie,) = [cookie for cookie in visit.context.cookies() if cookie["name"] == COOKIE]
            assert cookie["path"] == "/svd/"
            visit.open()
            expect(visit.page.locator("#history img").first).to_be_visible()
            visit.shot("subpath")
