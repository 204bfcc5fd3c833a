"""Tags: which ones are copied, and which count as lost."""

from lfdn_video.output.tags import find_lost_tags, select_content_tags


def lost(before: dict[str, str], after: dict[str, str], *elsewhere: str) -> list[str]:
    return list(find_lost_tags("", before, after, set(elsewhere)))


def test_tags_about_the_encoding_are_not_copied() -> None:
    tags = {"title": "Rain", "ENCODER": "Lavf", "_STATISTICS_TAGS": "x", "BPS-eng": "1"}
    assert select_content_tags(tags) == {"title": "Rain"}
    cameras = {"software": "CanonMVI06"}
    assert select_content_tags(cameras) == cameras
    assert select_content_tags({"software": "Lavf59.27.100"}) == {}


def test_missing_tag_is_lost() -> None:
    assert lost({"title": "Rain"}, {}) == ["the tag title is lost"]


def test_tag_under_another_name_or_elsewhere_is_not_lost() -> None:
    assert lost({"title": "Rain", "date": "2026"}, {"TITLE": "", "year": "2026"}) == []
    assert lost({"title": "Rain"}, {}, "Rain") == []


def test_undefined_language_is_not_lost() -> None:
    assert lost({"language": "und"}, {}) == []
    assert lost({"language": "deu"}, {}) == ["the tag language is lost"]


def test_quicktime_tags_from_matroska_have_their_case() -> None:
    capitals = {
        "COM.APPLE.QUICKTIME.LOCATION.ISO6709": "+10",
        "COM.ANDROID.VERSION": "14",
        "A": "b",
    }
    names = ["com.apple.quicktime.location.ISO6709", "com.android.version", "A"]
    assert list(select_content_tags(capitals)) == names
