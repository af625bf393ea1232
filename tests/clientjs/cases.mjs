/** What client.js does with a router, for Node and for browsers: each case is a name and a function. */
import * as assert from "./assert.mjs";

/** Run the cases: with `client`, the module, against the router at `url`; `test(name, f)` runs each. */
export function cases({ client, url, test }) {
const { ApplicationError, CallResult, CallTimeout, NotJoined, SessionLost, Wamp, connect } = client;
const opened = [];
const join = async (options = {}) => {
  const wamp = await connect(url, options);
  opened.push(wamp);
  return wamp;
};
/** Run a function while console.error is silent; return how often it was called. */
const silently = async (f) => {
  const { error } = console;
  let count = 0;
  console.error = () => (count += 1);
  try {
    await f();
  } finally {
    console.error = error;
  }
  return count;
};
const next = (wamp, wanted) =>
  new Promise((resolve) => {
    const stop = wamp.onState((state, reason) => state === wanted && (stop(), resolve(reason)));
  });
let count = 0;
const run = Math.floor(Math.random() * 1e9);
const name = () => `com.example.js.r${run}.t${++count}`;

test("a call has a result of one value, several or none", async () => {
  const wamp = await join();
  const uri = name();
  await wamp.register(uri, (args, kwargs) => {
    if (kwargs.many) return new CallResult(args, kwargs);
    return args[0];
  });
  assert.deepEqual(await wamp.call(uri, [{ a: [1, null] }]), { a: [1, null] });
  assert.equal(await wamp.call(uri), null);
  const many = await wamp.call(uri, [1, 2], { many: true });
  assert.deepEqual([many.constructor, many.args, many.kwargs], [CallResult, [1, 2], { many: true }]);
});

test("the parameters of a pattern's procedure are in the details", async () => {
  const wamp = await join();
  const uri = name();
  await wamp.register(`${uri}.`, (args, kwargs, { procedure }) => procedure, { match: "prefix" });
  assert.equal(await wamp.call(`${uri}.a.b`), `${uri}.a.b`);
});

test("bytes arrive as bytes, both ways", async () => {
  const wamp = await join();
  const uri = name();
  const bytes = Uint8Array.from({ length: 256 }, (_, n) => n);
  await wamp.register(uri, ([value]) => [value instanceof Uint8Array, value]);
  assert.deepEqual(await wamp.call(uri, [bytes]), [true, bytes]);
});

test("what JSON has no form for is sent as JSON.stringify writes it", async () => {
  const wamp = await join();
  const uri = name();
  await wamp.register(uri, (args, kwargs) => [args, kwargs]);
  const sent = async (value) => (await wamp.call(uri, [value]))[0][0];
  const { session } = wamp;
  for (const value of [NaN, Infinity, -Infinity, undefined, () => {}, Symbol("a")]) assert.equal(await sent(value), null);
  assert.deepEqual(await wamp.call(uri, [], { a: undefined, b: () => {}, c: NaN }), [[], { c: null }]);
  assert.deepEqual(await sent({ a: undefined, b: [undefined] }), { b: [null] });
  for (const value of [new Map([["a", 1]]), new Set([1]), new ArrayBuffer(2), new DataView(new ArrayBuffer(2)), /a/])
    assert.deepEqual(await sent(value), {});
  assert.deepEqual(await sent(Float64Array.of(0.5, 2)), { 0: 0.5, 1: 2 });
  assert.equal(await sent(new Date(0)), "1970-01-01T00:00:00.000Z");
  assert.equal(await sent(new URL("https://shop.example/")), "https://shop.example/");
  assert.equal(await sent(-0), 0);
  const ring = {};
  ring.ring = ring;
  for (const value of [5n, ring]) {
    await assert.rejects(wamp.call(uri, [value]), TypeError);
    await assert.rejects(wamp.publish(uri, [value]), TypeError);
  }
  const wrong = name();
  await wamp.register(wrong, () => 5n);
  await silently(() => assert.rejects(wamp.call(wrong), { uri: "wamp.error.runtime_error" }));
  assert.equal(await sent(7), 7); // nothing was sent for the calls above, so no request id is missing
  assert.equal(wamp.session, session);
});

test("half of a surrogate pair does not end the session", async () => {
  const wamp = await join();
  const uri = name();
  await wamp.register(uri, ([value]) => value);
  const { session } = wamp;
  assert.equal(await wamp.call(uri, ["cut \ud83d"]), "cut \ufffd");
  assert.equal(await wamp.call(uri, ["\ud83d\ude00"]), "\ud83d\ude00");
  assert.equal(wamp.session, session);
});

test("errors are objects with uri, args and kwargs", async () => {
  const wamp = await join();
  const uri = name();
  await wamp.register(uri, () => {
    throw new ApplicationError("com.example.error.sold_out", ["tea"], { left: 0 });
  });
  await assert.rejects(wamp.call(uri), (error) => {
    assert.deepEqual(
      [error.name, error.uri, error.args, error.kwargs],
      ["ApplicationError", "com.example.error.sold_out", ["tea"], { left: 0 }],
    );
    return error instanceof ApplicationError;
  });
  await assert.rejects(wamp.call(name()), { uri: "wamp.error.no_such_procedure" });
});

test("the message of an error says what was asked and what is wrong", async () => {
  const wamp = await join();
  const uri = name();
  await wamp.register(uri, ([thrown]) => {
    throw new ApplicationError(...thrown);
  });
  const message = (...thrown) => wamp.call(uri, [thrown]).catch((error) => error.message);
  const wrong = "wamp.error.invalid_argument";
  const errors = [
    { loc: [1], msg: "Input should be a valid integer", type: "int_parsing", input: "secret" },
    { loc: [0, "tea"], msg: "Field required", type: "missing" },
    { loc: [], msg: "Too many positional arguments", type: "signature" },
  ];
  assert.equal(
    await message(wrong, [], { errors }),
    `${uri}: ${wrong} (1: Input should be a valid integer; 0: tea: Field required; Too many positional arguments)`,
  );
  const soldOut = "com.example.error.sold_out";
  assert.equal(await message(soldOut, [5, "tea", "cup"], { left: 0 }), `${uri}: ${soldOut} (tea)`);
  assert.equal(await message(soldOut, [5, null]), `${uri}: ${soldOut}`);
  for (const odd of [null, "text", 5, { a: 1 }, [null, "text", {}, { msg: 5 }, [[]]]])
    assert.equal(await message(soldOut, [], { errors: odd }), `${uri}: ${soldOut}`);
  assert.equal(new ApplicationError(soldOut).message, soldOut);
});

test("an error of the router names the procedure, and repeats no arguments", async () => {
  const wamp = await join();
  const uri = name();
  await assert.rejects(wamp.call(uri, ["secret"], { key: "secret" }), ({ message }) =>
    message.startsWith(`${uri}: wamp.error.no_such_procedure`) && !message.includes("secret"));
});

test("a procedure that throws something else answers runtime_error and says no more", async () => {
  const wamp = await join();
  const uri = name();
  const logged = await silently(async () => {
    for (const thrown of [new Error("secret"), "secret", null, undefined]) {
      const stop = await wamp.register(uri, () => Promise.reject(thrown));
      await assert.rejects(wamp.call(uri), (error) => {
        assert.equal(error.uri, "wamp.error.runtime_error");
        return !JSON.stringify([error.args, error.kwargs]).includes("secret");
      });
      await stop();
    }
  });
  assert.equal(logged, 4);
});

test("events reach every subscriber until it ends", async () => {
  const [one, other] = [await join(), await join()];
  const topic = name();
  const seen = [];
  const waiting = [];
  const event = () => new Promise((resolve) => waiting.push(resolve));
  const stop = await one.subscribe(topic, (args) => seen.push(["first", ...args]));
  await one.subscribe(topic, (args, kwargs, details) => {
    seen.push(["second", ...args, kwargs, details.topic]);
    waiting.shift()();
  });
  await Promise.all([event(), other.publish(topic, [1], { a: 2 })]);
  await stop();
  await Promise.all([event(), other.publish(topic, ["last"])]);
  assert.deepEqual(seen, [
    ["first", 1],
    ["second", 1, { a: 2 }, topic],
    ["second", "last", {}, topic],
  ]);
});

test("an acknowledged publication has a number, and options count", async () => {
  const wamp = await join();
  const topic = name();
  const seen = [];
  let done;
  const all = new Promise((resolve) => (done = resolve));
  await wamp.subscribe(topic, ([value]) => (seen.push(value), value === 2 && done()));
  const number = await wamp.publish(topic, [1], {}, { acknowledge: true });
  assert.ok(Number.isSafeInteger(number));
  await wamp.publish(topic, [2], {}, { exclude_me: false, acknowledge: true });
  await all;
  assert.deepEqual(seen, [2]);
});

test("progressive results come one by one, by callback and by iteration", async () => {
  const wamp = await join();
  const uri = name();
  await wamp.register(uri, async ([to], kwargs, { progress }) => {
    for (let n = 0; n < to; n++) progress([n]);
    return kwargs.last;
  });
  const seen = [];
  const onProgress = ([n]) => seen.push(n);
  assert.equal(await wamp.call(uri, [3], { last: "end" }, { onProgress }), "end");
  assert.deepEqual(seen, [0, 1, 2]);
  const collect = async (stream) => {
    const items = [];
    for await (const item of stream) items.push(item);
    return items;
  };
  assert.deepEqual(await collect(wamp.stream(uri, [3], { last: "end" })), [0, 1, 2, "end"]);
  assert.deepEqual(await collect(wamp.stream(uri, [2])), [0, 1]);
  await assert.rejects(collect(wamp.stream(name())), { uri: "wamp.error.no_such_procedure" });
});

/** A procedure that runs until it is canceled; `ended` says with what. */
const endless = async (wamp) => {
  const uri = name();
  let started, ended;
  const begun = new Promise((resolve) => (started = resolve));
  const end = new Promise((resolve) => (ended = resolve));
  await wamp.register(uri, (args, kwargs, { signal, progress }) => {
    progress(["begun"]);
    started();
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => (ended("aborted"), reject(new Error("aborted"))));
    });
  });
  return { uri, begun, end };
};

