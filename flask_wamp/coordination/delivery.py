"""``delivery="one"``: exactly one process of an app handles each event.

Every process registers the same procedure with ``invoke="roundrobin"``. One process holds a lease. It
subscribes to the topic and forwards each event to that procedure, so the router distributes the events. At
most :data:`.WINDOW` forwarded events may be unanswered. Others wait in a queue that holds
``WAMP_EVENT_QUEUE`` events. If the queue is full, further events are dropped, as for any subscription.

**No event is handled twice.** If a forwarded event is not answered, it is not forwarded again. It is
forwarded again only if the answer says that no process has begun to handle it.

**No event is lost when a process starts, or stops cleanly.** A process that leaves does not accept more
events, and returns those that it has not begun to handle. If it is the process that forwards, it hands over:

1.  It registers a procedure for its successor, releases the lease, and stays subscribed.
2.  The successor subscribes, holds the events that arrive, and calls that procedure.
3.  The old process stops accepting events. It answers which events it has accepted since it released the
    lease.
4.  The successor skips these events. The old process forwards the rest of its queue before it ends. If
    all other processes have left by then, it handles the rest itself.

**Events are lost if a process is killed** or loses its session. If it is the process that forwards, these
events are lost: those in its queue, those on their way to it, and those that are published before another
process has the lease. That takes about 10 ms if the app may use the ``wamp.`` meta API, and otherwise up to
2 s. Events that it has forwarded are handled. If it does not forward, the events that it was handling or that
waited in it are lost, which are at most :data:`.WINDOW`. The log says how many.

Events are not handled in order, because they go to different processes. The processes sign their messages to
each other, see :mod:`.signing`, so that other sessions cannot forge events.
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
from ..peer.serving import serial_queue
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

#: Seconds that a leaving process waits for a successor before it concludes that there is none. This is longer
#: than the pause between two attempts of a process to get the lease.
PATIENCE = PAUSE_MAX * 1.25

#: Seconds between two checks for other processes while it waits.
PAUSE = 0.2


class Delivery(Registration):
    """The registration of the shared procedure of a subscription with ``delivery="one"``.

    :param own: The prefix of the URIs that the app uses itself, see :func:`.uris.own_prefix`.
    :param signer: Signs the messages between the processes of the app.
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
        """Passes an event on to another process. Set while this process leaves and others stay."""
        self.make_listener: MakeListener = functools.partial(SharedDelivery, self)

    def release(self) -> None:
        """Release everything that refers to a peer."""
        super().release()
        self.pass_on = self.subscription.take = None
        self.subscription.release()

    def _deliver(self, work: ActiveMessage) -> Outcome:
        """Handle a forwarded event. This is the handler of the shared procedure."""
        if self.pass_on is not None and not work.canceled:
            return Failure(error_uris.UNAVAILABLE, ["this process is leaving"])
        try:
            event = read_event(self.signer, self.uri, work.message.args)
        except InvalidPayload as error:
            return Failure(error_uris.NOT_AUTHORIZED, list(error.args))
        # The call is canceled, so its caller cannot forward the event again.
        if self.pass_on is not None:
            self.pass_on(event)
            return Success()
        self.handle(t.cast(ActiveInvocation, work).connection, event)
        return Success()

    def handle(self, connection: Connection, event: m.Event) -> None:
        """Run the handlers of an event. A worker calls this."""
        for member in self.subscription.receivers(event):
            ActiveEvent(connection, member, event)()


