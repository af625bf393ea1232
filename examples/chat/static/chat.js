/** The chat: its data, the events of the app, and the actions of the user. */

import { ApplicationError, Wamp } from "/wamp/client.js";
import { closeDrawer } from "./drawer.js";
import { showConnection, showHeader, showLists, showTyping } from "./lists.js";
import { Outbox, explain } from "./outbox.js";
import { byName, direct, isMine, login, me, people, prefix, rooms, state, take, typists, unread } from "./state.js";
import { Messages, find, setFace, setText, showCandidates } from "./view.js";

const RETRY = 1000; // milliseconds between two attempts to reach the app
const SLOW = 1000; // milliseconds after which the page shows that it waits for the app
const PAGE = 50; // messages that the app sends at once
const TYPING = 3000; // milliseconds between two calls which say that the user is typing
const STILL_TYPING = 5000; // milliseconds for which the page shows that others are typing
const NOTICE = 6000; // milliseconds that a notice stays
const TRIES = 5; // attempts to fetch everything without an event in the meantime
const LOGGED_OUT = "wamp.close.logout";
const DENIED = /authentication_denied|not_authorized/;

const history = new Map(); // by room: { messages, isFresh, isComplete }
const drafts = new Map(); // by room
const subscriptions = new Map(); // by room: a promise of the function that ends the subscription
let retry = null;
let notice = null;
let saidTyping = 0;
let changes = 0; // the number of events so far, without "typing" and "online"
let isLeaving = false;

const wamp = new Wamp("/wamp", { onState });
const call = (name, ...args) => wamp.call(`${prefix}.${name}`, args);
const say = async ({ room, text, token }) => events.said({ message: await call("say", room, text, token) });
const outbox = new Outbox(`outbox-${me}`, say, showMessages);
const messages = new Messages();

// The connection.

wamp.subscribe(`${prefix}.everyone`, receive).catch(() => {});
wamp.subscribe(`${prefix}.user.${me}.inbox`, receive).catch(() => {});

function onState(now, reason) {
  clearTimeout(retry);
  if (now === "lost") {
    for (const each of history.values()) each.isFresh = false;
    showConnection("reconnecting");
    if (reason === LOGGED_OUT || DENIED.test(wamp.refused?.uri)) leave();
  }
  if (now !== "joined") return;
  if (wamp.authid === String(me) && wamp.authrole === "user") refresh();
  else leave(); // the login has ended, or another user has logged in
}

/** Go to the login page, unless the browser is already loading it. */
function leave() {
  if (!isLeaving) location.replace(login);
}

/** Fetch everything, because events were missed while there was no session. */
async function refresh() {
  clearTimeout(retry);
  const slow = setTimeout(showConnection, SLOW, "waiting");
  try {
    do await fetchAll();
    while (await listen());
    showConnection("connected");
    await route();
    outbox.send();
  } catch (error) {
    if (wamp.session === null) return; // the page refreshes when it has joined again
    console.warn(error);
    showConnection("waiting");
    retry = setTimeout(refresh, RETRY);
  } finally {
    clearTimeout(slow);
  }
}

/** Fetch what "start" returns. An event that arrives before the answer may be newer. */
async function fetchAll() {
  const known = state.online;
  for (let tries = 1; ; tries += 1) {
    const before = changes;
    const start = await call("start");
    if (changes !== before && tries < TRIES) continue;
    const { online } = state;
    take(start);
    if (online !== known) state.online = online; // an event has set it, and is newer than the answer
    return;
  }
}

/** Subscribe to the rooms that the user is in, and to no others. Return whether there are new ones. */
async function listen() {
  const wanted = [...rooms.values()].filter((room) => isMine(room) && room.kind !== "direct");
  const fresh = wanted.filter(({ id }) => !subscriptions.has(id));
  for (const { id } of fresh) {
    const stop = wamp.subscribe(`${prefix}.room.${id}`, receive);
    subscriptions.set(id, stop);
    stop.catch(() => subscriptions.delete(id)); // the next refresh tries again
  }
  for (const [id, stop] of subscriptions) {
    if (wanted.some((room) => room.id === id)) continue;
    subscriptions.delete(id);
    stop.then((end) => end()).catch(() => {});
  }
  await Promise.all(fresh.map(({ id }) => subscriptions.get(id)));
  return fresh.length > 0;
}

