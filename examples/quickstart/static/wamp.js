/**
 * A small WAMP client for the browser: the basic profile, over JSON and WebSocket.
 *
 * One file, nothing to install or to build; copy it into your own app:
 *
 *     const wamp = new Wamp("ws://127.0.0.1:8080/ws", "realm1", {
 *       onOpen: (session) => console.log("joined as", session),
 *       onClose: (reason) => console.log("not joined:", reason),
 *     });
 *     wamp.subscribe("com.example.hello", ([name], { greeting }) => console.log(greeting, name));
 *     wamp.connect();
 *     const sum = await wamp.call("com.example.add", [1, 2]);
 *
 * It reconnects until close() is called, and then subscribes and registers everything again.
 * The errors have the names they have in flask_wamp.
 */

/** The root of the errors below. */
export class WampError extends Error {
  get name() {
    return this.constructor.name;
  }
}

/** There is no session with the router, so nothing was sent. */
export class NotJoined extends WampError {}
/** The session ended before the answer came. What was asked for may have happened. */
export class SessionLost extends WampError {}
/** No answer came in time. What was asked for may have happened. */
export class CallTimeout extends WampError {}

/** The callee or the router answered ERROR: see `uri`, `args` and `kwargs`. */
export class ApplicationError extends WampError {
  constructor(uri, args = [], kwargs = {}) {
    super([uri, ...args].join(": "));
    Object.assign(this, { uri, args, kwargs });
  }
}

const HELLO = 1, WELCOME = 2, ABORT = 3, GOODBYE = 6, ERROR = 8;
const PUBLISH = 16, SUBSCRIBE = 32, UNSUBSCRIBE = 34, EVENT = 36;
const CALL = 48, RESULT = 50, REGISTER = 64, UNREGISTER = 66, INVOCATION = 68, YIELD = 70;

export class Wamp {
  /** The session id while joined, else null. */
  session = null;

  #url;
  #realm;
  #options;
  #socket = null;
  #closed = true;
  #attempts = 0; // to connect, since the last session
  #timer = null; // of the attempt under way, or of the next one
  #lastId = 0; // of a request
  #pending = new Map(); // request id -> function that ends the wait, with an answer or an Error
  #kept = new Set(); // subscriptions and registrations, which outlive a session

  /**
   * @param {string} url The router's WebSocket.
   * @param {string} realm
   * @param {object} [options] Times are milliseconds.
   * @param {function(number)} [options.onOpen] Told the session id, when all is subscribed again.
   * @param {function(string)} [options.onClose] Told why a session ended or could not begin.
   * @param {number} [options.timeout] How long to wait for an answer.
   * @param {number} [options.minDelay] The pause before reconnecting. It doubles up to maxDelay.
   */
  constructor(url, realm, options = {}) {
    this.#url = url;
    this.#realm = realm;
    this.#options = { timeout: 10_000, minDelay: 100, maxDelay: 1500, ...options };
  }

