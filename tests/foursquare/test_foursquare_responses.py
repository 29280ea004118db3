"""The meaning of each answer of Foursquare: by `errorType` first, by the status last."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from checkinsync.errors import (
    AccountSuspended,
    ApiGone,
    ApplicationSuspended,
    CheckinsyncError,
    FoursquareAway,
    PlanExhausted,
    QuotaExceeded,
    RateLimited,
    RequestRefused,
    TokenRejected,
)
from checkinsync.foursquare import limits, parse, responses
from checkinsync.foursquare.envelope import Answer
from checkinsync.foursquare.responses import CredentialsNotSeen, InvalidAuth

NOW = datetime(2025, 6, 15, 2, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
TOKEN = "SECRETSECRET"
USABLE = {"checkins": {"count": 0, "items": []}}


def read(status: int, body: bytes, **headers: object) -> bytes:
    named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    answer = Answer(status, CaseInsensitiveDict(named), body)
    return responses.response(answer, responses.opened(answer, token=TOKEN, now=NOW), now=NOW)


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
        (410, "deprecated", ApiGone),
        (404, "deprecated", ApiGone),
        (200, "deprecated", ApiGone),
        (503, "deprecated", FoursquareAway),
        (404, None, ApiGone),
        (410, None, ApiGone),
        (402, "credits_exhausted", PlanExhausted),
        (429, "credits_exhausted", PlanExhausted),
        (402, None, PlanExhausted),
        (402, "brand_new", PlanExhausted),
        (403, "user_suspended", AccountSuspended),
        (401, "account_suspended", AccountSuspended),
        (403, "application_suspended", ApplicationSuspended),
        (403, "client_suspended", ApplicationSuspended),
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


def test_a_json_object_without_an_envelope_is_told_in_its_own_words():
    with pytest.raises(FoursquareAway, match="CHECKINSYNC_API_URL") as raised:
        read(401, b'{"message": "Invalid request token."}')

    assert "(Invalid request token.)" in str(raised.value)


@pytest.mark.parametrize("status", [200, 401, 403, 429, 500])
@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "an empty answer"),
        (b" \n<html>Access denied</html>", "an HTML page"),
        (b'{"meta": {"code": 401, "errorType": "inv', "not JSON, or is cut off"),
    ],
)
def test_an_answer_that_is_not_json_says_nothing_about_the_token(status, body, told):
    with pytest.raises(FoursquareAway, match=f"{told}.*try again later") as raised:
        read(status, body)

    assert f"(HTTP {status})" in str(raised.value)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (403, "an HTML page (HTTP 403), as a bot wall sends it, not JSON"),
        (200, "an HTML page (HTTP 200), as a bot wall sends it, not JSON"),
        (407, "an HTML page (HTTP 407), as a proxy sends it, not JSON"),
        (502, "an HTML page (HTTP 502), not JSON"),
    ],
)
def test_an_html_page_is_told_as_one_and_who_sends_such_pages(status, told):
    with pytest.raises(FoursquareAway) as raised:
        read(status, b"<!DOCTYPE html><html></html>")

    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://elsewhere.test/?oauth_token=SECRETSECRET", "to elsewhere.test (HTTP 302)"),
        ("//elsewhere.test:8080/x", "to elsewhere.test (HTTP 302)"),
        ("/v3/users/self", "to another path of the same address"),
        ("", "to nowhere"),
        ("https://" + "s3cr3t" * 7 + ".test/", "to ….test"),
        ("https://[::1", "to an address that can't be read"),
        ("https://evil\x1b[31m.test/", "to an address that can't be read"),
        ("https://xn--\u202e.test/", "to an address that can't be read"),
    ],
)
@pytest.mark.parametrize("body", [b"", b'{"meta": {"code": 302, "errorType": "other"}}'])
def test_a_redirect_says_where_to_and_that_it_was_not_followed(location, told, body):
    with pytest.raises(FoursquareAway, match="which was not followed") as raised:
        read(302, body, Location=location)

    assert told in str(raised.value)
    assert "CHECKINSYNC_API_URL" in str(raised.value)
    assert TOKEN not in str(raised.value)


# --- an API that is not there any more -----------------------------------------------------------


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize(
    "body", [b"", b"<html>Gone</html>", b'{"message": "Gone."}', b"Not found", b"{}"]
)
def test_a_bare_404_or_410_may_be_about_one_user_only(status, body):
    with pytest.raises(ApiGone, match="not there any more") as raised:
        read(status, body)

    assert not raised.value.sure
    assert raised.value.status == status
    assert "CHECKINSYNC_API_URL" in str(raised.value)
    assert "try again" not in str(raised.value)


def test_a_cut_404_proves_nothing():
    with pytest.raises(FoursquareAway):
        read(404, b'{"meta": {"code": 404, "errorTy')


@pytest.mark.parametrize("status", [404, 410])
def test_foursquares_own_word_that_the_api_is_gone_holds_for_everybody(status):
    words = "Usage of the V2 API has been deprecated for new Projects."

    with pytest.raises(ApiGone) as raised:
        read(status, refusal("deprecated", code=status, errorDetail=words))

    assert raised.value.sure
    assert words in str(raised.value)
    assert "try again" not in str(raised.value)
    assert raised.value.exit_code == 69


def test_a_suspended_application_is_everybodys_and_a_suspended_account_is_one_users():
    with pytest.raises(ApplicationSuspended) as everybody:
        read(403, refusal("application_suspended"))
    with pytest.raises(AccountSuspended) as one:
        read(403, refusal("user_suspended", errorDetail="This account has been suspended."))

    assert (everybody.value.sure, everybody.value.exit_code) == (True, 69)
    assert "(This account has been suspended.)" in str(one.value)
    assert not isinstance(one.value, TokenRejected)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (402, b""),
        (402, b"<html></html>"),
        (402, b'{"message": "Payment Required"}'),
        (402, refusal("credits_exhausted")),
        (429, b'{"message": "No API credits remaining."}'),
        (403, enveloped(code=403, errorDetail="No API credits remaining.")),
    ],
)
def test_a_plan_that_is_used_up_ends_the_run_and_is_not_tried_again(status, body):
    with pytest.raises(QuotaExceeded, match="plan at Foursquare is used up") as raised:
        read(status, body, X_RateLimit_Remaining=0)

    assert isinstance(raised.value, PlanExhausted)
    assert raised.value.exit_code == 5
    assert "try again" not in str(raised.value)


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


UNNAMED = [b"", b"{}", enveloped(code=403), b'{"meta": {"code": 429}}', b'{"message": "Slow."}']
IN_TEN_MINUTES = NOW + timedelta(minutes=10)


def limited(status: int, body: bytes, **headers: object) -> datetime:
    with pytest.raises(RateLimited) as raised:
        read(status, body, **headers)
    return raised.value.until


@pytest.mark.parametrize("body", UNNAMED)
@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize(
    ("headers", "until"),
    [
        ({"X-RateLimit-Remaining": "0"}, NOW + HOUR),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, NOW + HOUR),
        ({"X-RateLimit-Reset": str(int(IN_TEN_MINUTES.timestamp()))}, IN_TEN_MINUTES),
        ({"Retry-After": "600"}, IN_TEN_MINUTES),
        ({"Retry-After": "Sun, 15 Jun 2025 02:10:00 GMT"}, IN_TEN_MINUTES),
        ({"Retry-After": "86400"}, NOW + HOUR),
        ({"X-RateLimit-Remaining": "0", "Retry-After": "600"}, IN_TEN_MINUTES),
    ],
)
def test_a_limit_is_a_limit_without_its_name(status, body, headers, until):
    assert limited(status, body, **headers) == until


def test_a_limit_in_a_200_is_a_limit():
    assert limited(200, enveloped(code=429), X_RateLimit_Remaining=0) == NOW + HOUR


@pytest.mark.parametrize("body", [b"<html>Too many requests</html>", refusal("brand_new")])
def test_a_429_with_a_time_to_come_back_is_a_limit_whoever_sends_it(body):
    assert limited(429, body, Retry_After=600) == IN_TEN_MINUTES


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (403, b"", {}),
        (429, b"", {}),
        (403, b"", {"X-RateLimit-Remaining": "37"}),
        (403, b"", {"X-RateLimit-Reset": "soon"}),
        (403, b"", {"X-RateLimit-Reset": str(int(NOW.timestamp()) - 1)}),
        (403, b"", {"X-RateLimit-Reset": "99999999999"}),
        (403, b"", {"Retry-After": "0"}),
        (403, b"", {"Retry-After": "Sun, 15 Jun 2025 01:00:00 GMT"}),
        (403, b"<html>are you a robot?</html>", {"Retry-After": "600"}),
        (403, refusal("brand_new"), {"Retry-After": "600"}),
        (503, b"", {"Retry-After": "600"}),
    ],
)
def test_without_evidence_there_is_no_limit(status, body, headers):
    with pytest.raises(FoursquareAway):
        read(status, body, **headers)


def test_a_token_is_refused_though_nothing_is_left():
    with pytest.raises(TokenRejected):
        read(403, refusal("not_authorized"), X_RateLimit_Remaining=0)


@pytest.mark.parametrize(
    ("header", "left"), [("498", 498), ("0", 0), ("", None), ("-1", None), ("many", None)]
)
def test_the_requests_left_are_read_where_they_are_told(header, left):
    assert limits.remaining({"X-RateLimit-Remaining": header}) == left


# --- words ---------------------------------------------------------------------------------------


def sentence(status: int, body: bytes) -> str:
    with pytest.raises(CheckinsyncError) as raised:
        read(status, body)
    return str(raised.value)


@pytest.mark.parametrize(
    "error_type",
    ["invalid_auth", "not_authorized", "rate_limit_exceeded", "quota_exceeded", "param_error",
     "server_error", "user_suspended", "credits_exhausted", "deprecated", "brand_new", None],
)  # fmt: skip
@pytest.mark.parametrize("field", ["errorDetail", "errorMessage", "message"])
def test_foursquares_own_words_stand_in_each_message(error_type, field):
    body = refusal(error_type, **{field: "So it\n says"})

    assert "(So it says)" in sentence(403, body)


@pytest.mark.parametrize(
    "body",
    [
        {"message": "So it says"},
        {"errorDetail": "So it says"},
        {"errorMessage": "So it says"},
        {"error": "So it says"},
        {"error": {"message": "So it says"}},
        {"error": "invalid", "error_description": "So it says"},
    ],
)
def test_so_do_the_words_of_an_answer_without_an_envelope(body):
    assert "(So it says)" in sentence(400, json.dumps(body).encode())


SPELT = [
    TOKEN,
    TOKEN.lower(),
    f"{TOKEN[:6]} {TOKEN[6:]}",
    "\n".join(TOKEN),
    "\u200b".join(TOKEN),
    "".join(f"%{ord(letter):02x}" for letter in TOKEN),
    "".join(f"%25{ord(letter):02X}" for letter in TOKEN),
    f"{TOKEN[:9]}…",
    TOKEN[3:],
    f"x{TOKEN}x",
    f"{TOKEN[:5]}-{TOKEN[5:]}",
]


@pytest.mark.parametrize("written", SPELT)
@pytest.mark.parametrize("field", ["errorDetail", "errorMessage"])
def test_words_that_repeat_the_token_are_shown_without_it(field, written):
    told = sentence(400, refusal("param_error", **{field: f"the token {written} is bad"}))

    assert "the token " in told
    assert " is bad" in told
    letters = "".join(filter(str.isalnum, told)).lower()
    assert not any(piece in letters for piece in ("secretse", "crets", "5345", "secrets"))


@pytest.mark.parametrize(
    "words",
    ["oauth_token=OTHERS", "oauth_token%3DOTHERS", "Bearer OTHERS1", "client_secret=OTHERS",
     "OTHERS" * 8],
)  # fmt: skip
def test_the_words_show_no_other_secret_either(words):
    assert "OTHERS" not in sentence(400, refusal("param_error", errorDetail=f"bad {words}"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("a\x1b[31mb\x07c\x00d", "(a [31mb c d)"),
        ("a\u202eb\u2066c\u200fd", "(abcd)"),
        ("a\u2028b\u0085c", "(a b c)"),
        ("lone \ud800 half", "(lone \ufffd half)"),
        ("many words, " * 1000, "many words, many wo…)"),
        ("\u202e\x1b", "wrong: param_error"),
    ],
)
def test_the_words_are_harmless_and_few(words, told):
    shown = sentence(400, refusal("param_error", errorDetail=words))

    assert shown.endswith(told)
    assert shown.isprintable()
    assert len(shown) < 260


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

    assert limits.date(headers) == datetime(2026, 11, 24, 2, tzinfo=UTC)


@pytest.mark.parametrize("said", ["", "soon", "Tue, 99 Nov 2026 02:00:00 GMT", "1763949600"])
def test_a_date_that_is_none_is_not_told(said):
    assert limits.date(CaseInsensitiveDict({"Date": said})) is None
    assert limits.date(CaseInsensitiveDict()) is None
