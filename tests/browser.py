"""A real browser for the tests of what is looked at in one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium: the system's, or else Playwright's own; see scripts/test.

    No longer than for a module: while it is open, this thread has an event loop that runs, and so it has no other.
    """
    installed = next((path for name in _NAMES if (path := shutil.which(name))), None)
    # Nothing but files is opened, and as root, as in a container, there is no sandbox to be had.
    options = ["--no-sandbox", "--disable-background-networking"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=installed, args=options)
        yield chromium
        chromium.close()


class Reader:
    """Somebody who looks at a page, and notes whatever the browser complains of, and whatever it asks the network.

    Args:
        browser: to look with.
        width: of the window, in pixels.
        dark: whether the system is set to dark colours.
    """

    def __init__(self, browser: Browser, width: int = 1280, *, dark: bool = False) -> None:
        scheme = "dark" if dark else "light"
        self._context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page: Page = self._context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        self.page.on("request", self._note)

    def _note(self, request: object) -> None:
        url: str = getattr(request, "url", "")
        if not url.startswith(("file:", "data:", "blob:")):
            self.complaints.append(f"request: {url}")

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a report, and wait until it is drawn."""
        self.page.goto(path.as_uri() + (f"#{fragment}" if fragment else ""))
        self.wait()

    def wait(self) -> None:
        """Wait until what is asked for is drawn."""
        self.page.wait_for_function("document.body.dataset.ready")

    def close(self) -> None:
        """Close the window."""
        self._context.close()


@pytest.fixture
def reader(browser: Browser) -> Iterator[Reader]:
    """Somebody at a desktop computer, who is told of nothing that is wrong."""
    reader = Reader(browser)
    yield reader
    reader.close()
    assert not reader.complaints, "; ".join(reader.complaints)
