import { SessionLost, Wamp } from "/wamp/client.js";

const PREFIX = "com.example.presence";
const RETRY = 1000; // milliseconds between two calls to an app that does not answer
const STATES = {
  connected: "live",
  waiting: "the app is away",
  reconnecting: "reconnecting…",
};

const find = (id) => document.getElementById(id);

let told = 0; // the number of lists that the app has published so far
let retry = null;

const wamp = new Wamp("/wamp", {
  onState(now) {
    clearTimeout(retry);
    if (now === "joined") ask();
    if (now === "lost") setState("reconnecting");
  },
});

wamp.subscribe(`${PREFIX}.changed`, ([people]) => {
  told += 1;
  clearTimeout(retry);
  show(people);
});

// The router publishes the app's testament when the app ends. The list is out of date until it is back.
wamp.subscribe(`${PREFIX}.away`, () => {
  setState("waiting");
  clearTimeout(retry);
  retry = setTimeout(ask, RETRY);
});

/** Fetch the list, because this page has missed events while it or the app was not joined. */
async function ask() {
  const before = told;
  try {
    const people = await wamp.call(`${PREFIX}.who`);
    if (told === before) show(people); // a list that was published meanwhile is at least as new
  } catch (error) {
    if (error instanceof SessionLost || wamp.session === null) return; // the page asks again when joined
    setState("waiting");
    clearTimeout(retry);
    retry = setTimeout(ask, RETRY);
  }
}

/** Show these people. Keep the cards that exist, add missing ones, and remove the others. */
function show(people) {
  setState("connected");
  const cards = new Map([...find("people").children].map((card) => [card.dataset.id, card]));
  for (const person of people) {
    const known = cards.get(String(person.id));
    if (!known) find("people").append(card(person));
    cards.delete(String(person.id));
  }
  for (const gone of cards.values()) gone.remove();
  for (const each of find("people").children) {
    each.toggleAttribute("data-you", each.dataset.id === String(wamp.session));
  }
  find("count").textContent = people.length;
  document.title = `${people.length} online`;
}

function card({ id, name, hue }) {
  const card = document.createElement("li");
  const face = document.createElement("span");
  const label = document.createElement("span");
  card.dataset.id = id;
  card.style.setProperty("--hue", hue);
  face.className = "face";
  face.ariaHidden = true;
  face.textContent = name.split(" ").map((word) => word[0]).join("");
  label.textContent = name;
  card.append(face, label);
  return card;
}

function setState(state) {
  find("connection").dataset.state = state;
  find("connection").textContent = STATES[state];
}

wamp.open();