const isTouch = () => matchMedia("(pointer: coarse)").matches;

// Events of the app.

function receive([what], data) {
  if (what !== "typing" && what !== "online") changes += 1;
  events[what]?.(data);
}

const events = {
  said({ message }) {
    const { room, author } = message;
    stopTyping(room, author);
    if (!rooms.has(room)) return refresh(); // the first private message of another user
    if (history.get(room)?.messages.some(({ id }) => id === message.id)) return;
    if (history.has(room)) merge(room, [message]);
    if (room === state.current && !document.hidden) markRead();
    else if (author !== me) unread.set(room, (unread.get(room) ?? 0) + 1);
    showLists();
    if (room === state.current) showMessages();
  },

  typing({ room, person }) {
    if (person === me) return;
    stopTyping(room, person);
    const timers = typists.get(room) ?? typists.set(room, new Map()).get(room);
    timers.set(person, setTimeout(() => stopTyping(room, person), STILL_TYPING));
    showTyping();
  },

  read({ room }) {
    unread.delete(room);
    showLists();
  },

  async room({ room }) {
    rooms.set(room.id, room);
    if (!isMine(room) && room.kind !== "public") rooms.delete(room.id);
    if (!isMine(room)) history.delete(room.id);
    showLists();
    if (room.id === state.current) await route();
    await listen();
  },

  person({ person }) {
    people.set(person.id, person);
    showLists();
  },

  // A process of the app has ended. There may be others.
  away() {
    refresh();
  },

  online(event) {
    state.online = new Set(event.people);
    showLists();
  },
};

/** Add messages to those of a room, in order and without duplicates. */
function merge(room, more) {
  const known = history.get(room);
  const all = new Map([...known.messages, ...more].map((message) => [message.id, message]));
  known.messages = [...all.values()].sort((a, b) => a.id - b.id);
}

function stopTyping(room, person) {
  clearTimeout(typists.get(room)?.get(person));
  typists.get(room)?.delete(person);
  showTyping();
}

// The room that is shown. It is in the address, so that links, "back" and reloading work.

/** Show the room of the address: #room-3, or #person-7 for a private conversation. */
async function route() {
  const [, kind, text] = location.hash.match(/^#(room|person)-(\d+)$/) ?? [];
  const id = Number(text);
  let room = rooms.get(id);
  if (kind === "person" && people.has(id) && id !== me) room = direct(id) ?? (await startDirect(id));
  if (!isMine(room)) room = [...rooms.values()].find((each) => isMine(each) && each.kind !== "direct");
  await show(room?.id ?? null);
}

async function startDirect(person) {
  const room = await call("direct", person);
  rooms.set(room.id, room);
  return room;
}

async function show(room) {
  const isOther = room !== state.current;
  if (isOther) {
    drafts.set(state.current, find("text").value);
    find("text").value = drafts.get(room) ?? "";
    saidTyping = 0;
  }
  state.current = room;
  showAll();
  fit();
  // On touch screens this would bring up the keyboard.
  if (isOther && !isTouch() && !document.querySelector("dialog[open]")) find("text").focus();
  if (room !== null && !history.get(room)?.isFresh) await load(room);
  markRead();
}

/** Fetch the last messages of a room. */
async function load(room) {
  const last = await call("history", room);
  const known = history.get(room)?.messages ?? [];
  const hasGap = !known.length || !last.length || known.at(-1).id < last[0].id;
  if (hasGap) history.set(room, { messages: [], isComplete: last.length < PAGE });
  merge(room, last);
  history.get(room).isFresh = true;
  showAll();
}

async function loadOlder() {
  const room = state.current;
  const known = history.get(room);
  if (!known?.messages.length || known.isComplete) return;
  const older = await call("history", room, known.messages[0].id);
  known.isComplete = older.length < PAGE;
  merge(room, older);
  if (room === state.current) showMessages();
}

function markRead() {
  const last = history.get(state.current)?.messages.at(-1);
  if (!last || document.hidden || wamp.session === null) return;
  if (unread.delete(state.current)) showLists();
  if (last.author !== me) call("read", state.current, last.id).catch(() => {}); // the next message sends it again
}

// Display.

function showAll() {
  showLists();
  showHeader();
  showMessages();
  showTyping();
}

function showMessages() {
  const known = history.get(state.current);
  const stored = known?.messages ?? [];
  const tokens = new Set(stored.filter(({ author }) => author === me).map(({ token }) => token));
  const waiting = outbox.items
    .filter((item) => item.room === state.current && !tokens.has(item.token))
    .map((item) => ({ ...item, author: me, state: item.failed ? "failed" : "waiting", reason: item.failed }));
  messages.show(state.current, [...stored, ...waiting], people, me);
  find("older").hidden = !known || known.isComplete;
  find("empty").hidden = !known?.isFresh || stored.length + waiting.length > 0;
  setText(find("empty"), "Nothing has been said here yet.");
  showSend();
}

function tell(text) {
  clearTimeout(notice);
  setText(find("notice"), text);
  notice = setTimeout(setText, NOTICE, find("notice"), "");
}

/** Run an action of the user, and show the reason if it fails. */
async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    if (error instanceof ApplicationError) tell(`This did not work: ${explain(error)}`);
    else tell("This did not work: there is no connection.");
    console.warn(error);
  }
}