class SharedDelivery:
    """Acquires the lease in one process. While it holds the lease, it subscribes and forwards events.

    ``joined`` and ``lost`` run on the reader or the timer, ``_take_over`` runs on a worker, and ``leave``
    runs on the thread that stops the client.
    """

    def __init__(self, delivery: Delivery, peer: PeerInterface) -> None:
        delivery.pass_on = None
        delivery.subscription.take = None  # a peer that was stopped may have set it
        self._delivery = delivery
        self._peer = peer
        self._forwarder = Forwarder(
            peer, delivery.uri, delivery.subscription, delivery.signer, self._handle_here
        )
        self._connection: Connection | None = None
        self._subscribed = False
        self._handed_over = threading.Event()
        self._lease = Leases.of(peer).add(
            delivery.lease_uri, on_acquired=self._take_over, signer=delivery.signer
        )

    def joined(self, connection: Connection) -> None:
        """Forward the events that are left in the queue. Called when a session is established."""
        self._connection = connection
        self._forwarder.joined(connection)

    def lost(self) -> None:
        """Stop forwarding, because the session has ended."""
        self._connection = None
        self._subscribed = False
        self._forwarder.lost()

    # Taking over, when this process has got the lease.

    def _take_over(self) -> None:
        connection = self._connection
        if connection is None:
            return
        self._forwarder.hold_events()
        try:
            self._subscribe(connection)
            taken = self._ask_predecessor(connection)
        except WAMPError as error:
            if self._connection is connection:
                # Otherwise the session has ended, and lost() has discarded them.
                self._forwarder.discard_held()
                self._fail(error)
        else:
            self._delivery.refused = None
            self._lease.confirm()
            self._forwarder.forward_held(taken)

    def _fail(self, error: WAMPError) -> None:
        """Release the lease, because another process may be permitted to subscribe."""
        self._subscribed = False
        first = self._delivery.refused is None
        self._delivery.refused = error
        log = logger.error if first else logger.debug
        log("cannot deliver events of %s: %s", self._delivery.subscription.uri, error)
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
        """Return the ids of the publications that the predecessor has accepted since it released the lease.

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
            logger.warning("the process that forwarded before did not answer %s: %s", uri, error)
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
        except WAMPError as error:  # the session has ended, so there is nothing to hand over
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
            self._forwarder.record_taken()
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
        """Return whether other processes handle the events too. True if the router does not say."""
        number = self._delivery.id
        if number is None:
            return True
        answer = self._request(connection, Session.call, COUNT_CALLEES, [number], {}, {})
        return not (isinstance(answer, m.Result) and answer.readable_args == [1])

    def _offer(self, connection: Connection) -> int | None:
        """Register the procedure that a successor calls. Return the registration id, or None if refused.

        If two processes leave, the successor calls the one that has registered last (``invoke="last"``).
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
        """Wait until a successor has called. If there is none, this process acquires the lease again."""
        patience = monotonic() + PATIENCE
        while _left(deadline) and not self._handed_over.wait(min(PAUSE, _left(deadline))):
            if _left(patience) and self._has_others(connection):
                continue
            if self._lease.reacquire():
                return

    def _unsubscribe(self, connection: Connection) -> None:
        self._subscribed = False
        self._forwarder.stop_taking()
        answer = withdraw(connection, self._delivery.subscription)
        if answer is not None:
            answer.wait(1.0)

    def _withdraw(self, connection: Connection) -> None:
        """Unregister the shared procedure, and forward the whole queue to other processes."""
        self._delivery.pass_on = self._forwarder.add
        answer = withdraw(connection, self._delivery)
        if answer is not None:
            answer.wait(1.0)
        self._forwarder.lift_window()

    def _handle_here(self, event: m.Event) -> bool:
        """Handle an event in this process, because no other one is left. The reader calls this."""
        connection = self._connection
        if connection is None:
            return False
        job = functools.partial(self._delivery.handle, connection, event)
        peer = self._peer
        if self._delivery.concurrency is None:
            return peer.pool.submit(job, force=True)
        return serial_queue(self._delivery, peer.pool, peer.settings).submit(job)

    def _request(self, connection: Connection, method: t.Any, *args: t.Any) -> t.Any:
        deadline = monotonic() + self._peer.settings.call_timeout
        return request(connection, method, *args, deadline=deadline)


def _left(deadline: float) -> float:
    return max(0.0, deadline - monotonic())
