"""An HTTP answer while it comes in. llhttp parses it; this keeps what it found."""

import httptools

HEAD_MAX_BYTES = 64 * 1024
"""Status line and headers of an answer are no longer than this."""
LOWEST_STATUS = 100
"""The parser takes any number, and a web server that was told to pass on a lower one would end."""


class NotHttp(Exception):
    """What came back is not an HTTP answer."""


class Broken(Exception):
    """The connection failed; the message is the reason."""


class Answer:
    """One answer. ``feed`` it what the connection brings until it is ``complete``, and ``end`` it with that.

    The ``on_`` methods are for the parser.
    """

    def __init__(self) -> None:
        self.status = 0
        """0 until the head is complete."""
        self.reason = ""
        self.headers: dict[str, str] = {}
        """By names in lower case."""
        self.complete = False
        self.reusable = False
        """The connection can be used for another request once the answer is complete."""
        self.waiting_bytes = 0
        """So much of the body has come and was not taken."""
        self._pieces: list[bytes] = []
        self._head_bytes = 0
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take the next bytes, at least one. Raises NotHttp."""
        assert self._parser is not None, "nothing is read after the end"
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete or self.status == 101:
                raise NotHttp(str(error)) from error
            self.reusable = False  # bytes that nobody asked for came behind the answer
        if self.status < LOWEST_STATUS and (self.status or self.complete):
            raise NotHttp(f"its status is {self.status}")
        if not self.status:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAX_BYTES:
                raise NotHttp(f"its headers are longer than {HEAD_MAX_BYTES} bytes")
        if self.complete:
            self._parser = None  # it refers to this object: without this, only the garbage collector frees both

    def end(self) -> None:
        """Take note that the connection ended. Raises Broken unless that is how the body ends."""
        if not self.status or self.headers.keys() & {"content-length", "transfer-encoding"}:
            raise Broken("the connection broke off")
        self.complete, self._parser = True, None

    def take(self) -> bytes:
        """Return what came of the body since the last call."""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self.waiting_bytes = 0
        return data

    def on_message_begin(self) -> None:
        self.reusable = False  # when another answer begins behind this one

    def on_status(self, reason: bytes) -> None:
        self.reason += reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.complete:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        assert self._parser is not None, "it is calling"
        if not self.complete:
            self.status = self._parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        if not self.complete:
            self._pieces.append(piece)
            self.waiting_bytes += len(piece)

    def on_message_complete(self) -> None:
        assert self._parser is not None, "it is calling"
        if self.complete:
            return
        if 100 <= self.status < 200 and self.status != 101:  # an early hint, not the answer (RFC 9110, 15.2)
            self.status, self.reason = 0, ""
            self.headers.clear()
            return
        self.complete, self.reusable = True, self._parser.should_keep_alive()
