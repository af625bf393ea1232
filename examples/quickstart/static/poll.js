import { ApplicationError, CallTimeout, NotJoined, SessionLost, Wamp } from "/wamp/client.js";

const PREFIX = "com.example.poll";
const NO_SUCH_PROCEDURE = "wamp.error.no_such_procedure";
const RETRY = 1000; // milliseconds between two calls to an app that does not answer
const SLOW = 1000; // milliseconds after which the page says that a vote is waiting
const MESSAGE = 6000; // milliseconds that a message stays
const WIRE_LINES = 5;

// What the badge and the line below the bars say.
const STATES = {
  connecting: ["connecting…", ""],
  connected: ["connected", ""],
  waiting: ["waiting for the app…", "The poll app is not connected yet, retrying."],
  reconnecting: ["reconnecting…", "The app does not answer, retrying."],
};

const find = (id) => document.getElementById(id);
const buttons = [...document.querySelectorAll("button[data-choice]")];

let state = "connecting";
let events = 0; // the number of events with totals so far
let retry = null;
let message = null; // the timer that removes the message

const wamp = new Wamp("/wamp", {
  onState(now) {
    clearTimeout(retry);
    if (now === "joined") refresh();
    if (now === "lost") setState("reconnecting");
  },
});

wamp.subscribe(`${PREFIX}.changed`, ([totals], kwargs, { topic }) => {
  events += 1;
  log("event", `${topic} ${Object.entries(totals).flat().join(" ")}`);
  show(totals);
});

/** Fetch the totals, because this page has missed events while it was not joined. */
async function refresh() {
  clearTimeout(retry);
  const before = events;
  try {
    const totals = await wamp.call(`${PREFIX}.votes`);
    if (events === before) show(totals); // an event that arrived meanwhile is at least as new
    setState("connected");
  } catch (error) {
    if (wamp.session === null) return; // the page refreshes when it has joined again
    setState("waiting");
    retry = setTimeout(refresh, RETRY);
  }
}

async function vote(choice) {
  const procedure = `${PREFIX}.vote`;
  const started = performance.now();
  const slow = setTimeout(say, SLOW, "Waiting for the app to count this vote…");
  try {
    if (state !== "connected") throw new NotJoined("not connected, nothing was sent");
    log("call", `${procedure} ${choice}`);
    await wamp.call(procedure, [choice]);
    log("result", `after ${(performance.now() - started).toFixed(1)} ms`);
    say("");
  } catch (error) {
    log("error", error.message);
    say(explain(error));
    if (wamp.session !== null) refresh();
  } finally {
    clearTimeout(slow);
  }
}

function explain(error) {
  if (error instanceof NotJoined) return "Not connected right now: this vote was not sent.";
  if (error instanceof SessionLost) return "The connection was lost: this vote may have counted.";
  if (error instanceof CallTimeout) return "No answer: this vote may have counted.";
  if (!(error instanceof ApplicationError)) throw error;
  if (error.uri === NO_SUCH_PROCEDURE) return "The poll app is not connected: this vote was not counted.";
  return `Not counted: ${error.kwargs.description ?? error.uri}`;
}

// What the page shows.

function show(totals) {
  const sum = Object.values(totals).reduce((a, b) => a + b, 0);
  const most = Math.max(1, ...Object.values(totals));
  for (const button of buttons) {
    const count = totals[button.dataset.choice];
    const share = sum ? count / sum : 0;
    button.style.setProperty("--share", share);
    button.toggleAttribute("data-leading", count === most);
    button.querySelector(".percent").textContent = `${Math.round(share * 100)}%`;
    setCount(button.querySelector(".count"), count);
  }
  find("total").textContent = sum === 1 ? "1 vote" : `${sum} votes`;
}

function setCount(element, count) {
  if (element.textContent === String(count)) return;
  element.textContent = count;
  const duration = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 400;
  element.animate([{ scale: 1.4 }, { scale: 1 }], { duration, easing: "ease-out" });
}

function setState(now) {
  state = now;
  const badge = find("connection");
  badge.dataset.state = now;
  setText(badge, STATES[now][0]);
  setText(find("session"), wamp.session === null ? "no session" : `session ${wamp.session}`);
  for (const button of buttons) button.setAttribute("aria-disabled", now !== "connected");
  if (message === null) say("");
}

/** Show a message for a while, and then the text of the state. */
function say(text) {
  clearTimeout(message);
  message = text ? setTimeout(say, MESSAGE, "") : null;
  setText(find("message"), text || STATES[state][1]);
}

/** Set a text if it has changed, because screen readers read a text out whenever it is set. */
function setText(element, text) {
  if (element.textContent.trim() !== text) element.textContent = text;
}

/** Add a line to "On the wire". */
function log(kind, text) {
  const line = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = line.dataset.kind = kind;
  line.append(name, text);
  find("wire").prepend(line);
  while (find("wire").children.length > WIRE_LINES) find("wire").lastChild.remove();
}

// What the user does.

for (const button of buttons) {
  button.addEventListener("click", () => vote(button.dataset.choice));
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && wamp.session !== null) refresh();
});

find("copy").addEventListener("click", async ({ target }) => {
  getSelection().selectAllChildren(find("command"));
  if (!navigator.clipboard) return; // HTTP pages of other hosts have none. The user can press Ctrl-C
  await navigator.clipboard.writeText(find("command").textContent);
  target.textContent = "Copied";
  setTimeout(() => (target.textContent = "Copy"), 1500);
});

// Show the totals that the server has rendered into the page. Later ones come over WAMP.
show(Object.fromEntries(buttons.map((button) => [
  button.dataset.choice, Number(button.querySelector(".count").textContent),
])));
wamp.open();
