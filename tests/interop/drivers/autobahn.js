// autobahn-js as the other side of a test. `node autobahn.js URL REALM SERIALIZER`, see lines.js.
"use strict";

const autobahn = require("autobahn");
const { behaviours, facts, Refusal, say, serve } = require("./lines.js");

const [url, realm, serializer] = process.argv.slice(2);

const INVOCATION = ["procedure", "caller", "caller_authid", "caller_authrole"];
const EVENT = ["topic", "publication", "publisher", "publisher_authid", "publisher_authrole", "retained"];

function transport() {
  if (url.startsWith("ws:")) {
    const classes = { json: "JSONSerializer", msgpack: "MsgpackSerializer", cbor: "CBORSerializer" };
    return { type: "websocket", url, serializers: [new autobahn.serializer[classes[serializer]]()] };
  }
  if (serializer !== "json") throw new Error("autobahn-js has no RawSocket but with JSON");
  const { hostname, port } = new URL(url.replace(/^tcp:/, "http:"));
  return { type: "rawsocket", host: hostname, port: Number(port) };
}

const AUTHENTICATION = {
  ticket: ({ ticket }) => ({ onchallenge: () => ticket }),
  wampcra: ({ secret }) => ({
    onchallenge: (session, method, { challenge, salt, iterations, keylen }) => {
      const { sign, derive_key: derive } = autobahn.auth_cra;
      return sign(salt ? derive(secret, salt, iterations, keylen) : secret, challenge);
    },
  }),
  cryptosign: ({ key }) => {
    const pair = autobahn.nacl.sign.keyPair.fromSeed(Buffer.from(key, "hex"));
    return {
      onchallenge: (session, method, extra) => autobahn.auth_cryptosign.sign_challenge(pair, extra),
      authextra: { pubkey: autobahn.auth_cryptosign.public_key(pair) },
    };
  },
};

function options(auth) {
  const common = { transports: [transport()], realm, max_retries: 0, on_user_error: () => {} };
  if (!auth) return common;
  if (!AUTHENTICATION[auth.method]) throw new Error(`autobahn-js has no ${auth.method}`);
  const identity = { authmethods: [auth.method], authid: auth.authid };
  return { ...common, ...identity, ...AUTHENTICATION[auth.method](auth) };
}

/** Join; resolves to [connection, session, details]. */
function join(auth, onclose = () => {}) {
  return new Promise((resolve, reject) => {
    const connection = new autobahn.Connection(options(auth));
    connection.onopen = (session, details) => resolve([connection, session, details]);
    connection.onclose = (reason, details) => {
      onclose();
      reject(new Refusal(details?.reason ?? reason, [details?.message ?? ""]));
      return true;
    };
    connection.open();
  });
}

/** The promises of autobahn-js, as those of everybody. */
async function outcome(promise) {
  try {
    return await promise;
  } catch (error) {
    if (!(error instanceof autobahn.Error)) throw error;
    if (error.error === "Cancelled") throw Object.assign(new Error(), { answer: { canceled: true } });
    throw new Refusal(error.error, error.args, error.kwargs);
  }
}

const payload = (value) =>
  value instanceof autobahn.Result ? [value.args, value.kwargs] : [value === null ? [] : [value], {}];

class Commands {
  constructor(connection, session) {
    this.connection = connection;
    this.session = session;
    this.calls = new Map();
    this.declared = new Map();
    this.held = new Map();
  }

  async call({ uri, args, kwargs, progress, options }, id) {
    const wanted = { ...options, ...(progress ? { receive_progress: true } : {}) };
    const promise = this.session.call(uri, args, kwargs, wanted);
    this.calls.set(id, promise);
    const followed = promise.then(undefined, undefined, (value) => {
      say({ note: id, kind: "progress", args: payload(value)[0], kwargs: payload(value)[1] });
    });
    const [given, named] = payload(await outcome(followed));
    return { args: given, kwargs: named, details: {} };
  }

  cancel({ call, mode }) {
    this.calls.get(call).cancel({ mode });
  }

  async publish({ uri, args, kwargs, options }) {
    return (await outcome(this.session.publish(uri, args, kwargs, options)))?.id;
  }

  async subscribe({ uri, options }, id) {
    const onEvent = (args, kwargs, details) =>
      say({ note: id, kind: "event", args, kwargs, details: facts(details, EVENT) });
    this.declared.set(id, await outcome(this.session.subscribe(uri, onEvent, options ?? {})));
  }

  async register({ uri, options, behaviour }, id) {
    const held = [];
    this.held.set(id, held);
    const call = async (...given) => payload(await outcome(this.session.call(...given)));
    const answer = behaviours(call, held)[behaviour.kind](behaviour);
    const onInvocation = async (args, kwargs, details) => {
      say({ note: id, kind: "invocation", args, kwargs, details: facts(details, INVOCATION) });
      try {
        return new autobahn.Result(...(await answer(args, kwargs, details.progress)));
      } catch (error) {
        const { uri, args, kwargs } = error.answer.error;
        throw new autobahn.Error(uri, args, kwargs);
      }
    };
    this.declared.set(id, await outcome(this.session.register(uri, onInvocation, options)));
  }

  async withdraw({ declared }) {
    const thing = this.declared.get(declared);
    this.declared.delete(declared);
    await outcome(thing.unregister ? thing.unregister() : thing.unsubscribe());
  }

  release({ declared }) {
    (this.held.get(declared) ?? []).splice(0).forEach((end) => end());
  }

  async reset() {
    for (const declared of this.held.keys()) this.release({ declared });
    const all = [...this.declared.keys()].map((declared) => this.withdraw({ declared }));
    await Promise.allSettled(all);
  }

  async visit({ auth, uri }) {
    const [connection, session] = await join(auth);
    const [args, kwargs] = payload(await outcome(session.call(uri)));
    connection.close();
    return { args, kwargs, details: {} };
  }

  leave() {
    return new Promise((resolve) => {
      this.connection.onclose = (reason, details) => {
        resolve(details.reason);
        say({ lost: true });
      };
      this.connection.close();
    });
  }
}

join(null, () => say({ lost: true })).then(
  ([connection, session, details]) => {
    say({ joined: { ...details, session: session.id, realm } });
    serve(new Commands(connection, session));
  },
  (error) => {
    say({ failed: String(error) });
    process.exit(1);
  },
);
