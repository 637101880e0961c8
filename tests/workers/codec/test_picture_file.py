"""Pictures as files: every sample is read as it is stored, or the picture is refused with the reason."""

import io
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from workers.codec import Frame, dump_frame, parse_frame
from workers.errors import FrameFileError, FrameIndexError

SAMPLES = np.random.default_rng(0).integers(0, 256, (10, 16, 3), dtype=np.uint8)
PICTURE = Image.fromarray(SAMPLES)
OTHER = Image.fromarray(SAMPLES[::-1].copy())
LOSSLESS: dict[str, dict[str, object]] = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "BMP": {},
    "PPM": {},
    "JPEG2000": {},
}


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def samples_of(frame: Frame) -> np.ndarray:
    return (frame.data.tensors[0][0].permute(1, 2, 0) * (2**frame.bitdepth - 1)).round().numpy()


def png(bits: int, colour_type: int, row: bytes, width: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of one row."""
    header = struct.pack(">IIBBBBB", width, 1, bits, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    body = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def tiff(tags: dict[int, tuple[int, ...]], samples: bytes) -> bytes:
    """An uncompressed little-endian TIFF of 2×1 pixels; every value is a short."""
    tags = {256: (2,), 257: (1,), 259: (1,), 273: (0,), 278: (1,), 279: (len(samples),)} | tags
    end = 8 + 2 + 12 * len(tags) + 4
    directory, behind = b"", b""
    for tag in sorted(tags):
        values = tags[tag] if tag != 273 else (end + sum(2 * len(v) for v in tags.values() if len(v) > 2),)
        data = struct.pack(f"<{len(values)}H", *values)
        if len(data) > 4:
            directory += struct.pack("<HHII", tag, 3, len(values), end + len(behind))
            behind += data
        else:
            directory += struct.pack("<HHI", tag, 3, len(values)) + data.ljust(4, b"\0")
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + directory + bytes(4) + behind + samples


# --- formats


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_lossless_format_gives_its_samples(kind: str) -> None:
    frame = parse_frame(encoded(PICTURE, kind, **LOSSLESS[kind]), "any.name")

    assert (frame.bitdepth, frame.warnings) == (8, ())
    assert np.array_equal(samples_of(frame), SAMPLES)


@pytest.mark.parametrize("kind", ["JPEG", "AVIF", "GIF"])
def test_a_lossy_format_gives_the_samples_of_its_decoder(kind: str) -> None:
    content = encoded(PICTURE, kind)

    with Image.open(io.BytesIO(content)) as opened:
        assert np.array_equal(samples_of(parse_frame(content, "a.png")), np.array(opened.convert("RGB")))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\nshowpage\n", "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(40), "PostScript"),
        (encoded(PICTURE, "PDF"), "PDF"),
        (encoded(PICTURE, "SGI"), "SGI"),
        (encoded(PICTURE, "QOI"), "QOI"),
        (encoded(PICTURE, "DDS"), "DDS"),
        (encoded(PICTURE, "TGA"), "none that is known"),
        (encoded(PICTURE, "PCX"), "none that is known"),
        (b"P7\nWIDTH 1\n", "PAM"),
        (b"Pf\n1 1\n-1.0\n" + bytes(4), "PFM"),
        (b"\0\0\0\x18ftypheic" + bytes(12), "HEIF"),
        (b"just text", "none that is known"),
    ],
)
def test_a_format_that_is_not_on_the_list_is_named_and_no_program_is_started(
    content: bytes, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*arguments: object, **_: object) -> None:
        raise AssertionError(f"started {arguments}")

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(FrameFileError, match=rf"^a\.png: .*{found}; accepted: PNG, JPEG, WebP.*and \.yuv"):
        parse_frame(content, "a.png")


# --- depth


def avif_of(bits: int) -> bytes:
    if bits == 10:
        return (Path(__file__).parent / "gradient_10bit.avif").read_bytes()
    content = bytearray(encoded(PICTURE, "AVIF"))
    content[content.index(b"av1C") + 6] |= 0x60  # high bit depth, and twelve of them
    return bytes(content)


def jpeg_of_12_bits() -> bytes:
    content = bytearray(encoded(PICTURE, "JPEG"))
    content[content.index(b"\xff\xc0") + 4] = 12
    return bytes(content)


def jpeg_2000_of(depth: int, *, jp2: bool = True, step: int = 1) -> bytes:
    content = bytearray(encoded(PICTURE, "JPEG2000", no_jp2=not jp2))
    at = content.index(b"\xff\x4f\xff\x51") + 42
    for component in range(3):
        content[at + 3 * component] = depth
    content[at + 4 : at + 6] = bytes([step, step])
    return bytes(content)


GREY_16 = Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4))
RGB_TAGS = {262: (2,), 277: (3,)}


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        pytest.param(avif_of(10), "AVIF .*10 bits", id="avif 10"),
        pytest.param(avif_of(12), "AVIF .*12 bits", id="avif 12"),
        pytest.param(jpeg_of_12_bits(), "JPEG .*12 bits", id="jpeg 12"),
        pytest.param(jpeg_2000_of(8), "JPEG2000 .*9 bits", id="jp2 9"),
        pytest.param(jpeg_2000_of(11, jp2=False), "JPEG2000 .*12 bits", id="j2k 12"),
        pytest.param(encoded(GREY_16, "JPEG2000"), "JPEG2000 .*16 bits", id="jp2 16"),
        pytest.param(jpeg_2000_of(5), "6 bits", id="jp2 6"),
        pytest.param(jpeg_2000_of(0x87), "signed", id="jp2 signed"),
        pytest.param(jpeg_2000_of(7, step=2), "less samples of chroma", id="jp2 420"),
        pytest.param(encoded(GREY_16, "PNG"), "PNG .*16 bits", id="png grey 16"),
        pytest.param(png(16, 2, bytes(6), 1), "PNG .*16 bits", id="png rgb 16"),
        pytest.param(encoded(GREY_16, "TIFF"), "TIFF .*16 bits", id="tiff grey 16"),
        pytest.param(tiff(RGB_TAGS | {258: (16,) * 3}, bytes(12)), "TIFF .*16 bits", id="tiff rgb 16"),
        pytest.param(tiff({258: (8,), 262: (1,), 339: (2,)}, b"\1\xff"), "signed", id="tiff signed"),
        pytest.param(
            tiff(RGB_TAGS | {258: (8,) * 4, 277: (4,), 338: (0,)}, bytes(8)), "further channel", id="tiff extra"
        ),
        pytest.param(
            tiff({258: (8,), 262: (3,), 320: tuple(range(0, 768 * 80, 80))}, b"\1\2"),
            "palette have 16",
            id="tiff palette 16",
        ),
        pytest.param(
            encoded(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"), "floating-point", id="tiff float"
        ),
        pytest.param(encoded(Image.fromarray(np.ones((2, 2), np.int32)), "TIFF"), "of 32 bits", id="tiff int32"),
        pytest.param(encoded(PICTURE.convert("CMYK"), "TIFF"), "CMYK", id="tiff cmyk"),
        pytest.param(encoded(PICTURE.convert("CMYK"), "JPEG"), "CMYK", id="jpeg cmyk"),
        pytest.param(encoded(PICTURE.convert("LAB"), "TIFF"), "LAB", id="tiff lab"),
        pytest.param(
            b"BM" + struct.pack("<IIIIiiHH", 78, 0, 54, 40, 4, 1, 1, 16) + bytes(40), "5 or 6 bits", id="bmp 16"
        ),
        pytest.param(b"P6 1 1 1000\n" + bytes(6), "maxval is 1000", id="ppm 1000"),
        pytest.param(b"P5 # made\n 2 2 100\n\1\2\3\4", "maxval is 100", id="pgm 100"),
        pytest.param(b"P2\n2 1\n1023\n7 1000\n", "maxval is 1023", id="plain pgm 1023"),
        pytest.param(png(2, 0, b"\x1b", 4, (b"tRNS", b"\0\3")), "shades of grey is transparent", id="png grey key"),
    ],
)
def test_samples_that_cannot_be_read_exactly_are_refused_with_a_way_to_convert_them(
    content: bytes, cause: str
) -> None:
    with pytest.raises(FrameFileError, match=rf"^a\.png: .*{cause}.*convert it to an 8-bit PNG.*ffmpeg"):
        parse_frame(content, "a.png")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(png(1, 0, b"\x40", 2), [0, 255], id="png 1"),
        pytest.param(png(2, 0, b"\x1b", 4), [0, 85, 170, 255], id="png 2"),
        pytest.param(png(4, 0, b"\x1f", 2), [17, 255], id="png 4"),
        pytest.param(b"P2 # a\n2 1\n# 9\n255\n7 200\n", [7, 200], id="plain pgm"),
        pytest.param(b"P4 2 1\n\x80", [0, 255], id="pbm"),
        pytest.param(tiff({258: (8,), 262: (0,)}, b"\x10\xff"), [239, 0], id="tiff white is zero"),
        pytest.param(
            tiff({258: (8,), 262: (3,), 320: tuple(257 * (i % 256) for i in range(768))}, b"\1\2"),
            [1, 2],
            id="tiff palette",
        ),
        pytest.param(tiff(RGB_TAGS | {258: (8,) * 3, 284: (1,)}, b"\5\5\5\6\6\6"), [5, 6], id="tiff rgb"),
    ],
)
def test_grey_and_palettes_are_expanded(content: bytes, expected: list[int]) -> None:
    frame = parse_frame(content, "a")

    assert samples_of(frame).tolist() == [[[value] * 3 for value in expected]]


@pytest.mark.parametrize("bitdepth", [9, 10, 12, 16])
def test_a_ppm_of_many_bits_is_read_and_written_exactly(bitdepth: int) -> None:
    samples = np.random.default_rng(1).integers(0, 2**bitdepth, (3, 5, 3))
    content = f"P6\n5 3\n{2**bitdepth - 1}\n".encode() + samples.astype(">u2").tobytes()

    frame = parse_frame(content, "a.ppm")

    assert (frame.frame_data_type, frame.bitdepth, frame.img_size) == ("rgb", bitdepth, (3, 5))
    assert np.array_equal(samples_of(frame), samples)
    assert dump_frame(frame, "b.ppm") == content
    with pytest.raises(FrameFileError, match=rf"rgb of {bitdepth} bits is written as \.ppm"):
        dump_frame(frame, "b.png")


def test_a_frame_of_8_bits_is_written_as_png_or_ppm() -> None:
    frame = parse_frame(encoded(PICTURE, "PNG"), "a.png")
    for name in ("b.png", "b.ppm"):
        assert np.array_equal(samples_of(parse_frame(dump_frame(frame, name), name)), SAMPLES)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"P6 1 2 1023\n" + bytes(6), "12 bytes of samples are expected, 6"),
        (b"P5 1 1 1023\n\x04\x00", "at most 1023; found 1024"),
        (b"P5 1 1 4095\n\x10\x00", "at most 4095; found 4096"),
        (b"P6 \xff", "damaged"),
        (encoded(PICTURE, "PPM") * 2, "more than one picture"),
    ],
)
def test_a_netpbm_file_that_is_not_what_its_header_says_is_refused(content: bytes, cause: str) -> None:
    with pytest.raises(FrameFileError, match=cause):
        parse_frame(content, "a.ppm")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "JPEG2000", "GIF"])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
def test_a_picture_that_is_cut_off_is_refused(kind: str, part: float) -> None:
    content = encoded(PICTURE, kind)
    with pytest.raises(FrameFileError, match=r"^a\.png: "):
        parse_frame(content[: int(len(content) * part)], "a.png")


# --- instructions for showing


def with_orientation(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "TIFF":
        return encoded(PICTURE, kind, tiffinfo={0x0112: orientation})
    if kind == "TIFF, compressed":
        return encoded(PICTURE, "TIFF", tiffinfo={0x0112: orientation}, compression="tiff_lzw")
    options: dict[str, object] = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}.get(
        kind, {}
    )
    return encoded(PICTURE, kind, exif=exif, **options)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "TIFF, compressed"])
def test_samples_are_those_that_are_stored_however_they_are_to_be_turned(kind: str, orientation: int) -> None:
    frame = parse_frame(with_orientation(kind, orientation), "folder/a.png")

    upright = parse_frame(with_orientation(kind, 1), "a.png")
    assert np.array_equal(samples_of(frame), samples_of(upright))
    (warning,) = frame.warnings
    assert warning.startswith("folder/a.png: samples are taken as they are stored")
    assert f"orientation {orientation}" in warning
    assert upright.warnings == ()


def profile(space: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (encoded(PICTURE, "PNG", icc_profile=profile("sRGB")), None),
        (encoded(PICTURE, "PNG", icc_profile=profile("XYZ")), "colour profile 'XYZ"),
        (encoded(PICTURE, "JPEG", icc_profile=profile("XYZ")), "colour profile 'XYZ"),
        (encoded(PICTURE, "PNG", icc_profile=b"no profile"), "colour profile"),
        (png(8, 0, b"\1", 1, (b"gAMA", struct.pack(">I", 100_000))), "gamma of 1"),
        (png(8, 0, b"\1", 1, (b"gAMA", struct.pack(">I", 45_455))), None),
        (png(8, 0, b"\1", 1, (b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100_000))), None),
    ],
)
def test_colours_are_not_converted_and_a_warning_says_so(content: bytes, warning: str | None) -> None:
    found = parse_frame(content, "a.png").warnings

    assert len(found) == (warning is not None)
    assert all(text.startswith("a.png: ") and str(warning) in text for text in found)


# --- files of several pictures


def test_the_picture_of_a_phone_is_the_first_of_an_mpo() -> None:
    preview = PICTURE.resize((8, 5))
    content = encoded(PICTURE, "MPO", save_all=True, append_images=[preview], quality=100)
    alone = encoded(PICTURE, "JPEG", quality=100)

    frame = parse_frame(content, "a.jpg")

    assert frame.img_size == (10, 16)
    assert np.array_equal(samples_of(frame), samples_of(parse_frame(alone, "a.jpg")))
    assert parse_frame(content, "a.jpg", 0).img_size == (10, 16)
    with pytest.raises(FrameIndexError, match="one picture"):
        parse_frame(content, "a.jpg", 1)


def test_a_preview_in_a_tiff_is_no_second_picture() -> None:
    preview = PICTURE.resize((8, 5))
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    content = encoded(PICTURE, "TIFF", save_all=True, append_images=[preview])

    assert np.array_equal(samples_of(parse_frame(content, "a.tif")), SAMPLES)


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "WEBP"])
def test_one_of_several_pictures_is_chosen_by_its_index(kind: str) -> None:
    content = encoded(PICTURE, kind, save_all=True, append_images=[OTHER], **LOSSLESS[kind])

    for index, expected in ((0, SAMPLES), (1, SAMPLES[::-1])):
        assert np.array_equal(samples_of(parse_frame(content, "a", index)), expected)
    with pytest.raises(FrameIndexError, match="one picture; found 2: choose one by frame_index, from 0 to 1"):
        parse_frame(content, "a")
    with pytest.raises(FrameIndexError, match="no frame of frame_index 2; accepted: 0 to 1"):
        parse_frame(content, "a", 2)


def test_a_file_of_one_picture_has_index_0_alone() -> None:
    content = encoded(PICTURE, "PNG")
    assert np.array_equal(samples_of(parse_frame(content, "a.png", 0)), SAMPLES)
    with pytest.raises(FrameIndexError, match=r"^a\.png: there is no frame of frame_index 1; accepted: 0, since"):
        parse_frame(content, "a.png", 1)
