// wampy.js as the other side of a test. `node wampy.js URL REALM SERIALIZER`, see lines.js.
"use strict";

const { pathToFileURL } = require("node:url");
const WebSocket = require("ws");
const { Wampy } = require("wampy");
const { behaviours, facts, Refusal, say, serve } = require("./lines.js");

const [url, realm, serializer] = process.argv.slice(2);

const INVOCATION = ["procedure", "caller", "caller_authid", "caller_authrole"];
const EVENT = ["topic", "publication", "publisher", "publisher_authid", "publisher_authrole", "retained"];

const SERIALIZERS = {
  json: () => new (require("wampy/JsonSerializer.js").JsonSerializer)(),
  msgpack: () => new (require("wampy/MsgpackSerializer.js").MsgpackSerializer)(),
  cbor: () => new (require("wampy/CborSerializer.js").CborSerializer)(),
};

/** A plugin; those of wampy are modules that only `import` takes. */
async function plugin(name) {
  return import(pathToFileURL(require.resolve(`wampy/${name}.js`)));
}

const AUTHENTICATION = {
  ticket: async ({ ticket }) => ({ onChallenge: () => ticket }),
  wampcra: async ({ secret }) => ({ onChallenge: (await plugin("wampcra")).sign(secret) }),
  cryptosign: async ({ key, pubkey }) => ({
    onChallenge: (await plugin("cryptosign")).sign(key),
    authextra: { pubkey },
  }),
};

async function options(auth) {
  const common = {
    realm,
    ws: WebSocket,
    serializer: SERIALIZERS[serializer](),
    uriValidation: "loose",
    autoReconnect: false,
  };
  if (!auth) return common;
  if (!AUTHENTICATION[auth.method]) throw new Error(`wampy.js has no ${auth.method}`);
  const identity = { authmethods: [auth.method], authid: auth.authid };
  return { ...common, ...identity, ...(await AUTHENTICATION[auth.method](auth)) };
}

/** Join; resolves to [wampy, details]. */
async function join(auth, onClose = () => {}) {
  if (!url.startsWith("ws:")) throw new Error("wampy.js has no RawSocket");
  const wampy = new Wampy(url, { ...(await options(auth)), onClose });
  return [wampy, await outcome(wampy.connect())];
}

async function outcome(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.errorUri === undefined) throw error;
    throw new Refusal(error.errorUri, error.argsList, error.argsDict);
  }
}

const payload = ({ argsList, argsDict }) => [argsList ?? [], argsDict ?? {}];

class Commands {
  constructor(wampy) {
    this.wampy = wampy;
    this.calls = new Map();
    this.declared = new Map();
    this.held = new Map();
  }

  async call({ uri, args, kwargs, progress, options }, id) {
    const progress_callback = (result) => {
      const [args, kwargs] = payload(result);
      say({ note: id, kind: "progress", args, kwargs });
    };
    const wanted = { ...options, ...(progress ? { progress_callback } : {}) };
    const promise = this.wampy.call(uri, { argsList: args, argsDict: kwargs }, wanted);
    this.calls.set(id, this.wampy.getOpStatus().reqId);
    const [given, named] = payload(await outcome(promise));
    return { args: given, kwargs: named, details: {} };
  }

  cancel({ call, mode }) {
    this.wampy.cancel(this.calls.get(call), { mode });
  }

  async publish({ uri, args, kwargs, options }) {
    // It asks for an acknowledgement of every publication, and has no option for it.
    const { acknowledge, ...wanted } = options;
    for (const name of ["exclude", "eligible"]) {
      // What it would have read of MsgPack.
      if (serializer === "msgpack" && wanted[name]) wanted[name] = wanted[name].map(BigInt);
    }
    const published = this.wampy.publish(uri, { argsList: args, argsDict: kwargs }, wanted);
    return (await outcome(published)).publicationId;
  }

  async subscribe({ uri, options }, id) {
    const onEvent = (event) => {
      const [args, kwargs] = payload(event);
      say({ note: id, kind: "event", args, kwargs, details: facts(event.details, EVENT) });
    };
    // Of an option that is not given it sends MsgPack's and CBOR's `undefined`, which routers do not know.
    const wanted = options && { match: "exact", get_retained: false, ...options };
    const { subscriptionKey } = await outcome(this.wampy.subscribe(uri, onEvent, wanted ?? undefined));
    // Does not wait: where there were options, it never finds out that UNSUBSCRIBED came.
    this.declared.set(id, async () => void this.wampy.unsubscribe(subscriptionKey));
  }

  async register({ uri, options, behaviour }, id) {
    const held = [];
    this.held.set(id, held);
    const call = async (to, argsList, argsDict) =>
      payload(await outcome(this.wampy.call(to, { argsList, argsDict })));
    const answer = behaviours(call, held)[behaviour.kind](behaviour);
    const onInvocation = async (invocation) => {
      const { details, result_handler: send } = invocation;
      const [args, kwargs] = payload(invocation);
      say({ note: id, kind: "invocation", args, kwargs, details: facts(details, INVOCATION) });
      const progress = (argsList) => send({ argsList, options: { progress: true } });
      try {
        const [argsList, argsDict] = await answer(args, kwargs, details.receive_progress ? progress : null);
        return { argsList, argsDict };
      } catch (error) {
        const { uri, args, kwargs } = error.answer.error;
        throw { error: uri, argsList: args, argsDict: kwargs };
      }
    };
    await outcome(this.wampy.register(uri, onInvocation, options));
    this.declared.set(id, () => this.wampy.unregister(uri));
  }

  async withdraw({ declared }) {
    const end = this.declared.get(declared);
    this.declared.delete(declared);
    await outcome(end());
  }

  release({ declared }) {
    (this.held.get(declared) ?? []).splice(0).forEach((end) => end());
  }

  async reset() {
    // It writes ids, which are over 2^32, as floats in MsgPack and CBOR, and Crossbar drops who does so.
    if (serializer !== "json") return;
    for (const declared of this.held.keys()) this.release({ declared });
    const all = [...this.declared.keys()].map((declared) => this.withdraw({ declared }));
    await Promise.allSettled(all);
  }

  async visit({ auth, uri }) {
    const [wampy] = await join(auth);
    const [args, kwargs] = payload(await outcome(wampy.call(uri)));
    await wampy.disconnect();
    return { args, kwargs, details: {} };
  }

  async leave() {
    await this.wampy.disconnect();
  }
}

join(null, () => say({ lost: true })).then(
  ([wampy, { authid, authrole, authmethod }]) => {
    say({ joined: { session: wampy.getSessionId(), realm, authid, authrole, authmethod } });
    serve(new Commands(wampy));
  },
  (error) => {
    say({ failed: String(error) });
    process.exit(1);
  },
);
