"""``delivery="one"``: one of the processes of an app handles each event.

Every process registers the same procedure, shared ``roundrobin``. One process holds a lease. It subscribes to
the topic and forwards each event to that procedure, so that the router spreads the events. At most
:data:`.WINDOW` events are forwarded and unanswered at a time; the others wait in a queue of
``WAMP_EVENT_QUEUE``. Further events are dropped, as for any subscription.

**No event is handled twice.** An event that was forwarded and not answered is not forwarded again, unless the
answer says that no process has begun to handle it.

**No event is lost while processes come and go in order.** A process that leaves takes no more events, and
returns those that it has not begun to handle. If it is the one that forwards, it first registers a procedure
for its successor, then releases the lease, and stays subscribed. The successor subscribes, keeps the events
that arrive, and calls that procedure. From then on the old process takes no more events; it answers which
ones it has taken since it released the lease. The successor leaves these out, and the old process forwards
the rest of its queue before it ends.

**Events are lost when a process is killed**, or loses its session. If it forwards: its queue, the events on
their way to it, and those that are published until another process has the lease (some 10 ms where
the ``wamp.`` meta API is permitted, otherwise up to 2 s). Events that it has forwarded are handled. If it
does not forward: the events that it was handling or that waited for it, at most :data:`.WINDOW`. The log
says how many.

Events are handled in no particular order, because each goes to another process. The processes sign what they
say to each other, see :mod:`.signing`, so that other sessions cannot feed handlers with events.
"""

from __future__ import annotations

import functools
import threading
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..exceptions import InvalidPayload, WAMPError
from ..peer.connection import Connection
from ..peer.declarations import ActiveMessage, Failure, Outcome, Registration, Subscription, Success
from ..peer.invocations import ActiveEvent, ActiveInvocation
from ..peer.listeners import MakeListener, PeerInterface
from ..peer.registrar import withdraw
from ..peer.requests import request
from ..peer.sending import payload
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.call_result import remote_error
from ..protocol.session import Session
from ..protocol.uris import COUNT_CALLEES, as_parts
from .forwarder import Forwarder, read_event
from .lease import PAUSE_MAX
from .leases import Leases
from .signing import Signer

logger = get_logger("flask_wamp.delivery")

#: Seconds a leaving process waits for a successor before it concludes that there is none: longer than the
#: pause between two attempts of a process to get the lease.
PATIENCE = PAUSE_MAX * 1.25

#: Seconds between two checks whether there are other processes, meanwhile.
PAUSE = 0.2


class Delivery(Registration):
    """The registration that serves a subscription with ``delivery="one"`` in each process.

    :param own: The prefix of the URIs that the app uses itself, see :func:`.uris.own_prefix`.
    :param signer: Signs what the processes say to each other.
    """

    def __init__(self, subscription: Subscription, own: str, signer: Signer | None = None) -> None:
        self.signer = signer or Signer()
        topic = f"{subscription.match}.{as_parts(subscription.uri)}"
        super().__init__(
            f"{own}.deliver.{topic}",
            self._deliver,
            options={"invoke": "roundrobin"},
            concurrency=subscription.concurrency,
        )
        self.name = subscription.name
        self.subject = self.subscription = subscription
        self.lease_uri = f"{own}.lease.deliver.{topic}"
        self.handover_uri = f"{own}.handover.{topic}"
        self.runs_if_canceled = True
        self.pass_on: t.Callable[[m.Event], None] | None = None
        """Gives an event to another process. Set while this process leaves and others stay."""
        self.make_listener: MakeListener = functools.partial(SharedDelivery, self)

    def _deliver(self, work: ActiveMessage) -> Outcome:
        """Handle a forwarded event: this is the shared procedure."""
        if self.pass_on is not None and not work.canceled:
            return Failure(error_uris.UNAVAILABLE, ["this process is leaving"])
        try:
            event = read_event(self.signer, self.uri, work.message.args)
        except InvalidPayload as error:
            return Failure(error_uris.NOT_AUTHORIZED, list(error.args))
        if self.pass_on is not None:  # its forwarder has gone, and cannot forward it again
            self.pass_on(event)
            return Success()
        connection = t.cast(ActiveInvocation, work).connection
        for member in self.subscription.receivers(event):
            ActiveEvent(connection, member, event).run()
        return Success()


