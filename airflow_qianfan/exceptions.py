"""Everything this package raises: one tree under :class:`QianfanError`.

Errors that another attempt cannot mend derive from ``AirflowFailException`` as well, so that Airflow does not
spend a task's retries on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_qianfan.compat import AFTER_A_CLEAR, AirflowException, AirflowFailException


class QianfanError(AirflowException):
    """Base of all errors of this package.

    :param message: what happened.
    :param action: name of the Action that was called, if there was one.
    """

    transient = False
    """True where the same request may succeed a moment later."""

    advice = ""
    """What to do about it, shown after the message."""

    def __init__(self, message: str = "", *, action: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.action = action
        self.subject: Mapping[str, str] = {}
        """Ids and names that the request held, by the names of its members: what the call was about."""

    def __str__(self) -> str:
        text = f"{self.action}: {self.what_happened()}" if self.action else self.what_happened()
        if self.advice:
            text = f"{text.rstrip('.')}. {self.advice}"
        return text

    def what_happened(self) -> str:
        """Return the message with ids, status and code, without action and advice."""
        about = ", ".join(f"{name} {value}" for name, value in self.subject.items())
        details = "; ".join(part for part in (about, self.details()) if part)
        return f"{self.message} ({details})" if details else self.message

    def details(self) -> str:
        """Return where to look: status, code and request id, or a page of the console."""
        return ""


class QianfanConfigurationError(QianfanError, AirflowFailException):
    """The connection lacks something, or holds a value that cannot be used."""


class QianfanValidationError(QianfanError, AirflowFailException, ValueError):
    """A request breaks a rule of the official pages; it was not sent. Or an argument does in a DAG file.

    :param parameters: names of the offending members, as in the service's documentation, or arguments.
    """

    def __init__(
        self, message: str = "", *, action: str | None = None, parameters: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, action=action)
        self.parameters = parameters


class QianfanConnectionError(QianfanError):
    """No answer came: the network failed, or time ran out.

    :param sent: whether the request, or a part of it, may have reached the service.
    """

    transient = True
    advice = "Check the connection's host and proxy, and whether this machine reaches them."

    def __init__(self, message: str = "", *, action: str | None = None, sent: bool = True) -> None:
        super().__init__(message, action=action)
        self.sent = sent


class QianfanAmbiguousCreateError(QianfanError, AirflowFailException):
    """An Action that must not be repeated was sent, and nobody knows whether it took effect.

    It was not, and is not, sent again. As a rule it is a Create; the same holds for every Action that
    :func:`airflow_qianfan.api.retry.is_repeatable` does not know.
    """

    advice = (
        "It may or may not have taken effect: check in the console, or with a Describe Action, "
        "before you run it again, since what exists twice may be billed twice."
    )


class QianfanAPIError(QianfanError):
    """The service answered with an error.

    :param message: the service's message.
    :param action: name of the Action.
    :param status_code: HTTP status.
    :param code: the service's code, such as ``InappropriateJSON`` or ``336100``.
    :param request_id: id of the request, which Baidu's support asks for.
    :param retry_after: seconds to wait before another attempt, if the service said so.
    """

    after_lost_answer = False
    """True where an earlier attempt of the same call, whose answer was lost, may have taken effect."""

    def __init__(
        self,
        message: str = "",
        *,
        action: str | None = None,
        status_code: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, action=action)
        self.status_code = status_code  # type: ignore[assignment]  # Airflow's own is never None
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after

    def details(self) -> str:
        details = {"HTTP": self.status_code, "code": self.code, "request id": self.request_id}
        return ", ".join(f"{name} {value}" for name, value in details.items() if value)


class QianfanAuthenticationError(QianfanAPIError, AirflowFailException):
    """The service does not accept the credentials."""

    advice = "Check Access Key ID (login), Secret Access Key (password) and session token of the connection."


class QianfanInvalidAccessKeyError(QianfanAuthenticationError):
    """The service does not know the access key id."""

    advice = "Check the Access Key ID (login) of the connection: it may be mistyped, disabled or deleted."


class QianfanSignatureError(QianfanAuthenticationError):
    """The service computed another signature: as a rule the secret key is wrong."""

    advice = (
        "Check the Secret Access Key (password) of the connection; if it is right, "
        "something between here and the service alters the request or its Host header."
    )


class QianfanClockError(QianfanAuthenticationError):
    """The request's time stamp is too old, or in the future."""

    advice = (
        "Set the clock of this machine (UTC): a signature is valid for a limited time around its time stamp."
    )


class QianfanPermissionError(QianfanAPIError, AirflowFailException):
    """The credentials are good, but not for this Action or resource."""

    advice = (
        "Give the user of the access key a policy for this Action, such as "
        "QianfanModelTuningFullControlAccessPolicy; reading needs QianfanModelTuningReadAccessPolicy."
    )


class QianfanRequestError(QianfanAPIError, AirflowFailException):
    """The service refuses the request as it is."""

    advice = "Correct the parameter that the message names; the Action's page lists what is allowed."


