import { connect, ApplicationError, CallResult, type State } from "./client.js";
const wamp = await connect("/wamp", { onState: (state: State, reason) => console.log(state, reason) });
const sum: number = await wamp.call<number>("com.shop.add", [1, 2]);
const stop = await wamp.subscribe("com.shop.news", ([text], { tag }, { topic }) => console.log(text, tag, topic));
await stop();
const id: number = await wamp.publish("com.x", [], {}, { acknowledge: true });
await wamp.publish("com.x", [1]);
for await (const item of wamp.stream<string>("com.x.list")) item.toUpperCase();
await wamp.register("com.x.f", async ([n], _, { progress, signal }) => { progress([1]); if (signal.aborted) throw new ApplicationError("a.b"); return new CallResult([n], { a: 1 }); });
try { await wamp.call("x"); } catch (error) { if (error instanceof ApplicationError) console.log(error.uri, error.args[0], error.kwargs.code); }
// @ts-expect-error a misspelt option
wamp.publish("x", [], {}, { acknowlege: true });
// @ts-expect-error a policy that does not exist
wamp.register("x", () => 1, { invoke: "rr" });
// @ts-expect-error a number is no URI
wamp.call(3);
export { sum, id };
