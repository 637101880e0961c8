"""A replica: what it prepares for a call, and what not."""

from functools import partial
from pathlib import Path

import pytest

from tests.cases import CASES, CASES_5, load_case
from workers.answers import EncodedAnswer
from workers.codec import read_frame, read_frame_encoder
from workers.fit import RETUNING
from workers.replica import Replica
from workers.source import FrameSource


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a measurer was opened")


@pytest.mark.parametrize("cases", [CASES, CASES_5], ids=["3.4", "5"])
def test_a_frame_whose_choices_are_known_is_encoded_without_a_measurer(
    cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = load_case("astronaut_64x96_lop", cases)
    source = FrameSource(
        "a",
        partial(read_frame, case.folder / "frame.png"),
        partial(read_frame_encoder, case.folder / "encoder.safetensors"),
    )
    monkeypatch.setattr("workers.measure.engine.Measurer.__init__", refuse)
    replica = Replica("cpu")
    replica.open(source)
    *_, encoded = replica.encode(source, list(case.choices().values()), RETUNING)
    assert isinstance(encoded, EncodedAnswer)
    with pytest.raises(AssertionError, match="a measurer was opened"):
        replica.quantize(source, list(case.choices().values()))