test("an AbortSignal cancels a call, at the callee too", async () => {
  const [caller, callee] = [await join(), await join()];
  const { uri, begun, end } = await endless(callee);
  const controller = new AbortController();
  const call = caller.call(uri, [], {}, { signal: controller.signal });
  await begun;
  controller.abort(new RangeError("enough"));
  await assert.rejects(call, RangeError);
  assert.equal(await end, "aborted");
  await assert.rejects(caller.call(uri, [], {}, { signal: controller.signal }), RangeError);
});

test("a call that takes too long is canceled", async () => {
  const [caller, callee] = [await join(), await join()];
  const { uri, end } = await endless(callee);
  const call = caller.call(uri, ["secret"], {}, { timeout: 50 });
  await assert.rejects(call, { name: "CallTimeout", message: `${uri}: no answer in 50 ms` });
  await assert.rejects(call, CallTimeout);
  assert.equal(await end, "aborted");
});

test("leaving a stream cancels the call", async () => {
  const [caller, callee] = [await join(), await join()];
  const { uri, end } = await endless(callee);
  for await (const item of caller.stream(uri)) {
    assert.equal(item, "begun");
    break;
  }
  assert.equal(await end, "aborted");
});

test("a stream ends with its AbortSignal", async () => {
  const [caller, callee] = [await join(), await join()];
  const { uri, end } = await endless(callee);
  const controller = new AbortController();
  const reading = (async () => {
    for await (const item of caller.stream(uri, [], {}, { signal: controller.signal })) {
      assert.equal(item, "begun");
      controller.abort(new RangeError("enough"));
    }
  })();
  await assert.rejects(reading, RangeError);
  assert.equal(await end, "aborted");
});

