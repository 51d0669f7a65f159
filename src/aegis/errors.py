"""Errors that cross packages. Each answers one question that a caller can act on.

A refusal is a value (`model.decision.Decision`), not an error: these are raised when Aegis could not decide or could not do
what it decided. `code` is stable: it appears in logs, in problem details and in the journal.
"""


class AegisError(Exception):
    """Base of every error of this product; catch it only at a door."""

    code = "aegis"


class ConfigError(AegisError):
    """A file or setting is wrong; the message names file, key and reason. Mend it and start again."""

    code = "config-invalid"


class DocumentError(ConfigError):
    """A YAML document is wrong at a known place; the message starts with `file:line:column`."""

    code = "document-invalid"


class InputError(AegisError):
    """Bytes from outside are not the JSON that we accept. `path` points at the place as a JSON Pointer.

    The message never holds a value from the input: it may be the data that we protect.
    """

    code = "input-invalid"

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class CanonicalError(AegisError):
    """A value has no canonical form (a float, an integer beyond 2^53 - 1, a lone surrogate). Refuse it."""

    code = "not-canonical"


class SealError(AegisError):
    """A sealed payload cannot be opened: the key is gone (erased) or the bytes were changed."""

    code = "seal-broken"


class ErasedError(SealError):
    """The key of a sealed payload was destroyed, so nobody can open it again: tell that it is erased."""

    code = "erased"


class BundleError(AegisError):
    """A policy bundle was refused: it is not what its signature says, not of this tenant, or not well formed. Load nothing of it.

    `reason` is a stable word such as `signature` or `root`.
    """

    code = "bundle-refused"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NoteError(AegisError):
    """A signed note was refused. Believe nothing of its text.

    `reason` is `malformed` (it is not a note, or not of the form that was wanted) or `signature` (who signed is not whom we trust).
    """

    code = "note-refused"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class WitnessError(AegisError):
    """A witness gave no cosignature; `reason` says why.

    * `unreachable`: no answer, or none in time. Ask again.
    * `conflict`: it has cosigned another size than was said, and `size` is that one. Ask again with a proof from there; if `size`
      is beyond the log, the log was put back.
    * `fork`: it has cosigned another root at this size. One of the two trees is not the log.
    * `refused`: it takes no such checkpoint (`status`): the log is not known to it, or the proof does not hold.
    * `untrue`: what it answered is not a cosignature of its key over this checkpoint.
    """

    code = "witness-refused"

    def __init__(self, reason: str, message: str, *, size: int | None = None, status: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.size = size
        self.status = status


class IdentityError(AegisError):
    """A credential was refused. `reason` is a stable word such as `expired`; nothing else is told to the caller."""

    code = "identity-refused"

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


class StoreError(AegisError):
    """The store could not do what was asked; nothing of the unit was recorded unless `StoreUncertainError` says otherwise."""

    code = "store-unavailable"


class StoreBusyError(StoreError):
    """Too many units are waiting: retry after `retry_after` seconds (over HTTP this is 503)."""

    code = "store-busy"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreHaltedError(StoreError):
    """A write to stable storage failed, so the writer stopped. Reopen the store: that checks it before it serves again."""

    code = "store-halted"


class StoreUncertainError(StoreError):
    """The connection broke while committing: the unit may or may not be recorded. Ask for its event id before repeating."""

    code = "store-uncertain"


class CorruptStoreError(StoreError):
    """The store contradicts itself. Do not serve from it: run `aegis fsck`, restore, or ask for help."""

    code = "store-corrupt"


class LogBehindError(CorruptStoreError):
    """Somebody outside of the store has seen `size` events sealed of a log, and here are fewer: it was put back.

    Unless another process has sealed those meanwhile: read the log again before you believe it.
    """

    code = "log-behind"

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


class UpstreamError(AegisError):
    """A tool did not answer as it should. `sent` says whether any byte of the request may have reached it.

    `status` is what the tool answered when its answer came whole, or would have, but cannot be taken in (`too_large`, `encoded`).
    """

    code = "upstream-failed"

    def __init__(self, reason: str, detail: str = "", *, sent: bool, status: int = 0) -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.sent = sent
        self.status = status


class PolicyViolation(AegisError):  # noqa: N818 - a product name that SDK users write
    """The decision was deny. `problem` is the RFC 9457 document: rule, field, limit, and what to do next."""

    code = "policy-violation"

    def __init__(self, message: str, problem: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.problem = problem or {}


class ApprovalPending(AegisError):  # noqa: N818 - as above
    """The call is held for a person. Repeat the identical call after `retry_after` seconds, or stop here."""

    code = "approval-needed"

    def __init__(self, message: str, approval_id: str, retry_after: float, problem: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.approval_id = approval_id
        self.retry_after = retry_after
        self.problem = problem or {}


class GatewayError(AegisError):
    """The gateway did not carry the call out for another reason than policy; `problem` says which and what to do next.

    `retryable` means that the identical call, with the same key, may succeed later.
    """

    code = "gateway-refused"

    def __init__(self, message: str, problem: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.problem = problem or {}
        self.retryable = bool(self.problem.get("retryable", False))
        self.reason = str(self.problem.get("code", ""))


class IllegalTransitionError(AegisError):
    """This event cannot happen to a run that stands so: drop it; the run has not changed. The message names both."""

    code = "illegal-transition"


class StaleAnswerError(IllegalTransitionError):
    """The event is about a dispatch that is outstanding no more: somebody else answered, or took over. Drop it."""

    code = "stale-answer"
