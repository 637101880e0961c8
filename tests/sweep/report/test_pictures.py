"""Pictures of frames whose originals are elsewhere, or nowhere."""

import pytest

from sweep import read_frames
from sweep.report.pictures import FramePictures
from sweep.results import Storage
from tests.sweep.report.jobs import real_job
from workers.codec import Frame, read_frame


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> str:
    return real_job(tmp_path_factory.mktemp("real")).config.out


def test_a_server_of_originals_that_cannot_be_reached_is_asked_once(
    out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def load_frame(location: str, frame_index: int | None, patience: float) -> Frame:
        asked.append(location)
        assert frame_index is None
        assert patience == 0, "nobody waits for a picture"
        if location.startswith("s3://away"):
            raise OSError("Could not resolve host")
        if location.endswith("gone.png"):
            raise FileNotFoundError(2, "No such file or directory")
        return read_frame(path)

    monkeypatch.setattr("workers.codec.load_frame", load_frame)
    record = read_frames(out).query("status == 'done'").reset_index().iloc[0].to_dict()
    path = record["path"]
    pictures = FramePictures(Storage(out), [record["frame"]])
    notes: list[str] = []
    for location in ("s3://away/a.png", "s3://away/b/c.png", "s3://here/gone.png", "s3://here/a.png"):
        drawn = pictures.draw(record | {"path": location}, notes)
        assert drawn is not None
        assert (drawn["original"] is None) == (location != "s3://here/a.png")
        assert drawn["decoded"].startswith("data:image/webp;base64,")
    assert asked == ["s3://away/a.png", "s3://here/gone.png", "s3://here/a.png"]
    unreachable = "s3://away cannot be reached from here: Could not resolve host"
    assert [note.removeprefix("The original cannot be shown: ") for note in notes] == [
        f"s3://away/a.png: {unreachable}",
        f"s3://away/b/c.png: {unreachable}",
        "s3://here/gone.png: No such file or directory",
    ]
