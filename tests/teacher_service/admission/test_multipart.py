"""The multipart reader: the same images however the body is cut into chunks, and limits on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacher_service.admission.multipart import MultipartImages
from teacher_service.errors import InvalidRequest, TooLarge

BOUNDARY = "end-of-part"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def body(images: list[bytes], **fields: str) -> bytes:
    parts = [('name="images"; filename="x.jpg"', image) for image in images]
    parts += [(f'name="{name}"', value.encode()) for name, value in fields.items()]
    head = "--{}\r\nContent-Disposition: form-data; {}\r\nContent-Type: image/jpeg\r\n\r\n"
    whole = b"".join(head.format(BOUNDARY, what).encode() + data + b"\r\n" for what, data in parts)
    return whole + f"--{BOUNDARY}--\r\n".encode()


def reader(content_type: str = TYPE, max_images: int = 9, max_image_bytes: int = 1000) -> MultipartImages:
    return MultipartImages(content_type, max_images=max_images, max_image_bytes=max_image_bytes)


@given(
    st.lists(
        st.binary(max_size=200) | st.sampled_from([b"\r\n--end-of-par", b"--end-of-part--\r"]), max_size=5
    ),
    st.lists(st.integers(1, 60), min_size=1, max_size=20),
)
def test_images_come_out_whole_however_the_body_is_cut(images: list[bytes], cuts: list[int]) -> None:
    form = reader()
    data, at, turn = body(images, model="m"), 0, 0
    while at < len(data):
        step = cuts[turn % len(cuts)]
        form.feed(data[at : at + step])
        at, turn = at + step, turn + 1
    assert form.finish() == images
    assert form.fields == {"model": "m"}


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_nothing_else(data: bytes) -> None:
    form = reader()
    try:
        form.feed(data)
        form.finish()
    except InvalidRequest:
        pass


@given(st.integers(0, 200))
def test_a_body_that_is_cut_off_is_refused(length: int) -> None:
    whole = body([b"abc", b"defg"])
    form = reader()
    form.feed(whole[: min(length, len(whole) - 4)])
    with pytest.raises(InvalidRequest, match="closing boundary"):
        form.finish()


def test_one_image_too_many_is_refused_when_its_headers_arrive() -> None:
    form = reader(max_images=2)
    with pytest.raises(TooLarge, match="more than 2"):
        form.feed(body([b"a", b"b", b"c"]))


def test_a_byte_too_many_is_refused_before_the_rest_arrives() -> None:
    form = reader(max_image_bytes=10)
    start = body([b"x" * 5, b"y" * 20])
    with pytest.raises(TooLarge, match="Image 1") as refusal:
        form.feed(start[: start.index(b"yyy") + 11])
    assert refusal.value.param == "input[1]"


def test_a_boundary_may_be_quoted() -> None:
    form = reader(f'multipart/form-data; boundary="{BOUNDARY}"')
    form.feed(body([b"a"]))
    assert form.finish() == [b"a"]
