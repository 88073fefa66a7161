"""What is wrong with a path or a file. None of it gets better by trying again."""

from __future__ import annotations

from faena import Rejected


class InvalidPath(Rejected):
    """``file_path`` does not name a file below the media root."""

    def __init__(self, file_path: str, fault: str) -> None:
        self.file_path = file_path
        shown = file_path if len(file_path) <= 120 else file_path[:119] + "…"
        super().__init__(f"file_path {shown!r} {fault}")


class BadPicture(Rejected):
    """The file is not a picture that can be processed: broken, hostile, too large, or of another kind."""


class PictureTooLarge(BadPicture):
    """The picture has more pixels or frames than are processed."""


__all__ = ["BadPicture", "InvalidPath", "PictureTooLarge"]
