/**
 * A WAMP client for browsers and Node, without dependencies or a build step. Types: client.d.ts.
 *
 *     import { connect } from "/wamp/client.js";
 *     const wamp = await connect("/wamp");
 *     const sum = await wamp.call("com.shop.add", [1, 2]);
 *     await wamp.subscribe("com.shop.news", (args, kwargs) => show(...args));
 *
 * The app serves client.min.js. After a change, run python -m tests.clientjs.minify.
 */
const isText = (value) => typeof value === "string";
export class WampError extends Error {
  get name() {
    return this.constructor.name;
  }
}
export class NotJoined extends WampError {}
export class SessionLost extends WampError {}
export class CallTimeout extends WampError {}
export class ApplicationError extends WampError {
  // `asked` names the procedure or the topic of the request.
  constructor(uri, args = [], kwargs = {}, asked = "") {
    const errors = [kwargs?.errors]
      .flat()
      .flatMap((it) => (isText(it?.msg) ? [it.loc, it.msg].flat().join(": ") : []));
    const text = args.find(isText) ?? errors.join("; ");
    super(asked + uri + (text && ` (${text})`));
    Object.assign(this, { uri, args, kwargs });
  }
}
export class CallResult {
  constructor(args = [], kwargs = {}) {
    Object.assign(this, { args, kwargs });
  }
}

const HELLO = 1, WELCOME = 2, ABORT = 3, CHALLENGE = 4, AUTHENTICATE = 5, GOODBYE = 6, ERROR = 8,
  PUBLISH = 16, SUBSCRIBE = 32, EVENT = 36, CALL = 48, CANCEL = 49,
  RESULT = 50, REGISTER = 64, INVOCATION = 68, INTERRUPT = 69, YIELD = 70;
const UNDO = 2; // UNSUBSCRIBE is SUBSCRIBE + UNDO, and UNREGISTER is REGISTER + UNDO
const role = {
  features: {
    call_canceling: true,
    progressive_call_results: true,
    caller_identification: true,
    publisher_identification: true,
  },
};
const ROLES = { caller: role, callee: role, publisher: role, subscriber: role };
// The options that a page may pass, by message. Those of HELLO are the options of connect.
const OPTIONS = {
  [HELLO]: "onState signal timeout minDelay maxDelay heartbeat headers realm authid ticket",
  [CALL]: "timeout signal disclose_me onProgress",
  [PUBLISH]:
    "acknowledge exclude_me exclude exclude_authid exclude_authrole eligible eligible_authid eligible_authrole disclose_me retain",
  [SUBSCRIBE]: "match get_retained",
  [REGISTER]: "match invoke concurrency force_reregister",
};

// In JSON, WAMP encodes bytes as a string: NUL, then Base64. Routers refuse text with lone surrogates.
const encode = (message) =>
  JSON.stringify(message, (_, value) =>
    value instanceof Uint8Array
      ? "\0" + btoa(value.reduce((text, byte) => text + String.fromCharCode(byte), ""))
      : value?.toWellFormed?.() ?? value,
  );
const decode = (data) =>
  JSON.parse(data, (_, value) =>
    isText(value) && value[0] === "\0"
      ? Uint8Array.from(atob(value.slice(1)), (char) => char.charCodeAt(0))
      : value,
  );
const toResult = (args = [], kwargs = {}) =>
  args.length < 2 && !Object.keys(kwargs).length ? args[0] : new CallResult(args, kwargs);

// What an argument or option must be: a pattern of names, the kind in words, and a test of a value.
const KINDS = [
  [/URI/, "a string", isText],
  [/^args$/, "a list", Array.isArray],
  [/kwargs|options/, "an object", (it) => Object(it) === it && !Array.isArray(it)],
  [/^on|handler/, "a function", (it) => typeof it === "function"],
  [/timeout|Delay|heartbeat/, "a number", (it) => it === +it], // NaN is none
];
function checkKinds(uri, values) {
  for (const [pattern, kind, isRight] of KINDS)
    for (const name in values)
      if (pattern.test(name) && values[name] !== undefined && !isRight(values[name]))
        throw new TypeError(`${uri}: ${name} must be ${kind}`);
}

// A router ends the session if arguments have a wrong type. It ignores an option whose name is misspelt.
function check(code, options, uri, rest) {
  checkKinds(uri, { URI: uri ?? null, options, ...rest });
  if (uri[0] === "." && options.match !== "wildcard")
    throw new TypeError(`'${uri}': a page has no prefix; use the whole URI, such as com.example${uri}`);
  const names = OPTIONS[code];
  for (const name in options)
    if (!names.split(" ").includes(name)) throw new TypeError(`no option '${name}', only ${names}`);
  checkKinds(uri, options);
}

