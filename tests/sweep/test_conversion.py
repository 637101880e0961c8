"""Encoders from other programs, and to them."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from sweep.cli import app
from tests.workers.codec.formats.files import FILES
from workers.codec import parse_frame_encoder, read_frame_encoder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize("name", ["lop-3.4.1", "zeros-4.0.0", "zeros-4.2.1"])
def test_an_official_file_is_imported(name: str, tmp_path: Path) -> None:
    target = tmp_path / "a.safetensors"

    result = run("import", FILES[name], "-o", target, "--encoder-frame", 0)

    assert result.exit_code == 0, result.output
    ours, manager = read_frame_encoder(target)
    theirs, of_file = parse_frame_encoder(FILES[name].read_bytes(), name)
    assert ours.param == theirs.param
    assert manager.lmbda == of_file.lmbda
    assert all(torch.equal(value, ours.state_dict()[key]) for key, value in theirs.state_dict().items())


def test_what_a_file_of_5_does_not_say_is_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "a.safetensors"

    result = run("import", FILES["lop-5.0.1"], "-o", target)

    assert result.exit_code == 2
    assert "'lmbda' is missing" in result.stderr
    assert not target.exists()
    assert run("import", FILES["lop-5.0.1"], "-o", target, "--lmbda", 0.002).exit_code == 0
    assert read_frame_encoder(target)[1].lmbda == 0.002


def test_a_file_that_cannot_be_read_is_no_reason_to_write_another(tmp_path: Path) -> None:
    target = tmp_path / "a.safetensors"
    target.write_bytes(b"kept")
    (tmp_path / "b.pt").write_bytes(FILES["lop-3.4.1"].read_bytes()[:-1])

    result = run("import", tmp_path / "b.pt", "-o", target)

    assert result.exit_code == 2
    assert "b.pt: the zip file's end is missing" in result.stderr
    assert target.read_bytes() == b"kept"
