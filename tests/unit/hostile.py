"""Answers of every kind."""

from __future__ import annotations

import json

from hypothesis import strategies as st
from wire import SECRETS

MEMBER_NAMES = """
requestId result code message Code Message error_code error_msg log_id jobId taskId jobList taskList pageInfo
isTruncated nextMarker runStatus runProgress metrics checkpointList step perplexity trainingLoss createDate
finishDate createTime modelId modelSetId modelIds modelNames labels customModelSetList status sourceInfo
datasetId versionId datasetList versionList importStatus publishStatus exportStatus sampleCount sizeMB
serviceId instanceId serviceList updateStatus operation endpoint url error choices content
state taskName description evalType progress total outputDir errorReason commonModelList modelVersionList
downloadUrl effectMetric accuracy entries
"""
KNOWN_MEMBERS = st.sampled_from(MEMBER_NAMES.split())
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([*SECRETS, "task-1", "51%", "Done", "NaN", "0000-00-00T00:00:00Z", "RequestExpired"])
    | st.sampled_from([500000, 336100, 18, 510202, 2**80, 10**300, 1e308])
)
MEMBERS = KNOWN_MEMBERS | st.text(max_size=5) | st.sampled_from(SECRETS)
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(MEMBERS, inner, max_size=6),
    max_leaves=25,
)
ENVELOPES = st.fixed_dictionaries({"result": ANY_JSON}, optional={"requestId": SCALARS, "code": SCALARS})
IDS = st.fixed_dictionaries(
    {
        name: st.sampled_from(["a-1", "a-2", "a-3"])
        for name in ("jobId", "taskId", "modelSetId", "modelId", "serviceId", "instanceId")
    },
    optional={
        "runStatus": SCALARS,
        "runProgress": ANY_JSON,
        "metrics": ANY_JSON,
        "checkpointList": st.lists(
            st.fixed_dictionaries({"step": st.integers()}, optional={"perplexity": SCALARS})
        ),
        "status": SCALARS,
        "updateStatus": SCALARS,
        "endpoint": SCALARS,
    },
)
ROWS = st.lists(IDS, max_size=3)
PAGE_INFO = st.fixed_dictionaries(
    {"isTruncated": st.booleans()}, optional={"nextMarker": st.text(max_size=3)}
)
RESULTS = IDS | st.fixed_dictionaries(
    {
        "jobList": ROWS,
        "taskList": ROWS,
        "customModelSetList": ROWS,
        "serviceList": ROWS,
        "pageInfo": PAGE_INFO,
    }
)
BODIES = (
    (ANY_JSON | ENVELOPES | RESULTS.map(lambda result: {"result": result})).map(
        lambda value: json.dumps(value).encode()
    )
    | st.binary(max_size=60)
    | st.sampled_from([b"[" * 5000, b'{"a":' * 900 + b"1" + b"}" * 900, b'{"result":' + b"9" * 5000 + b"}"])
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            b"Retry-After",
            b"Location",
            b"X-Bce-Error-Code",
            b"X-Bce-Error-Message",
            b"x-bce-request-id",
            b"Content-Encoding",
            b"Content-Type",
            b"Set-Cookie",
        ]
    ),
    st.binary(max_size=20)
    | st.text(max_size=12).map(lambda text: text.encode("utf-8", "replace"))
    | st.sampled_from([b"gzip", b"br", b"gzip, gzip", b"30", b"Mon, 01 Jan 0001 00:00:00", b"http://["])
    | st.sampled_from([secret.encode() for secret in SECRETS]),
    max_size=4,
)
STATUSES = st.sampled_from([200, 200, 200, 201, 204, 302, 400, 403, 404, 429, 500, 503]) | st.integers(
    100, 599
)