// Actions of the user.

function showSend() {
  find("send").disabled = find("text").disabled || !find("text").value.trim();
}

/** Make the field as high as its text. */
function fit() {
  const { style } = find("text");
  style.height = "auto";
  style.height = `${find("text").scrollHeight + 2}px`;
  showSend();
}

find("text").addEventListener("input", () => {
  fit();
  if (!find("text").value.trim() || wamp.session === null || Date.now() - saidTyping < TYPING) return;
  saidTyping = Date.now();
  call("typing", state.current).catch(() => {}); // errors do not matter here
});

find("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  if (isTouch()) return; // Enter inserts a new line there
  event.preventDefault();
  find("composer").requestSubmit();
});

find("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = find("text").value.trim();
  if (!text || state.current === null) return;
  find("text").value = "";
  saidTyping = 0;
  fit();
  find("text").focus();
  outbox.add(state.current, text);
});

// On touch screens, a click moves the focus and hides the keyboard.
find("send").addEventListener("pointerdown", (event) => event.preventDefault());

find("messages").addEventListener("click", ({ target }) => {
  const { token } = target.closest("li")?.dataset ?? {};
  if (target.dataset.do === "again") outbox.again(token);
  if (target.dataset.do === "discard") outbox.discard(token);
});

find("older").addEventListener("click", () => attempt(loadOlder));
find("latest").addEventListener("click", () => messages.toEnd());

find("others").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link) return;
  event.preventDefault();
  const id = Number(link.hash.split("-")[1]);
  attempt(async () => {
    const room = await call("room.enter", id);
    await events.room({ room });
    go(`#room-${id}`);
  });
});

find("new-room").addEventListener("click", () => {
  find("room-name").value = "";
  find("room-private").checked = false;
  find("room-dialog").showModal();
});

find("room-dialog").querySelector("form").addEventListener("submit", () => {
  const [name, isPrivate] = [find("room-name").value.trim(), find("room-private").checked];
  if (!name) return;
  attempt(async () => {
    const room = await call("room.create", name, isPrivate);
    await events.room({ room });
    go(`#room-${room.id}`);
  });
});

find("invite").addEventListener("click", () => {
  offer();
  find("invite-dialog").showModal();
});

function offer() {
  const room = rooms.get(state.current);
  const candidates = [...people.values()].filter(({ id }) => !room.members.includes(id)).sort(byName);
  showCandidates(candidates, (person) =>
    attempt(async () => {
      await events.room({ room: await call("room.invite", room.id, person) });
      offer();
    }),
  );
  setText(find("invite-title"), candidates.length ? "Invite people" : "Everybody is here already");
}

find("leave").addEventListener("click", () => {
  const { kind, name } = rooms.get(state.current);
  if (kind === "private" && !confirm(`Leave ${name}? Only its members can let you in again.`)) return;
  attempt(async () => events.room({ room: await call("room.leave", state.current) }));
});

for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

find("logout").form.addEventListener("submit", () => {
  isLeaving = true; // otherwise the end of the session would interrupt the request
  sessionStorage.clear();
});

function go(hash) {
  closeDrawer();
  if (location.hash === hash) attempt(route);
  else location.hash = hash; // calls route
}

addEventListener("hashchange", () => {
  closeDrawer();
  attempt(route);
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) markRead();
});

wamp.open();

setFace(find("my-face"), { id: me, name: find("my-name").textContent });
showConnection("connecting");
