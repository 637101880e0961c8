import io
import struct
import zlib
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

from workers.codec import dump_frame, parse_frame, read_frame
from workers.errors import FrameFileError, FrameIndexError

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png_of_16_bits(height: int, width: int) -> bytes:
    """An RGB PNG of two bytes a sample, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = (b"\0" + bytes(6 * width)) * height
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff_of_16_bits(height: int, width: int) -> bytes:
    """An uncompressed little-endian RGB TIFF of two bytes a sample, which Pillow cannot write either."""
    short, long = 3, 4
    n_bytes = 6 * height * width
    tags = [  # ascending: number, type, count, value or offset
        (256, short, 1, width),
        (257, short, 1, height),
        (258, short, 3, 0),  # bits of a sample, for each channel, elsewhere
        (259, short, 1, 1),  # uncompressed
        (262, short, 1, 2),  # RGB
        (273, long, 1, 0),  # where the samples are
        (277, short, 1, 3),
        (278, short, 1, height),
        (279, long, 1, n_bytes),
    ]
    end = 8 + 2 + 12 * len(tags) + 4
    offsets = {258: end, 273: end + 6}
    directory = b"".join(struct.pack("<HHII", tag, *rest, offsets.get(tag, value)) for tag, *rest, value in tags)
    header = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    return header + directory + bytes(4) + struct.pack("<3H", 16, 16, 16) + bytes(n_bytes)


def picture(mode: str) -> Image.Image:
    rgb = Image.fromarray(RGB)
    if mode == "P":
        return rgb.quantize(16)
    if mode == "RGBA":
        rgb.putalpha(255)
        return rgb
    return rgb.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA"])
def test_an_opaque_8_bit_picture_gives_its_rgb_samples_over_255(mode: str) -> None:
    frame = parse_frame(encoded(picture(mode)), "frame.png")

    (samples,) = frame.data.tensors
    expected = np.array(picture(mode).convert("RGB"))
    assert (frame.img_size, frame.frame_data_type, frame.bitdepth) == ((5, 7), "rgb", 8)
    assert samples.shape == (1, 3, 5, 7)
    assert torch.equal(samples[0].permute(1, 2, 0), torch.from_numpy(expected).float() / 255)


def test_a_palette_whose_transparent_entry_is_not_used_is_opaque() -> None:
    palette = picture("P")

    frame = parse_frame(encoded(palette, transparency=255), "frame.png")

    expected = torch.from_numpy(np.array(palette.convert("RGB"))).float() / 255
    assert torch.equal(frame.data.tensors[0][0].permute(1, 2, 0), expected)


def translucent() -> Image.Image:
    picture = Image.fromarray(RGB).convert("RGBA")
    picture.putpixel((6, 4), (1, 2, 3, 254))
    return picture


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (encoded(translucent()), "transparency is not supported"),
        (encoded(picture("P"), transparency=int(np.array(picture("P"))[0, 0])), "transparency is not supported"),
        (encoded(picture("L"), transparency=int(np.array(picture("L"))[0, 0])), "transparency is not supported"),
        (encoded(Image.fromarray(np.zeros((4, 4), np.uint16))), "8-bit .* this PNG .* 16 bits"),
        (png_of_16_bits(4, 4), "8-bit .* this PNG .* 16 bits"),
        (tiff_of_16_bits(4, 4), "8-bit"),
        (
            encoded(picture("RGB"), save_all=True, append_images=[picture("L").convert("RGB")]),
            "one picture; found 2",
        ),
        (encoded(picture("RGB"))[:-40], "damaged or truncated"),
        (b"no picture at all", "not a picture"),
        (b"", "empty"),
    ],
    ids=[
        "alpha",
        "palette",
        "colour key",
        "grey 16",
        "rgb 16",
        "tiff 16",
        "animation",
        "truncated",
        "text",
        "empty",
    ],
)
def test_a_picture_that_is_not_supported_is_refused_with_its_name_and_the_cause(content: bytes, cause: str) -> None:
    with pytest.raises(FrameFileError, match=rf"^some/frame\.png: .*{cause}"):
        parse_frame(content, "some/frame.png")


def yuv(width: int, height: int, sampling: int, bitdepth: int) -> tuple[list[np.ndarray], bytes]:
    """Planes of random samples, and the bytes of their file."""
    chroma = (height, width) if sampling == 444 else (-(-height // 2), -(-width // 2))
    random = np.random.default_rng(0)
    planes = [random.integers(0, 2**bitdepth, size) for size in ((height, width), chroma, chroma)]
    planes[0].flat[-1] = 2**bitdepth - 1
    return planes, b"".join(plane.astype("u1" if bitdepth == 8 else "<u2").tobytes() for plane in planes)


@pytest.mark.parametrize("bitdepth", [8, 10])
@pytest.mark.parametrize("sampling", [420, 444])
@pytest.mark.parametrize(("width", "height"), [(6, 4), (7, 5), (1, 1)])
def test_a_yuv_file_gives_its_planes_over_the_largest_sample(
    width: int, height: int, sampling: int, bitdepth: int
) -> None:
    planes, content = yuv(width, height, sampling, bitdepth)

    frame = parse_frame(content, f"folder/a_b_{width}x{height}_29.97p_yuv{sampling}_{bitdepth}b.yuv")

    expected = [torch.from_numpy(plane).float() / (2**bitdepth - 1) for plane in planes]
    found = list(frame.data.tensors)
    assert (frame.img_size, frame.frame_data_type, frame.bitdepth) == ((height, width), f"yuv{sampling}", bitdepth)
    if sampling == 444:
        assert torch.equal(found[0], torch.stack(expected)[None])
    else:
        assert [plane.shape[:2] for plane in found] == [(1, 1)] * 3
        assert all(torch.equal(plane[0, 0], ours) for plane, ours in zip(found, expected, strict=True))


@pytest.mark.parametrize("bitdepth", [8, 10])
@pytest.mark.parametrize("n_frames", [1, 2])
def test_chroma_of_odd_sizes_is_rounded_down_where_the_length_says_so(bitdepth: int, n_frames: int) -> None:
    samples = np.arange(n_frames * (15 + 2 * 2), dtype="u1" if bitdepth == 8 else "<u2")

    frame = parse_frame(samples.tobytes(), f"a_5x3_1p_yuv420_{bitdepth}b.yuv", n_frames - 1)

    y, u, v = (plane.mul(2**bitdepth - 1).round().int() for plane in frame.data.tensors)
    first = 19 * (n_frames - 1)
    assert y.shape == (1, 1, 3, 5)
    assert (y[0, 0, 0, 0], u.tolist(), v.tolist()) == (
        first,
        [[[[first + 15, first + 16]]]],
        [[[[first + 17, first + 18]]]],
    )
    assert dump_frame(frame, "a.yuv") == samples[first : first + 19].tobytes()


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("a_4x2_1p_yuv420_8b.yuv", bytes(11), "is 12 bytes; found 11"),
        (
            "a_4x2_1p_yuv420_8b.yuv",
            bytes(24),
            "is 12 bytes; found 24, which are 2 frames: choose one by frame_index",
        ),
        ("a_4x2_1p_yuv420_8b.yuv", bytes(25), "is 12 bytes; found 25, which is no whole number of frames"),
        ("a_4x2_1p_yuv420_10b.yuv", bytes(12), "is 24 bytes; found 12"),
        ("a_5x3_1p_yuv420_8b.yuv", bytes(20), "is 27 bytes; found 20"),
        ("a_2x1_1p_yuv444_10b.yuv", np.full(6, 1024, "<u2").tobytes(), "at most 1023; found 1024"),
        ("a_0x2_1p_yuv444_8b.yuv", bytes(12), "at least one sample"),
        ("a_4x2_1p_yuv422_8b.yuv", bytes(16), "is named"),
        ("a_4x2_1p_yuv420_12b.yuv", np.full(12, 4096, "<u2").tobytes(), "at most 4095; found 4096"),
        ("a_4x2_1p_yuv420_17b.yuv", bytes(24), "is named"),
        ("a_4x2_1p_yuv420_7b.yuv", bytes(12), "is named"),
        ("a.yuv", bytes(12), "is named"),
        ("a_4x2_1p_yuv420_8b.yuv", b"", "empty"),
    ],
)
def test_a_yuv_file_that_is_not_what_its_name_says_is_refused(name: str, content: bytes, cause: str) -> None:
    with pytest.raises(FrameFileError, match=rf"^{name}: .*{cause}"):
        parse_frame(content, name)


@pytest.mark.parametrize("bitdepth", [8, 10])
def test_one_frame_of_a_yuv_file_of_several_is_read_and_no_other(
    tmp_path: Path, bitdepth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"a_6x4_1p_yuv420_{bitdepth}b.yuv"
    content = yuv(6, 4, 420, bitdepth)[1]
    frames = [content, bytes(len(content)), content[24:] + content[:24]]
    (tmp_path / name).write_bytes(b"".join(frames))
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe(f"/yuv/{name}", (tmp_path / name).read_bytes())
    monkeypatch.setattr(Path, "read_bytes", None)

    for location in (tmp_path / name, f"memory://yuv/{name}"):
        for index in range(3):
            expected = parse_frame(frames[index], name)
            found = read_frame(location, index)
            assert all(map(torch.equal, found.data.tensors, expected.data.tensors))
        with pytest.raises(FrameIndexError, match=rf"{name}: .*3 frames: choose one by frame_index, from 0 to 2"):
            read_frame(location)
        with pytest.raises(FrameIndexError, match=rf"{name}: there is no frame of frame_index 3; accepted: 0 to 2"):
            read_frame(location, 3)
    filesystem.rm("/yuv", recursive=True)


def test_a_frame_file_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "frame.png"
    path.write_bytes(encoded(picture("RGB")))

    assert read_frame(path).img_size == (5, 7)


def test_a_frame_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FrameFileError, match=r"missing\.png: .*No such file"):
        read_frame(tmp_path / "missing.png")
    with pytest.raises(FrameFileError, match=rf"{tmp_path.name}: .*[Dd]irectory"):
        read_frame(tmp_path)
