"""Thumbnails and optimised files, judged with Pillow; and what hostile files come to."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pyvips
from PIL import Image, ImageCms

from faena.packs.media import pictures, quality
from faena.packs.media.errors import BadPicture
from faena.packs.media.kinds import Kind
from faena.packs.media.photograph import make_photograph
from faena.packs.media.pictures import Made, Picture
from media_kit import HOSTILE, chunk, drawing, flat_png, gif_of, photograph, picture

Opened = Callable[[bytes], Picture]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """A function that makes a `Picture` of bytes."""
    files = []

    def open_it(data: bytes) -> Picture:
        path = tmp_path / f"picture-{len(files)}"
        path.write_bytes(data)
        files.append(path.open("rb"))
        return Picture(files[-1])

    yield open_it
    for file in files:
        file.close()


@pytest.fixture(scope="module")
def photo() -> bytes:
    """Twelve megapixels, about 10 MB."""
    return photograph(12)


def seen(made: Made) -> Image.Image:
    image = Image.open(io.BytesIO(made.data))
    image.load()
    return image


def metadata(image: Image.Image) -> set[str]:
    return set(image.info) & {"exif", "xmp", "icc_profile", "comment", "photoshop"}


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_becomes_a_thumbnail_in_its_box(opened: Opened, kind: Kind) -> None:
    image = seen(pictures.thumbnail(opened(picture(kind)).decode(300), 300))
    assert (image.format, image.size) == ("JPEG", (300, 225))
    red, green, blue = image.getpixel((5, 5))
    assert red > 200
    assert max(green, blue) < 60


def test_a_small_picture_is_not_enlarged(opened: Opened) -> None:
    assert seen(pictures.thumbnail(opened(picture(Kind.PNG, 40, 30)).decode(300), 300)).size == (40, 30)


@pytest.mark.parametrize("size", [1, 7, 2000])
def test_thumbnails_come_in_any_size(opened: Opened, size: int) -> None:
    image = seen(pictures.thumbnail(opened(picture(Kind.JPEG, 2400, 1200)).decode(size), size))
    assert image.size == (size, max(1, round(size / 2)))


@pytest.mark.parametrize("kind", [Kind.PNG, Kind.WEBP, Kind.AVIF, Kind.GIF])
def test_a_see_through_picture_stays_so(opened: Opened, kind: Kind) -> None:
    source = opened(picture(kind, alpha=True))
    made = pictures.thumbnail(source.decode(300), 300)
    assert made.kind is Kind.WEBP
    assert seen(made).convert("RGBA").getpixel((2, 200))[3] < 30
    assert seen(made).convert("RGBA").getpixel((297, 200))[3] > 225


def test_an_alpha_channel_that_hides_nothing_is_dropped(opened: Opened) -> None:
    solid = drawing().bandjoin(255).pngsave_buffer()
    assert pictures.thumbnail(opened(solid).decode(300), 300).kind is Kind.JPEG


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_photograph_is_turned_upright(opened: Opened, orientation: int) -> None:
    data = photograph(0.3, orientation=orientation)
    source = opened(data)
    assert source.height > source.width
    made = pictures.thumbnail(source.decode(300), 300)
    image = seen(made)
    assert (image.width, image.height) == (225, 300)
    top, bottom = (
        image.resize((1, 8), Image.Resampling.BOX).getpixel((0, 0)),
        image.resize((1, 8)).getpixel((0, 7)),
    )
    assert top[2] > top[0]  # the sky is blue
    assert bottom[0] > bottom[2]  # the grass is not


def test_no_metadata_is_left_in_any_result(opened: Opened) -> None:
    data = photograph(1)
    assert b"Somebody" in data
    assert Image.open(io.BytesIO(data)).getexif().get_ifd(0x8825)  # it says where it was taken
    source = opened(data)
    image = source.decode(pictures.WEB_SIDE)
    for made in (pictures.thumbnail(image, 300), pictures.optimise(source, image)):
        assert metadata(seen(made)) == set()
        assert not seen(made).getexif()


def test_a_photograph_loses_seventy_percent_and_keeps_its_looks(opened: Opened, photo: bytes) -> None:
    """The measure: SSIM of the brightness, of the whole result against the original brought to the same size."""
    assert 8e6 < len(photo) < 12e6
    source = opened(photo)
    image = source.decode(pictures.WEB_SIDE)
    made = pictures.optimise(source, image)
    assert seen(made).size == (1920, 2560)
    assert len(made.data) < 0.3 * len(photo)
    whole = quality.ssim(image, pictures.decode(made.data, made.kind))
    assert whole >= quality.ENOUGH
    assert made.ssim == pytest.approx(whole, abs=0.03)


def test_all_pixels_can_be_kept_and_seventy_percent_still_go(opened: Opened, photo: bytes) -> None:
    source = opened(photo)
    made = pictures.optimise(source, source.decode(65_535))
    assert seen(made).size == (3000, 4000)
    assert len(made.data) < 0.3 * len(photo)


def test_quality_rises_until_enough_is_kept(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = (pyvips.Image.gaussnoise(400, 400, mean=128, sigma=40, seed=1)).cast("uchar")
    source = opened(noisy.jpegsave_buffer(Q=100))
    monkeypatch.setattr(pictures, "QUALITIES", {Kind.JPEG: (5, 60, 95)})
    made = pictures.optimise(source, source.decode(400))
    assert made.quality is not None
    assert made.quality > 5
    assert made.ssim is not None
    assert made.ssim >= quality.ENOUGH


@pytest.mark.parametrize(("kind", "megapixels"), [(Kind.WEBP, 0.5), (Kind.AVIF, 0.1)])
def test_photographs_of_other_kinds_stay_of_their_kind(opened: Opened, kind: Kind, megapixels: float) -> None:
    photo = pyvips.Image.jpegload_buffer(photograph(megapixels, orientation=1))
    options = {"compression": "av1", "Q": 97} if kind is Kind.AVIF else {"Q": 99}
    saver = photo.heifsave_buffer if kind is Kind.AVIF else photo.webpsave_buffer
    source = opened(saver(**options))
    made = pictures.optimise(source, source.decode(2560))
    assert made.kind is kind
    assert len(made.data) < 0.5 * source.size


def test_a_photograph_in_a_png_becomes_a_webp(opened: Opened) -> None:
    photo = pyvips.Image.jpegload_buffer(photograph(0.5, orientation=1))
    source = opened(photo.pngsave_buffer())
    made = pictures.optimise(source, source.decode(2560))
    assert made.kind is Kind.WEBP
    assert len(made.data) < 0.3 * source.size


def test_a_drawing_in_a_png_stays_lossless(opened: Opened) -> None:
    flat = drawing().draw_rect([9, 9, 9], 0, 120, 640, 360, fill=True)
    source = opened(flat.pngsave_buffer(compression=0))
    made = pictures.optimise(source, source.decode(2560))
    assert (made.kind, made.kept) == (Kind.PNG, False)
    assert len(made.data) < source.size
    assert (pyvips.Image.pngload_buffer(made.data) - flat).abs().max() == 0


def test_an_animation_keeps_its_frames_and_its_thumbnail_is_the_first(opened: Opened) -> None:
    frames = [Image.new("RGB", (90, 60), colour) for colour in ("red", "lime", "blue")]
    for kind in (Kind.GIF, Kind.WEBP):
        buffer = io.BytesIO()
        frames[0].save(buffer, kind.name, save_all=True, append_images=frames[1:], duration=80)
        source = opened(buffer.getvalue())
        assert source.frames == 3
        image = source.decode(2560)
        made = pictures.optimise(source, image)
        assert (seen(made).format, getattr(seen(made), "n_frames", 1)) == (kind.name, 3)
        assert seen(pictures.thumbnail(image, 30)).getpixel((9, 9))[0] > 200


def test_what_would_not_become_smaller_is_kept_without_its_metadata(opened: Opened) -> None:
    photo = pyvips.Image.jpegload_buffer(photograph(0.5, orientation=1))
    photo.set_type(pyvips.GValue.gint_type, "orientation", 6)
    small = photo.jpegsave_buffer(Q=30)
    source = opened(small)
    made = pictures.optimise(source, source.decode(2560))
    assert made.kept
    assert len(made.data) < len(small)
    assert b"Somebody" not in made.data
    assert dict(seen(made).getexif()) == {0x0112: 6}  # still the right way up


def test_wide_colours_become_srgb(opened: Opened) -> None:
    """A CMYK JPEG and a 16-bit PNG come out as plain 8-bit RGB."""
    buffer = io.BytesIO()
    Image.new("CMYK", (60, 40), (0, 255, 255, 0)).save(buffer, "JPEG")
    red = seen(pictures.thumbnail(opened(buffer.getvalue()).decode(300), 300))
    assert red.mode == "RGB"
    assert red.getpixel((20, 20))[0] > 180 > 90 > red.getpixel((20, 20))[2]
    deep = (
        (drawing().cast("ushort") * 257)
        .cast("ushort")
        .copy(interpretation="rgb16")
        .pngsave_buffer(bitdepth=16)
    )
    assert seen(pictures.thumbnail(opened(deep).decode(300), 300)).getpixel((5, 5))[0] > 200


def test_a_profile_of_another_space_is_applied(opened: Opened) -> None:
    lab_like = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert not pictures._has_foreign_colours(pyvips.Image.jpegload_buffer(_with_profile(lab_like)))
    broken = pictures.thumbnail(opened(_with_profile(b"no profile at all")).decode(100), 100)
    assert seen(broken).size == (100, 75)


def _with_profile(profile: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (400, 300), "red").save(buffer, "JPEG", icc_profile=profile)
    return buffer.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_ends_in_a_clear_error(opened: Opened, name: str) -> None:
    make, told = HOSTILE[name]
    with pytest.raises(BadPicture, match=told) as caught:
        opened(make()).decode(2560)
    assert not isinstance(caught.value, OSError)
    assert "\n" not in str(caught.value)


def test_what_follows_a_picture_in_its_file_does_not_reach_a_result(opened: Opened) -> None:
    for kind in Kind:
        source = opened(picture(kind, 120, 90) + b"<script>alert(1)</script>")
        image = source.decode(2560)
        for made in (pictures.thumbnail(image, 50), pictures.optimise(source, image)):
            assert b"<script>" not in made.data


def test_text_that_inflates_to_megabytes_is_not_kept(opened: Opened) -> None:
    import zlib

    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000), 9))
    source = opened(flat_png(100, 100, extra=text))
    made = pictures.optimise(source, source.decode(2560))
    assert len(made.data) < 1000


def test_a_huge_exif_does_not_matter(opened: Opened) -> None:
    photo = photograph(0.2)
    stuffed = photo[:2] + (b"\xff\xe1\xff\xffExif\0\0" + b"A" * 65_527) * 100 + photo[2:]
    source = opened(stuffed)
    assert len(pictures.optimise(source, source.decode(2560)).data) < len(photo)


def test_an_animation_within_the_limit_is_taken(opened: Opened) -> None:
    assert opened(gif_of(1000)).frames == 1000


def test_ssim_is_one_for_equal_pictures_and_falls_with_damage() -> None:
    image = drawing(300, 200)
    assert quality.ssim(image, image) == pytest.approx(1)
    mild = pyvips.Image.jpegload_buffer(image.jpegsave_buffer(Q=90))
    rough = pyvips.Image.jpegload_buffer(image.jpegsave_buffer(Q=5))
    assert 1 > quality.ssim(image, mild) > quality.ssim(image, rough)


def test_ssim_agrees_with_its_formula_for_flat_pictures() -> None:
    """Without variance only the means count: (2ab + C1) / (a² + b² + C1)."""
    a, b, c1 = 100.0, 140.0, (0.01 * 255) ** 2
    flat = pyvips.Image.black(64, 64).copy(interpretation="b-w")
    expected = (2 * a * b + c1) / (a * a + b * b + c1)
    measured = quality.ssim((flat + a).cast("uchar"), (flat + b).cast("uchar"))
    assert measured == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("out of memory -- size == 343MB", pictures.PictureTooLarge),
        ("heif: Invalid input: Unspecified: Memory allocation error (2.0)", pictures.PictureTooLarge),
        ("VipsJpeg: premature end of JPEG image", BadPicture),
    ],
)
def test_what_libvips_says_is_told_as_what_the_user_can_do(said: str, kind: type[BadPicture]) -> None:
    with pytest.raises(BadPicture) as caught, pictures.reading(Kind.AVIF):
        raise pyvips.Error("unable to call heifload", said)
    assert type(caught.value) is kind


def test_the_same_seed_draws_the_same_photograph(tmp_path: Path) -> None:
    first, again, other = (
        make_photograph(tmp_path / f"{number}.jpg", 0.2, seed=seed).read_bytes()
        for number, seed in enumerate((3, 3, 4))
    )
    assert first == again != other


def test_a_photograph_is_not_drawn_in_an_orientation_that_no_camera_has() -> None:
    with pytest.raises(ValueError, match="orientation must be one of"):
        photograph(0.2, orientation=5)