class QianfanNotFoundError(QianfanAPIError, AirflowFailException):
    """What the request names does not exist."""

    advice = (
        "Check the id: it may be mistyped, its object deleted, or in another account than the connection's."
    )


class QianfanAlreadyExistsError(QianfanAPIError, AirflowFailException):
    """The name is taken."""

    advice = "Choose another name, or use the object that has it."

    @property
    def name(self) -> str | None:
        """The name that the request asked for, if it had one."""
        names = (value for member, value in self.subject.items() if member.lower().endswith("name"))
        return next(names, None)


class QianfanQuotaError(QianfanAPIError):
    """The account runs as many tasks as it may, or has used up a quota."""

    advice = "Wait until a running task has ended, or ask Baidu for a higher quota."


class QianfanThrottledError(QianfanAPIError):
    """Too many requests; this one was refused before it took effect."""

    transient = True
    advice = "Lower max_qps in the connection, or poll less often ([qianfan] poll_interval)."


class QianfanServerError(QianfanAPIError):
    """The service failed; a request that changes something may have taken effect all the same."""

    transient = True
    advice = "Try again later; if it lasts, give the request id to Baidu's support."


class QianfanOperationFailedError(QianfanAPIError):
    """The service answered ``"result": false``: it did not do what was asked."""

    advice = "Check in the console in which state the object is: one that has ended cannot be stopped."


class QianfanResponseError(QianfanAPIError):
    """The answer is not what the documents promise: not JSON, too large, or of a wrong type."""

    advice = "Check that the connection's host is Qianfan's endpoint and no proxy answers in its place."


class QianfanGatewayError(QianfanResponseError):
    """A gateway, proxy or firewall on the way refused the request, which did not reach Qianfan."""

    transient = True
    advice = (
        "Something between this machine and Qianfan refused it: check the connection's host and proxy, "
        "and the firewall; if they are right, try again later."
    )


class QianfanUnreadableAnswerError(QianfanResponseError):
    """The answer could not be decoded at all; the next one may be whole again."""

    transient = True


class QianfanInferenceError(QianfanAPIError):
    """A deployed service did not answer a call as it should.

    :param message: the service's message.
    :param transient: whether the same call may succeed a moment later, as with a new service.
    :param members: those of :class:`QianfanAPIError`.
    """

    advice = "Look at the service in the console; a new service may need some minutes before it answers."

    def __init__(self, message: str = "", *, transient: bool = True, **members: Any) -> None:
        super().__init__(message, **members)
        self.transient = transient


class QianfanInferenceRefusedError(QianfanInferenceError, AirflowFailException):
    """A deployed service refuses a call, and will refuse it again."""

    advice = (
        "Check the connection's api_key, whether it may use this service, and whether the service takes chat "
        "calls with these messages."
    )


class QianfanTerminalStateError(QianfanError, AirflowFailException):
    """What was waited for has ended otherwise than hoped.

    :param state: the state that the service reported, such as ``Failed``.
    :param url: page of the console that shows more.
    """

    def __init__(self, message: str = "", *, state: str | None = None, url: str | None = None) -> None:
        super().__init__(message)
        self.state = state
        self.url = url

    def details(self) -> str:
        return f"see {self.url}" if self.url else ""


class QianfanMetricsRejectedError(QianfanError, AirflowFailException):
    """The metrics of a model are not good enough, or one that decides is missing."""


class QianfanPersonNeededError(QianfanError, AirflowFailException):
    """What was waited for goes on only when a person has done something in the console.

    :param url: page of the console where that is done.
    """

    advice = f"Once it is done in the console, {AFTER_A_CLEAR}; or wait for it with manual='wait'."

    def __init__(self, message: str = "", *, url: str | None = None) -> None:
        super().__init__(message)
        self.url = url

    def details(self) -> str:
        return f"see {self.url}" if self.url else ""


class QianfanPollError(QianfanError):
    """The state could not be read, many times in a row. What was waited for goes on at the service."""

    advice = f"It goes on at Qianfan. When the service answers, {AFTER_A_CLEAR}."


class QianfanPollRefusedError(QianfanPollError, AirflowFailException):
    """The state cannot be read: key, policy, connection or id are wrong. What was waited for goes on."""

    advice = f"It goes on at Qianfan. Once that is corrected, {AFTER_A_CLEAR}."


class QianfanWaitTimeoutError(QianfanError):
    """Time ran out while waiting for a state. What was waited for goes on at the service."""


class QianfanExecutionTimeoutError(QianfanWaitTimeoutError, AirflowFailException):
    """``execution_timeout`` is over, and what the task waited for was told to stop, where the service can.
    Another attempt would take as long."""

    advice = "Give the task a longer execution_timeout, or less to do."


class QianfanUpdateError(QianfanError, AirflowFailException):
    """A service could not be brought to another model version."""

    advice = "Look at the service in the console: which version does it serve?"