test("what was subscribed and registered is there again after a loss", async () => {
  const [wamp, other] = [await join(), await join()];
  const [uri, topic] = [name(), name()];
  const states = [];
  wamp.onState((state) => states.push(state));
  await wamp.register(uri, () => wamp.session);
  let got;
  const event = new Promise((resolve) => (got = resolve));
  await wamp.subscribe(topic, ([value]) => got(value));
  const before = await other.call(uri);

  const again = next(wamp, "joined");
  cut(wamp);
  await again;
  assert.deepEqual(states, ["lost", "joining", "joined"]);
  assert.notEqual(await other.call(uri), before);
  await other.publish(topic, ["after"]);
  assert.equal(await event, "after");
});

test("what was refused is not asked for again after a loss", async () => {
  const [holder, refused] = [await join(), await join()];
  const uri = name();
  const unregister = await holder.register(uri, () => "held");
  const { warn } = console;
  console.warn = () => {};
  try {
    await assert.rejects(refused.register(uri, () => "taken"), (error) => {
      assert.equal(error.uri, "wamp.error.procedure_already_exists");
      return error.message.startsWith(`${uri}: wamp.error.procedure_already_exists`);
    });
  } finally {
    console.warn = warn;
  }
  await unregister();
  const again = next(refused, "joined");
  cut(refused);
  await again;
  await assert.rejects(holder.call(uri), { uri: "wamp.error.no_such_procedure" });
});