// Say why an answer is not that of the endpoint. In a global before_request, an app may ask for a login.
function faultOf({ ok, status, type, redirected, url, headers }, text, how, { origin }, path) {
  if (type === "opaqueredirect") return "was redirected to another site";
  if (redirected) return `was redirected to ${url.split("?")[0].replace(origin, "")}`;
  if (ok) return isText(how?.url) ? "" : "did not answer with JSON that has a url";
  const isPlain = /^text\/plain/.test(headers.get("Content-Type")) && /^.{1,200}$/.test(text);
  const hint = /40[45]/.test(status) ? `is ${path || "/"} the app's WAMP_ENDPOINT?` : "";
  const why = isPlain ? text : hint;
  return `answered ${status}` + (why && `: ${why}`);
}

export function connect(where, options = {}) {
  return new Promise((resolve, reject) => {
    const wamp = new Wamp(where, options);
    const { signal } = options;
    const stop = wamp.onState((state, reason) => {
      if (state === "joining" || (state === "lost" && !wamp.refused)) return;
      stop();
      if (state === "joined") return resolve(wamp);
      wamp.close();
      reject(signal?.aborted ? signal.reason : wamp.refused ?? new NotJoined(reason));
    });
    signal?.aborted ? wamp.close() : wamp.open();
  });
}

export class Wamp {
  state = "joining";
  session = null;
  #listeners = new Set();
  #attempt = null; // the current attempt to join, or the session that it led to
  #failures = 0;
  #pending = new Map(); // request id -> { uri, end, progress }
  #kept = new Set(); // subscriptions and registrations, which are restored in the next session
  #running = new Map(); // invocation id -> AbortController
  #where;
  #options;
  #socket;
  #cancels;
  #lastId;
  #heard;
  #timer;
  #beat;

  constructor(where = "/wamp", options = {}) {
    check(HELLO, options, "connect");
    this.#where = where;
    const { timeout = 1e4, minDelay = 100, maxDelay = 3e3, heartbeat = 3e4, onState } = options;
    this.#options = { ...options, timeout, minDelay, maxDelay, heartbeat };
    if (onState) this.onState(onState);
  }