  /** Connect, and stay connected until close(). */
  connect() {
    if (this.#closed) this.#open();
  }

  /** Say goodbye and stay away. Waiting calls fail with SessionLost. */
  close() {
    this.#closed = true;
    if (this.session !== null) this.#send([GOODBYE, {}, "wamp.close.close_realm"]);
    this.#lost("closed");
  }

  /**
   * Call a procedure. Rejects with one of the errors above.
   * @returns {Promise} The value, or `{args, kwargs}` if the result is not one positional value.
   */
  async call(procedure, args = [], kwargs = {}, { timeout } = {}) {
    const message = [CALL, {}, procedure, args, kwargs];
    const [, values = [], named = {}] = await this.#request(message, timeout);
    const single = values.length < 2 && Object.keys(named).length === 0;
    return single ? values[0] : { args: values, kwargs: named };
  }

  /** Publish an event; with `{acknowledge: true}` wait, and get the publication id. */
  async publish(topic, args = [], kwargs = {}, options = {}) {
    const message = [PUBLISH, options, topic, args, kwargs];
    if (options.acknowledge) return (await this.#request(message))[0];
    this.#sendRequest(message);
  }

  /**
   * Subscribe `handler(args, kwargs, details)`, now or when joined, and after each reconnect.
   * @returns {Promise<function>} Settles with the router's answer; call the function to stop. What
   *   the router refused is asked for again in the next session.
   */
  subscribe(topic, handler, options = {}) {
    return this.#keep({ code: SUBSCRIBE, undo: UNSUBSCRIBE, uri: topic, handler, options });
  }

  /**
   * Register `handler(args, kwargs, details)`, in the same manner. What it returns, or resolves to,
   * is the result; an ApplicationError it throws is the error.
   */
  register(procedure, handler, options = {}) {
    return this.#keep({ code: REGISTER, undo: UNREGISTER, uri: procedure, handler, options });
  }

  // The connection and its session.

  #open() {
    const socket = new WebSocket(this.#url, ["wamp.2.json"]);
    const unlessOld = (f) => (event) => socket === this.#socket && f(event);
    const roles = { caller: {}, callee: {}, publisher: {}, subscriber: {} };
    socket.onopen = unlessOld(() => this.#send([HELLO, this.#realm, { roles }]));
    socket.onmessage = unlessOld(({ data }) => this.#receive(data));
    socket.onclose = unlessOld(({ code, reason }) => this.#lost(reason || `code ${code}`));
    this.#socket = socket;
    this.#closed = false;
    this.#timer = setTimeout(() => this.#lost("no answer"), this.#options.timeout);
  }

  async #joined(session) {
    clearTimeout(this.#timer);
    this.#attempts = this.#lastId = 0;
    this.session = session;
    await Promise.all([...this.#kept].map((entry) => this.#announce(entry)));
    if (this.session === session) this.#options.onOpen?.(session);
  }

  #lost(reason) {
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#socket = this.session = null;
    for (const end of [...this.#pending.values()]) end(new SessionLost(reason));
    if (!this.#closed) {
      const { minDelay, maxDelay } = this.#options;
      const delay = Math.min(maxDelay, minDelay * 2 ** this.#attempts++);
      // Jittered, so that a restarted router does not meet all pages at the same moment.
      this.#timer = setTimeout(() => this.#open(), delay * (0.5 + Math.random() / 2));
    }
    this.#options.onClose?.(reason);
  }

  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #receive(data) {
    const [code, ...parts] = JSON.parse(data);
    if (code === WELCOME) this.#joined(parts[0]);
    else if (code === ABORT) this.#lost(parts[1]);
    else if (code === GOODBYE) {
      this.#send([GOODBYE, {}, "wamp.close.goodbye_and_out"]);
      this.#lost(parts[1]);
    } else if (code === EVENT) this.#event(...parts);
    else if (code === INVOCATION) this.#invocation(...parts);
    else if (code === ERROR) this.#pending.get(parts[1])?.(new ApplicationError(...parts.slice(3)));
    else if (code === RESULT && parts[1].progress) return; // not the end yet
    else this.#pending.get(parts[0])?.(parts.slice(1)); // SUBSCRIBED, REGISTERED, RESULT and so on
  }

  /** Send [code, ...rest] with a request id in between, and return that. */
  #sendRequest([code, ...rest]) {
    if (this.session === null) throw new NotJoined("not connected to the router");
    // The ids of a session have no gaps, so one counts when its message has been sent.
    this.#send([code, this.#lastId + 1, ...rest]);
    return ++this.#lastId;
  }

  async #request(message, timeout = this.#options.timeout) {
    const id = this.#sendRequest(message);
    return new Promise((resolve, reject) => {
      const end = (answer) => {
        clearTimeout(timer);
        this.#pending.delete(id);
        answer instanceof Error ? reject(answer) : resolve(answer);
      };
      const timer = setTimeout(() => end(new CallTimeout(`no answer in ${timeout} ms`)), timeout);
      this.#pending.set(id, end);
    });
  }

  // Subscriptions and registrations.

  #keep(entry) {
    this.#kept.add(entry);
    return new Promise((resolve, reject) => {
      Object.assign(entry, { resolve, reject });
      if (this.session !== null) this.#announce(entry);
    });
  }

  async #announce(entry) {
    try {
      entry.id = null;
      [entry.id] = await this.#request([entry.code, entry.options, entry.uri]);
      entry.resolve(() => this.#withdraw(entry));
    } catch (error) {
      if (error instanceof SessionLost) return; // the next session tries again
      console.warn(`WAMP: ${entry.uri} was refused:`, error);
      entry.reject(error);
    }
  }

  async #withdraw(entry) {
    this.#kept.delete(entry);
    // Two subscriptions to one topic have one id; the router forgets it with the last of them.
    const shared = [...this.#kept].some(({ code, id }) => code === entry.code && id === entry.id);
    if (this.session !== null && !shared) await this.#request([entry.undo, entry.id]);
  }

  #event(subscription, publication, details, args = [], kwargs = {}) {
    for (const { code, id, uri, handler } of [...this.#kept]) {
      if (code !== SUBSCRIBE || id !== subscription) continue;
      try {
        handler(args, kwargs, { topic: uri, publication, ...details });
      } catch (error) {
        console.error(`WAMP: the handler of ${uri} failed:`, error);
      }
    }
  }

  async #invocation(request, registration, details, args = [], kwargs = {}) {
    const { session } = this;
    const reply = (message) => session === this.session && this.#send(message);
    try {
      const isMeant = ({ code, id }) => code === REGISTER && id === registration;
      const entry = [...this.#kept].find(isMeant);
      reply([YIELD, request, {}, [await entry.handler(args, kwargs, details)]]);
    } catch (error) {
      const { uri = "wamp.error.runtime_error", args: values = [], kwargs: named = {} } = error;
      if (!error.uri) console.error("WAMP: a procedure failed:", error);
      reply([ERROR, INVOCATION, request, {}, uri, values, named]);
    }
  }
}