test("waiting calls fail when the session is lost, and calls without one at once", async () => {
  const [caller, callee] = [await join({ minDelay: 3e5, maxDelay: 3e5 }), await join()];
  const { uri, begun } = await endless(callee);
  const call = caller.call(uri);
  await begun;
  const lost = next(caller, "lost");
  cut(caller);
  await assert.rejects(call, SessionLost);
  await assert.rejects(call, (error) => error.message.startsWith(`${uri}: session lost (`));
  await lost;
  await assert.rejects(caller.call(uri), NotJoined);
  const topic = name();
  await assert.rejects(caller.publish(topic), { name: "NotJoined", message: `${topic}: not joined (lost)` });
});

test("arguments of a wrong form are refused here, and the session stays", async () => {
  const wamp = await join();
  const uri = name();
  await wamp.register(uri, (args) => args.length);
  const { session } = wamp;
  const wrong = [[uri, { a: 1 }], [uri, "text"], [uri, 5], [uri, [], "text"], [uri, [], []], [uri, null], [undefined], [7]];
  for (const parts of wrong) {
    await assert.rejects(wamp.call(...parts), TypeError);
    await assert.rejects(wamp.publish(...parts), TypeError);
  }
  await assert.rejects(wamp.subscribe(undefined, () => {}), TypeError);
  await assert.rejects(wamp.publish(uri, [], {}, "text"), TypeError);
  assert.equal(await wamp.call(uri, [1, 2]), 2);
  assert.equal(wamp.session, session);
});

test("the message of a TypeError names the procedure or topic and the argument that is wrong", async () => {
  const wamp = await join();
  const uri = name();
  const { session } = wamp;
  const says = async (promise, message) => {
    await assert.rejects(promise, TypeError);
    await promise.catch((error) => assert.equal(error.message, `${message}`));
  };
  await says(wamp.call(uri, "milk"), `${uri}: args must be a list`);
  await says(wamp.call(uri, { a: 1 }), `${uri}: args must be a list`);
  await says(wamp.publish(uri, [], [1]), `${uri}: kwargs must be an object`);
  await says(wamp.call(uri, [], {}, null), `${uri}: options must be an object`);
  await says(wamp.call(undefined), "undefined: URI must be a string");
  await says(wamp.call(7), "7: URI must be a string");
  for (const handler of [undefined, null, "x", {}]) {
    await says(wamp.subscribe(uri, handler), `${uri}: handler must be a function`);
    await says(wamp.register(uri, handler), `${uri}: handler must be a function`);
  }
  await says(wamp.subscribe(uri, () => {}, "x"), `${uri}: options must be an object`);
  for (const onProgress of [null, "x", 5])
    await says(wamp.call(uri, [], {}, { onProgress }), `${uri}: onProgress must be a function`);
  for (const timeout of [null, "5", NaN, [5]]) {
    await says(wamp.call(uri, [], {}, { timeout }), `${uri}: timeout must be a number`);
    await says(wamp.stream(uri, [], {}, { timeout }).next(), `${uri}: timeout must be a number`);
    await says(connect(url, { timeout }), "connect: timeout must be a number");
  }
  for (const option of ["minDelay", "maxDelay", "heartbeat"])
    await says(connect(url, { [option]: "5" }), `connect: ${option} must be a number`);
  await says(connect(url, { onState: "x" }), "connect: onState must be a function");
  await says(connect(url, 5), "connect: options must be an object");
  assert.equal(wamp.session, session);
});

test("an option that is undefined is as if it were left out", async () => {
  const states = [];
  const wamp = await join({
    timeout: undefined,
    minDelay: undefined,
    heartbeat: undefined,
    onState: (state) => states.push(state),
  });
  assert.deepEqual(states, ["joining", "joined"]); // it did not take the timeout for 0
  const uri = name();
  await wamp.register(uri, ([value]) => value, undefined);
  assert.equal(await wamp.call(uri, [5], undefined, { timeout: undefined, onProgress: undefined }), 5);
  assert.equal(await wamp.call(uri, [5], {}, { timeout: Infinity }), 5);
});

test("a URI without its prefix is refused here, and the message says what to use", async () => {
  const wamp = await join();
  const wanted = (error) => {
    assert.ok(error instanceof TypeError, `${error} is no TypeError`);
    return error.message === "'.add': a page has no prefix; use the whole URI, such as com.example.add";
  };
  await assert.rejects(wamp.call(".add", [1, 2]), wanted);
  await assert.rejects(wamp.stream(".add").next(), wanted);
  await assert.rejects(wamp.publish(".add"), wanted);
  await assert.rejects(wamp.subscribe(".add", () => {}), wanted);
  await assert.rejects(wamp.subscribe(".add", () => {}, { match: "prefix" }), wanted);
  await assert.rejects(wamp.register(".add", () => {}), wanted);
  wamp.close();
  await assert.rejects(wamp.call(".add"), wanted);
});