  onState(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  open() {
    if (this.#attempt) return;
    void WebSocket; // throws where there is none, as in Node.js 20
    this.#listen("add");
    this.#join();
  }

  close() {
    this.#listen("remove");
    this.#goodbye();
    this.#attempt = null;
    this.#end("closed");
  }

  async call(procedure, args = [], kwargs = {}, options = {}) {
    check(CALL, options, procedure, { args, kwargs });
    const { timeout, signal, onProgress, ...wire } = options;
    if (onProgress) wire.receive_progress = true;
    const message = [CALL, wire, procedure, args, kwargs];
    const [, ...result] = await this.#request(message, timeout, signal, onProgress);
    return toResult(...result);
  }

  async *stream(procedure, args, kwargs, { signal, timeout = Infinity, ...options } = {}) {
    const left = new AbortController();
    const items = [];
    let wake, done;
    const put = (item) => (items.push(item), wake?.());
    const end = () => ((done = true), wake?.());
    const abort = () => left.abort(signal.reason);
    signal?.aborted ? abort() : signal?.addEventListener("abort", abort, { signal: left.signal });
    const call = this.call(procedure, args, kwargs, {
      ...options,
      signal: left.signal,
      timeout,
      onProgress: (...result) => put(toResult(...result)),
    });
    call.then((last) => last == null || put(last)).then(end, end);
    try {
      for (;;) {
        while (items.length) yield items.shift();
        if (done) return void (await call);
        await new Promise((resolve) => (wake = resolve));
      }
    } finally {
      left.abort();
    }
  }

  async publish(topic, args = [], kwargs = {}, options = {}) {
    check(PUBLISH, options, topic, { args, kwargs });
    const message = [PUBLISH, options, topic, args, kwargs];
    return options.acknowledge ? (await this.#request(message))[0] : void this.#ask(message);
  }

  subscribe(topic, handler, options) {
    return this.#keep(SUBSCRIBE, topic, handler, options);
  }

  register(procedure, handler, options) {
    return this.#keep(REGISTER, procedure, handler, options);
  }

  async #join() {
    const attempt = (this.#attempt = {});
    const ifLive = (f) => (event) => attempt === this.#attempt && f(event);
    this.#change("joining");
    this.#timer = setTimeout(() => this.#lost("no answer"), this.#options.timeout);
    try {
      const how = await this.#ticket();
      if (attempt !== this.#attempt) return;
      const socket = (this.#socket = new WebSocket(how.url, ["wamp.2.json"]));
      socket.onopen = ifLive(() => this.#hello(how));
      socket.onmessage = ifLive(({ data }) => this.#receive(decode(data), how));
      socket.onclose = ifLive(({ code, reason }) => this.#lost(reason || `code ${code}`));
      socket.onerror = () => {}; // onclose follows
    } catch (error) {
      ifLive(() => this.#lost(error.message, error.uri && error))();
    }
  }

  // A ticket is valid once, so each attempt asks the app again where and how to join.
  async #ticket() {
    const { realm = "realm1", authid, ticket, headers } = this.#options;
    const base = new URL(this.#where, globalThis.location?.href);
    if (base.protocol.startsWith("ws")) return { url: base, realm, authid, ticket };
    const path = base.pathname.replace(/\/$/, "");
    base.pathname = `${path}/session`;
    const ask = (redirect) =>
      fetch(base, {
        method: "POST",
        redirect,
        headers: { "Content-Type": "application/json", ...headers },
        body: "{}",
      });
    // A browser does not follow a redirect to another site. It does not say either that there was one.
    const answer = await ask().catch(() => ask("manual"));
    const text = (await answer.text()).trim();
    const how = await new Response(text).json().catch(() => {});
    const fault = faultOf(answer, text, how, base, path);
    if (fault) {
      const message = `POST ${base.pathname} ${fault}`;
      if (answer.status >= 500) throw new Error(message);
      throw Object.assign(new ApplicationError("wamp.error.not_authorized", [message]), { message });
    }
    const url = new URL(how.url, base);
    url.protocol = url.protocol.replace("http", "ws");
    // A router that does not accept the app's tickets may accept anonymous.
    return { ...how, url, methods: ["ticket", "anonymous"] };
  }

  #hello({ realm, authid, ticket, methods = ["ticket"] }) {
    this.#send([
      HELLO,
      realm,
      { roles: ROLES, authid: authid ?? undefined, authmethods: ticket ? methods : undefined },
    ]);
  }

  async #joined(session, { authid, authrole, roles }, { realm }) {
    clearTimeout(this.#timer);
    Object.assign(this, { session, authid, authrole, realm, refused: null });
    this.#lastId = this.#failures = 0;
    this.#cancels = roles?.dealer?.features?.call_canceling;
    const { heartbeat } = this.#options;
    if (heartbeat) this.#beat = setInterval(() => this.#probe(heartbeat), heartbeat);
    await Promise.all([...this.#kept].map((entry) => this.#announce(entry)));
    if (this.session === session) this.#change("joined");
  }

  #lost(reason, refused, isLeft) {
    const attempt = (this.#attempt = {});
    this.refused = refused;
    this.#end("lost", reason);
    if (isLeft || attempt !== this.#attempt) return; // or else a listener has closed the client
    const { minDelay, maxDelay } = this.#options;
    const delay = Math.min(maxDelay, minDelay * 2 ** this.#failures++);
    // Random, so that not all pages reconnect at the same moment after a restart of the router.
    this.#timer = setTimeout(() => this.#join(), (delay * (1 + Math.random())) / 2);
  }

  #end(state, reason = state) {
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
    this.session = null;
    this.#socket?.close();
    for (const { uri, end } of this.#pending.values())
      end(new SessionLost(`${uri}: session lost (${reason})`));
    for (const call of this.#running.values()) call.abort();
    this.#change(state, reason);
  }

  #change(state, reason) {
    this.state = state;
    for (const listener of [...this.#listeners]) listener(state, reason);
  }

  // A connection can break without a notice, so send a harmless request after a silence.
  #probe(quiet) {
    if (!this.session || Date.now() - this.#heard < quiet) return;
    this.#request([SUBSCRIBE + UNDO, 2 ** 53]).catch((error) => {
      if (error instanceof CallTimeout) this.#lost(error.message);
    });
  }

  #goodbye() {
    if (this.session) this.#send([GOODBYE, {}, "wamp.close.close_realm"]);
  }

  // A closed client listens to nothing, so that it can be collected.
  #listen(verb) {
    const name = `${verb}EventListener`;
    for (const type of ["online", "pageshow", "pagehide"]) globalThis[name]?.(type, this.#wake);
    this.#options.signal?.[name]("abort", this.#wake);
  }

  // A browser may keep a page with its connection after the user has left it, for the "back" button.
  #wake = ({ type }) => {
    if (type === "abort") return this.close();
    if (type === "pagehide") {
      this.#goodbye();
      return this.#lost("the page was left", null, true);
    }
    if (this.state !== "lost") return this.#probe(0);
    clearTimeout(this.#timer);
    this.#join();
  };

  #send(message) {
    this.#socket.send(encode(message));
  }

  #receive([code, ...parts], how) {
    const [first, second, , uri, args, kwargs] = parts;
    const asked = this.#pending.get(code === ERROR ? second : first);
    this.#heard = Date.now();
    if (code === WELCOME) this.#joined(first, second, how);
    else if (code === CHALLENGE) this.#send([AUTHENTICATE, how.ticket ?? "", {}]);
    else if (code === ABORT) {
      const refused = new ApplicationError(second, [first.message]);
      this.#lost(refused.message, refused);
    } else if (code === GOODBYE) {
      this.#send([GOODBYE, {}, "wamp.close.goodbye_and_out"]);
      this.#lost(second);
    } else if (code === EVENT) this.#event(...parts);
    else if (code === INVOCATION) this.#invocation(...parts);
    else if (code === INTERRUPT) this.#running.get(first)?.abort();
    else if (code === ERROR) asked?.end(new ApplicationError(uri, args, kwargs, `${asked.uri}: `));
    else if (code === RESULT && second.progress) asked?.progress?.(...parts.slice(2));
    else asked?.end(parts.slice(1)); // RESULT, SUBSCRIBED, REGISTERED ...
  }

  // Request ids have no gaps, so an id is used only when its message has been sent.
  #ask([code, ...rest]) {
    if (!this.session) throw new NotJoined(`${rest[1]}: not joined (${this.state})`);
    this.#send([code, this.#lastId + 1, ...rest]);
    return ++this.#lastId;
  }

  async #request(message, timeout = this.#options.timeout, signal, progress) {
    signal?.throwIfAborted();
    const id = this.#ask(message);
    const [code, , uri = "router"] = message;
    return new Promise((resolve, reject) => {
      const end = (answer, settle = answer instanceof Error ? reject : resolve) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        this.#pending.delete(id);
        settle(answer);
      };
      const giveUp = (reason) => {
        end(reason, reject);
        if (code === CALL && this.#cancels) this.#send([CANCEL, id, { mode: "killnowait" }]);
      };
      const abort = () => giveUp(signal.reason);
      const timer =
        timeout < 2 ** 31 &&
        setTimeout(() => giveUp(new CallTimeout(`${uri}: no answer in ${timeout} ms`)), timeout);
      signal?.addEventListener("abort", abort);
      this.#pending.set(id, { uri, end, progress });
    });
  }

  #keep(code, uri, handler, options = {}) {
    return new Promise((resolve, reject) => {
      check(code, options, uri, { handler: handler ?? null });
      const kept = { code, uri, handler, options, resolve, reject };
      this.#kept.add(kept);
      if (this.session) this.#announce(kept);
    });
  }

  async #announce(kept) {
    try {
      kept.id = null;
      [kept.id] = await this.#request([kept.code, kept.options, kept.uri]);
      kept.resolve(() => this.#withdraw(kept));
      kept.reject = null;
    } catch (error) {
      if (error instanceof SessionLost) return; // the next session sends the request again
      console.warn("WAMP:", error);
      // The caller has no function to withdraw it, so it must not be requested again.
      if (kept.reject && this.#kept.delete(kept)) kept.reject(error);
    }
  }

  async #withdraw(kept) {
    this.#kept.delete(kept);
    // Two subscriptions to one topic have the same id. Unsubscribe only with the last of them.
    const shared = [...this.#kept].some(({ code, id }) => code === kept.code && id === kept.id);
    if (this.session && kept.id && !shared) await this.#request([kept.code + UNDO, kept.id]);
  }

  #event(subscription, publication, details, args = [], kwargs = {}) {
    for (const { code, id, uri, handler } of this.#kept) {
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
    const running = new AbortController();
    const { signal } = running;
    this.#running.set(request, running);
    const progress = (values = [], named = {}) =>
      details.receive_progress && reply([YIELD, request, { progress: true }, values, named]);
    try {
      const { handler, uri } = [...this.#kept].find((entry) => entry.id === registration && entry.code === REGISTER);
      const value = await handler(args, kwargs, { procedure: uri, ...details, progress, signal });
      const result = value instanceof CallResult ? value : new CallResult([value]);
      reply([YIELD, request, {}, result.args, result.kwargs]);
    } catch (error) {
      const other = `wamp.error.${signal.aborted ? "canceled" : "runtime_error"}`;
      const { uri = other, args: values = [], kwargs: named = {} } = error?.uri ? error : {};
      if (uri === other && !signal.aborted) console.error("WAMP: a procedure failed:", error);
      reply([ERROR, INVOCATION, request, {}, uri, values, named]);
    }
    this.#running.delete(request);
  }
}