class SharedDelivery:
    """Wants the lease in one process, and subscribes and forwards while it holds it.

    ``joined`` and ``lost`` run on the reader's or timer's thread, ``_take_over`` on a worker, and ``leave``
    on the thread that stops the client.
    """

    def __init__(self, delivery: Delivery, peer: PeerInterface) -> None:
        delivery.pass_on = None
        delivery.subscription.take = None  # that of a peer that was stopped
        self._delivery = delivery
        self._peer = peer
        self._forwarder = Forwarder(peer, delivery.uri, delivery.subscription, delivery.signer)
        self._connection: Connection | None = None
        self._subscribed = False
        self._handed_over = threading.Event()
        self._lease = Leases.of(peer).add(
            delivery.lease_uri, on_acquired=self._take_over, signer=delivery.signer
        )

    def joined(self, connection: Connection) -> None:
        """Take note of a new session, and forward what is left in the queue."""
        self._connection = connection
        self._forwarder.joined(connection)

    def lost(self) -> None:
        """Take note that the session has ended."""
        self._connection = None
        self._subscribed = False
        self._forwarder.lost()

    # Taking over: this process has the lease.

    def _take_over(self) -> None:
        connection = self._connection
        if connection is None:
            return
        self._forwarder.hold()
        try:
            self._subscribe(connection)
            taken = self._ask_predecessor(connection)
        except WAMPError as error:
            self._forwarder.forget()
            self._fail(error)
        else:
            self._delivery.refused = None
            self._lease.keep()
            self._forwarder.go_on(taken)

    def _fail(self, error: WAMPError) -> None:
        """Leave the topic to another process, which may be permitted to subscribe."""
        self._subscribed = False
        first = self._delivery.refused is None
        self._delivery.refused = error
        log = logger.error if first else logger.debug
        log("%s is not delivered by this process: %s", self._delivery.subscription.uri, error)
        self._lease.give_back()

    def _subscribe(self, connection: Connection) -> None:
        topic = self._delivery.subscription
        topic.take = self._forwarder.take
        answer = self._request(connection, Session.subscribe, topic.uri, topic.options, topic)
        if isinstance(answer, m.Error):
            raise remote_error(answer)
        topic.id = answer.subscription_id
        self._subscribed = True

    def _ask_predecessor(self, connection: Connection) -> list[int] | None:
        """Return which publications the predecessor took since it released the lease.

        None if there is no predecessor, because it was killed or this is the first process.
        """
        uri, signer = self._delivery.handover_uri, self._delivery.signer
        question, _ = payload(connection.transport, signer.sign_now(f"{uri}:ask", None), {})
        try:
            answer = self._request(connection, Session.call, uri, question, {}, {})
            if not isinstance(answer, m.Result):
                return None
            taken = signer.read_recent(f"{uri}:taken", answer.readable_args)
        except WAMPError as error:
            logger.warning("%s does not answer: %s", uri, error)
            return None
        return [each for each in taken if type(each) is int] if isinstance(taken, list) else None

    # Handing over.

    def leave(self, deadline: float) -> None:
        """Hand over to another process, if there is one."""
        try:
            self._lease.stop_asking(_left(deadline))
            if self._subscribed and self._lease.held:
                self._hand_over(deadline)
            else:
                self._delivery.pass_on = self._forwarder.add
                self._lease.release()
        except WAMPError as error:  # the session has ended: there is nothing to hand over
            logger.debug("cannot hand over %s: %s", self._delivery.uri, error)
        self._forwarder.stop_taking()
        Leases.of(self._peer).remove(self._lease)
        self._forwarder.finish(deadline)

    def _hand_over(self, deadline: float) -> None:
        connection = self._connection
        if connection is None:
            return
        registered = None
        if self._has_others(connection) and _left(deadline):
            self._forwarder.note()
            registered = self._offer(connection)
        if registered is not None:
            self._lease.release()
            self._wait_for_successor(connection, deadline)
        self._unsubscribe(connection)
        self._lease.release()
        if registered is not None:
            connection.put(Session.unregister, registered, None)
        if self._handed_over.is_set():
            self._withdraw(connection)

    def _has_others(self, connection: Connection) -> bool:
        """Whether other processes handle the events too. True if the router does not say."""
        number = self._delivery.id
        if number is None:
            return True
        answer = self._request(connection, Session.call, COUNT_CALLEES, [number], {}, {})
        return not (isinstance(answer, m.Result) and answer.readable_args == [1])

    def _offer(self, connection: Connection) -> int | None:
        """Register the procedure that a successor calls; return the registration id, or None if refused.

        If two processes leave, the successor calls the one that registered last (``invoke="last"``).
        """
        uri = self._delivery.handover_uri
        target = Registration(uri, self._on_handover)
        answer = self._request(connection, Session.register, uri, {"invoke": "last"}, target)
        return answer.registration_id if isinstance(answer, m.Registered) else None

    def _on_handover(self, work: ActiveMessage) -> Outcome:
        uri, signer = self._delivery.handover_uri, self._delivery.signer
        try:
            signer.read_recent(f"{uri}:ask", work.message.args)
        except InvalidPayload as error:
            return Failure(error_uris.NOT_AUTHORIZED, list(error.args))
        taken = self._forwarder.stop_taking()
        self._handed_over.set()
        return Success([work.plain(part) for part in signer.sign_now(f"{uri}:taken", taken)])

    def _wait_for_successor(self, connection: Connection, deadline: float) -> None:
        """Wait until a successor has called, or there is none: then this process gets the lease again."""
        patience = monotonic() + PATIENCE
        while _left(deadline) and not self._handed_over.wait(min(PAUSE, _left(deadline))):
            if _left(patience) and self._has_others(connection):
                continue
            if self._lease.retake():
                return

    def _unsubscribe(self, connection: Connection) -> None:
        self._subscribed = False
        self._forwarder.stop_taking()
        answer = withdraw(connection, self._delivery.subscription)
        if answer is not None:
            answer.wait(1.0)

    def _withdraw(self, connection: Connection) -> None:
        """Receive no more forwarded events, and forward the whole queue to other processes."""
        self._delivery.pass_on = self._forwarder.add
        answer = withdraw(connection, self._delivery)
        if answer is not None:
            answer.wait(1.0)
        self._forwarder.open_wide()

    def _request(self, connection: Connection, method: t.Any, *args: t.Any) -> t.Any:
        deadline = monotonic() + self._peer.settings.call_timeout
        return request(connection, method, *args, deadline=deadline)


def _left(deadline: float) -> float:
    return max(0.0, deadline - monotonic())
