"""Whole commands against a Foursquare that refuses: the exit code, the sentence, the requests."""

from __future__ import annotations

import pytest

from checkinsync.simulator.faults import Fault

CHECKINS = "users/self/checkins"


@pytest.mark.parametrize(
    ("kind", "code", "told"),
    [
        ("credits_exhausted", 5, "plan at Foursquare is used up (No API credits remaining.)"),
        ("credits_message", 5, "plan at Foursquare is used up (No API credits remaining.)"),
        ("limit_unnamed", 5, "requests for the hour are used up"),
        ("user_suspended", 3, "has suspended this user's account (This account was suspended.)"),
        ("application_suspended", 69, "has suspended the application"),
        ("gone", 69, "Usage of the V2 API has been deprecated for new Projects."),
        ("gone_html", 69, "an HTML page (HTTP 410), not JSON"),
    ],
)
def test_an_import_that_is_refused_says_why_and_asks_once(story, kind, code, told):
    ada = story.person("Ada", 3)
    story.simulator.fail(Fault(kind, path=CHECKINS, seconds=600, times=None))

    ended = story.run("import-user", str(ada.id))

    assert ended.code == code
    assert told in ended.err
    assert "try again later" not in ended.err
    assert len(ended.err.splitlines()) == 1
    assert len(story.requests(ada)) == 1


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault("html_403", times=None), "an HTML page (HTTP 403), as a bot wall sends it"),
        (Fault("redirect", body="https://elsewhere.test/x", times=None), "to elsewhere.test"),
        (Fault("gzip_damaged", times=None), "packed body (gzip)"),
        (Fault("says", status=401, body='{"message": "Go\\u202e \\u001b[2J away."}', times=None),
         "(Go [2J away.)"),
    ],
)  # fmt: skip
def test_an_import_that_meets_something_else_says_what(story, fault, told):
    ada = story.person("Ada", 3)
    story.simulator.fail(fault)

    ended = story.run("import-user", str(ada.id))

    assert ended.code == 69
    assert told in ended.err
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize("field", ["errorDetail", "errorMessage"])
def test_foursquares_words_are_stored_and_shown_without_the_token(story, field):
    ada = story.person("Ada", 3)
    spelt = f"{ada.token} {ada.token.lower()} {' '.join(ada.token)} {ada.token[:20]}"
    body = f'{{"meta": {{"code": 500, "errorType": "server_error", "{field}": "So: {spelt}"}}}}'
    story.simulator.fail(Fault("says", status=500, body=body, times=None))

    ended = story.run("-v", "import-user", str(ada.id))

    [(reason,)] = story.rows("SELECT error_message FROM import_jobs")
    for text in (ended.err, reason):
        assert "Foursquare has an error of its own (So: …" in text
        assert ada.token[:12].lower() not in text.lower()
