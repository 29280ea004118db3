"""What each answer of Foursquare means: by `errorType` first, by the status last."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from checkinsync.errors import (
    CheckinsyncError,
    FoursquareAway,
    QuotaExceeded,
    RateLimited,
    RequestRefused,
    TokenRejected,
)
from checkinsync.foursquare import parse, responses
from checkinsync.foursquare.responses import Answer, CredentialsNotSeen, InvalidAuth

NOW = datetime(2025, 6, 15, 2, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
TOKEN = "SECRETSECRET"
USABLE = {"checkins": {"count": 0, "items": []}}


def read(status: int, body: bytes, **headers: object) -> bytes:
    named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    answer = Answer(status, CaseInsensitiveDict(named), body)
    return responses.response(answer, responses.opened(answer, token=TOKEN), now=NOW)


def enveloped(response: object = None, **meta: object) -> bytes:
    return json.dumps({"meta": meta, "response": response or {}}).encode()


def refusal(error_type: object, **meta: object) -> bytes:
    return enveloped(errorType=error_type, **meta)


@pytest.mark.parametrize(
    ("status", "error_type", "meaning"),
    [
        (401, "invalid_auth", InvalidAuth),
        (403, "invalid_auth", InvalidAuth),
        (400, "invalid_auth", CredentialsNotSeen),
        (403, "not_authorized", TokenRejected),
        (401, "not_authorized", TokenRejected),
        (403, "rate_limit_exceeded", RateLimited),
        (429, "rate_limit_exceeded", RateLimited),
        (429, "quota_exceeded", QuotaExceeded),
        (403, "quota_exceeded", QuotaExceeded),
        (400, "param_error", RequestRefused),
        (410, "param_error", RequestRefused),
        (404, "endpoint_error", RequestRefused),
        (405, "endpoint_error", RequestRefused),
        (500, "server_error", FoursquareAway),
        (503, "server_error", FoursquareAway),
        (403, "server_error", FoursquareAway),
        (400, "other", RequestRefused),
        (404, "brand_new", RequestRefused),
        (401, "other", FoursquareAway),
        (403, "brand_new", FoursquareAway),
        (429, "other", FoursquareAway),
        (500, "other", FoursquareAway),
        (302, "other", FoursquareAway),
        (410, "deprecated", RequestRefused),
        (401, None, FoursquareAway),
        (403, 7, FoursquareAway),
        (403, ["not_authorized"], FoursquareAway),
        (400, None, RequestRefused),
    ],
)
def test_an_error_means_what_its_type_says_and_only_then_its_status(status, error_type, meaning):
    with pytest.raises(CheckinsyncError) as raised:
        read(status, refusal(error_type, code=status))

    assert type(raised.value) is meaning


@pytest.mark.parametrize(
    ("error_type", "code", "meaning"),
    [
        ("not_authorized", 403, TokenRejected),
        ("invalid_auth", 400, CredentialsNotSeen),
        ("server_error", 200, FoursquareAway),
        ("other", 503, FoursquareAway),
        (None, 400, RequestRefused),
    ],
)
def test_an_error_in_a_200_is_that_error(error_type, code, meaning):
    with pytest.raises(CheckinsyncError) as raised:
        read(200, refusal(error_type, code=code))

    assert type(raised.value) is meaning


@pytest.mark.parametrize(
    ("status", "meta"),
    [
        (200, {"code": 200, "requestId": "x"}),
        (200, {}),
        (200, {"code": 200, "errorType": "deprecated"}),
        (410, {"code": 410, "errorType": "deprecated"}),
        (200, {"code": 200, "errorType": "brand_new"}),
        (201, {"code": "200"}),
    ],
)
def test_a_usable_answer_is_used(status, meta):
    assert json.loads(read(status, enveloped(USABLE, **meta))) == USABLE


@pytest.mark.parametrize("meta", [b"", b'"meta":null,', b'"meta":7,'])
def test_an_answer_without_meta_is_not_foursquare_s(meta):
    with pytest.raises(FoursquareAway, match="CHECKINSYNC_API_URL"):
        read(200, b"{" + meta + b'"response":{"checkins":{"items":[]}}}')


def test_any_json_object_is_no_envelope():
    with pytest.raises(FoursquareAway, match="CHECKINSYNC_API_URL"):
        read(404, b'{"message": "no such place"}')


@pytest.mark.parametrize("status", [200, 401, 403, 404, 429, 500])
@pytest.mark.parametrize(
    "body", [b"", b"<html>Access denied</html>", b'{"meta": {"code": 401, "errorType": "inv']
)
def test_what_is_no_json_says_nothing_about_the_token(status, body):
    with pytest.raises(FoursquareAway, match=f"HTTP {status} .* not JSON"):
        read(status, body)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"invalid_auth"', b"[" * 100_000])
def test_json_that_is_no_envelope_says_nothing_either(body):
    with pytest.raises(FoursquareAway):
        read(401, body)


@pytest.mark.parametrize(
    "odd", [rb'"\ud800"', rb'"\u0000"', b'"\x00"', b'"\n"', b'"\xff"', b"NaN", b"1" * 5000]
)
def test_one_odd_text_in_an_answer_does_not_cut_it(odd):
    body = b'{"meta":{"code":200},"response":{"user":{"id":"1","odd":' + odd + b"}}}"

    assert parse.profile(read(200, body)).foursquare_user_id == "1"


# --- when to ask again ---------------------------------------------------------------------------


def until(**headers: object) -> datetime:
    with pytest.raises(RateLimited) as raised:
        read(403, refusal("rate_limit_exceeded"), **headers)
    return raised.value.until


@pytest.mark.parametrize("seconds", [1, 1800, 3600])
def test_a_rate_limit_ends_when_the_header_says(seconds):
    at = NOW + timedelta(seconds=seconds)

    assert until(X_RateLimit_Reset=int(at.timestamp())) == at
    assert until(x_ratelimit_reset=int(at.timestamp())) == at


@pytest.mark.parametrize(
    "header",
    ["", "soon", "-1", "0", "1.5", "1e9", "99999999999", "9" * 400, "٣",
     str(int(NOW.timestamp())), str(int(NOW.timestamp()) - 5), str(int(NOW.timestamp()) + 3601)],
)  # fmt: skip
def test_a_reset_that_can_not_be_true_is_one_hour_from_now(header):
    assert until(X_RateLimit_Reset=header) == NOW + HOUR


def test_without_a_reset_a_rate_limit_ends_one_hour_from_now():
    assert until() == NOW + HOUR


@pytest.mark.parametrize(
    ("header", "left"), [("498", 498), ("0", 0), ("", None), ("-1", None), ("many", None)]
)
def test_the_requests_left_are_read_where_they_are_told(header, left):
    assert responses.remaining({"X-RateLimit-Remaining": header}) == left


# --- words ---------------------------------------------------------------------------------------


def test_foursquares_own_words_stand_in_the_message():
    with pytest.raises(RequestRefused, match=r"param_error \(Invalid checkin id\)"):
        read(400, refusal("param_error", errorDetail="Invalid\n checkin id"))


@pytest.mark.parametrize("field", ["errorDetail", "errorMessage"])
def test_words_that_repeat_the_token_do_not(field):
    with pytest.raises(RequestRefused) as raised:
        read(400, refusal("param_error", **{field: f"bad oauth_token={TOKEN}"}))

    assert TOKEN not in str(raised.value)


def test_an_error_type_that_looks_like_none_is_not_repeated():
    with pytest.raises(FoursquareAway) as raised:
        read(403, refusal(TOKEN))

    assert TOKEN not in str(raised.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "meta": st.fixed_dictionaries(
            {}, optional={"code": json_values, "errorType": json_values, "errorDetail": json_values}
        )
        | json_values,
        "response": json_values,
    },
)


@given(
    st.integers(100, 599),
    (envelopes | json_values).map(json.dumps).map(str.encode) | st.binary(),
)
def test_any_answer_is_a_response_or_an_error_of_ours(status, body):
    try:
        response = read(status, body)
    except CheckinsyncError as error:
        assert not isinstance(error, TokenRejected)  # noqa: PT017 (nothing drawn says so)
    else:
        assert isinstance(response, bytes)


@pytest.mark.parametrize(
    "said", ["Tue, 24 Nov 2026 02:00:00 GMT", "Tue, 24 Nov 2026 04:00:00 +0200"]
)
def test_what_time_it_is_there_is_told_in_utc(said):
    headers = CaseInsensitiveDict({"date": said})

    assert responses.date(headers) == datetime(2026, 11, 24, 2, tzinfo=UTC)


@pytest.mark.parametrize("said", ["", "soon", "Tue, 99 Nov 2026 02:00:00 GMT", "1763949600"])
def test_a_date_that_is_none_is_not_told(said):
    assert responses.date(CaseInsensitiveDict({"Date": said})) is None
    assert responses.date(CaseInsensitiveDict()) is None