test("a wildcard pattern may begin with a dot: the router decides", async () => {
  const wamp = await join();
  const { warn } = console;
  console.warn = () => {};
  try {
    const outcome = await wamp.subscribe(`.${name()}`, () => {}, { match: "wildcard" }).catch((error) => error);
    assert.ok(typeof outcome === "function" || outcome.uri === "wamp.error.not_authorized", `${outcome}`);
  } finally {
    console.warn = warn;
  }
});

test("an option that does not exist is refused, and the message names those that do", async () => {
  const wamp = await join();
  const uri = name();
  const wanted = (wrong, ...some) => (error) => {
    assert.ok(error instanceof TypeError, `${error} is no TypeError`);
    assert.ok(error.message.startsWith(`no option '${wrong}', only `), error.message);
    return some.every((option) => error.message.split(" ").includes(option));
  };
  const timeOut = wanted("timeOut", "timeout", "signal", "onProgress", "disclose_me");
  await assert.rejects(wamp.call(uri, [], {}, { timeOut: 5 }), timeOut);
  await assert.rejects(wamp.stream(uri, [], {}, { timeOut: 5 }).next(), timeOut);
  await assert.rejects(wamp.publish(uri, [], {}, { ack: true }), wanted("ack", "acknowledge", "retain"));
  await assert.rejects(wamp.subscribe(uri, () => {}, { invoke: "last" }), wanted("invoke", "match"));
  await assert.rejects(wamp.register(uri, () => {}, { policy: "last" }), wanted("policy", "invoke"));
  await assert.rejects(connect(url, { onstate() {} }), wanted("onstate", "onState", "realm"));
  await assert.rejects((async () => new Wamp(url, { onstate() {} }))(), wanted("onstate", "onState"));
  await wamp.publish(uri, [], {}, { exclude: [1], eligible_authrole: ["user"], exclude_authid: ["ann"], retain: false });
  await wamp.publish(uri, [], {}, { acknowledge: true });
});

test("closing is final", async () => {
  const wamp = await join();
  const closed = next(wamp, "closed");
  wamp.close();
  await closed;
  assert.deepEqual([wamp.state, wamp.session], ["closed", null]);
  await assert.rejects(wamp.call(name()), NotJoined);
});

test("connect rejects when the router or the app refuses", async () => {
  if (url.startsWith("/")) {
    await assert.rejects(connect(`${url}/nowhere`), {
      uri: "wamp.error.not_authorized",
      message: `POST ${url}/nowhere/session answered 404: is ${url}/nowhere the app's WAMP_ENDPOINT?`,
    });
    return;
  }
  await assert.rejects(connect(url, { realm: "no_such_realm" }), (error) => {
    assert.ok(error instanceof ApplicationError);
    return error.uri.startsWith("wamp.error.");
  });
  await assert.rejects(connect(url, { ticket: "wrong", authid: "ann" }), ApplicationError);
});

test("connect ends with its AbortSignal", async () => {
  const free = "ws://127.0.0.1:9/ws"; // nobody listens: it would try for ever
  const controller = new AbortController();
  const joining = connect(free, { signal: controller.signal });
  controller.abort(new RangeError("enough"));
  await assert.rejects(joining, RangeError);
  await assert.rejects(connect(free, { signal: controller.signal }), RangeError);
});

test("a Wamp can be opened by hand, and listened to before", async () => {
  const states = [];
  const wamp = new Wamp(url, { onState: (state) => states.push(state) });
  opened.push(wamp);
  const topic = name();
  let got;
  const event = new Promise((resolve) => (got = resolve));
  const subscribed = wamp.subscribe(topic, ([value]) => got(value)); // before it has joined
  assert.equal(wamp.state, "joining");
  const joined = next(wamp, "joined");
  wamp.open();
  wamp.open();
  await joined;
  await subscribed;
  assert.deepEqual(states, ["joining", "joined"]);
  await (await join()).publish(topic, [1]);
  assert.equal(await event, 1);
});

/** End the connection of a session, as a router that dies would. */
function cut(wamp) {
  globalThis.sockets.find((socket) => socket.session === wamp.session).close();
}

test("the cases leave nothing behind", async () => {
  for (const wamp of opened) wamp.close();
});
}
